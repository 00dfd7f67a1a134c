"""What others may listen to: `predictions` imports none of them."""

from django.dispatch import Signal

# Sent after the commit, in a thread that may use the database, with `prediction_id`. It is a convenience: a process
# that dies at the wrong moment sends none, so a listener keeps nothing that could not be made again.
prediction_ended = Signal()

# Sent now and then, in a thread that may use the database: time to make what a listener of `prediction_ended` that
# never ran would have made. Several may hear it at once.
ends_missed = Signal()
