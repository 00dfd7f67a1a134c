"""How often Python looks for garbage in a process that runs for weeks.

With hundreds of streams a look through all objects takes 50 to 95 ms, in which nothing else happens, and by default
one comes every few seconds.
"""

import gc

YOUNG = 10_000  # new objects after which the youngest are looked at; Python's own is 700
MIDDLE, OLD = 20, 100  # looks at the younger ones after which the next older ones are looked at too


def collect_seldom() -> None:
    """Leave out what is there once the process has started; to be called then."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
