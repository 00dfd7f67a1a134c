"""People, conversations, messages, pages and the socket."""
