"""What others may listen to: `predictions` imports none of them."""

from django.dispatch import Signal

# Sent after the commit, in a thread that may use the database, with `prediction_id`. It is a convenience: a process
# that dies at the wrong moment sends none, so a listener keeps nothing that could not be made again.
prediction_ended = Signal()
