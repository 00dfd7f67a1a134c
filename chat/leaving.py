"""What the web server and the application agree on, so that endless responses end before the process does."""

NEWS = "/news/"  # the requests that are answered for minutes
LEAVE = "parley.leave"  # the ASGI message that asks for an early end of the response
