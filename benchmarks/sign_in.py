"""Whether the time that a refused sign-in takes tells who has an account.

    .venv/bin/python -m benchmarks.sign_in [--tries N] [--json FILE]

Signs in in vain as four kinds of people, in turn, with the password hashing of a real site: somebody who is not there,
a wrong password, a person who is switched off, one who came by single sign-on and has no password. The times of each
are told beside those of the first in the same run: a ratio of 1 tells nothing, and so does a p of a Kolmogorov-Smirnov
test above 0.01.
"""

import argparse
import json
import os
import tempfile
import time
from math import exp
from pathlib import Path
from statistics import fmean, median

folder = tempfile.TemporaryDirectory(prefix="parley-sign-in-")
os.environ |= {"PARLEY_DATA_DIR": folder.name, "DJANGO_SETTINGS_MODULE": "config.settings"}
os.environ.pop("DATABASE_URL", None)

import django  # noqa: E402

django.setup()

from django.core.management import call_command  # noqa: E402 - models exist once Django is set up
from django.test import Client  # noqa: E402

from benchmarks.figures import Figures, show  # noqa: E402
from chat.models import User  # noqa: E402
from chat.people.models import Tries  # noqa: E402

PASSWORD = "correct horse"  # noqa: S105 - of people who are here for a minute
TRIES = 200  # of each kind
KINDS = {
    "nobody": "nobody",
    "a wrong password": "alice",
    "switched off": "bob",
    "without a password": "charlie",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=TRIES)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    figures = measure(options.tries)
    show(figures)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


def measure(tries: int) -> Figures:
    begin_site()
    times = in_turn(tries)
    plain = times["nobody"]
    setting = f"{tries} tries of each, in turn"
    return {
        f"sign-in refused: {kind}": {
            "milliseconds": 1_000 * median(each),
            "beside nobody": fmean(each) / fmean(plain),
            "p": same_distribution(each, plain),
            "setting": setting,
        }
        for kind, each in times.items()
    }


def begin_site() -> None:
    call_command("migrate", verbosity=0)
    call_command("collectstatic", verbosity=0, interactive=False)
    User.objects.create_user("alice", password=PASSWORD)
    User.objects.create_user("bob", password=PASSWORD, is_active=False)
    User.objects.create_user("charlie")


def in_turn(tries: int) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(tries):
        for kind, name in KINDS.items():
            Tries.objects.all().delete()
            client = Client(headers={"host": "localhost"})
            began = time.perf_counter()
            answer = client.post("/accounts/login/", {"username": name, "password": "a guess"})
            times[kind].append(time.perf_counter() - began)
            assert answer.status_code == 200
    return times


def same_distribution(one: list[float], other: list[float]) -> float:
    """Return how likely it is that two samples differ this much by chance (Kolmogorov and Smirnov)."""
    distance = max(abs(_share(one, value) - _share(other, value)) for value in [*one, *other])
    size = (len(one) * len(other) / (len(one) + len(other))) ** 0.5
    scaled = (size + 0.12 + 0.11 / size) * distance
    terms = (2 * (-1) ** (n - 1) * exp(-2 * (n * scaled) ** 2) for n in range(1, 101))
    return min(1.0, max(0.0, sum(terms))) if scaled > 0.2 else 1.0


def _share(values: list[float], most: float) -> float:
    return sum(value <= most for value in values) / len(values)


if __name__ == "__main__":
    main()
