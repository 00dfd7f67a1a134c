"""The kill harness: real processes, killed at every point and at random times, and a checker that reads what was left.

    forks.py      a preloaded process that forks web and worker processes; `preloaded.py` is its other side
    pace.py       the product's own rules with shorter waits, in those processes
    points.py     numbered points at which a process kills or stops itself
    bugs.py       planted bugs: the checker must find each of them
    fleet.py      a provider, a database, and the processes between them
    reader.py     a tab, as the page's scripts behave
    scenes.py     what people ask, what the provider does, who is killed when
    history.py    what was seen, as plain records
    checker.py    `check(history)`: what is wrong with it; pure
    soak.py       many scenes, counted

`docs/proof.md` says what is proved, and how to read a violation.
"""
