"""What a benchmark found, and how it is told."""

from collections.abc import Iterator
from typing import Any

Figures = dict[str, dict[str, Any]]  # JSON: for each figure its values and their setting


def show(figures: Figures) -> None:
    print()
    for label, value, setting in rows(figures):
        print(f"{label:58} {value:10,.2f}   {setting}")


def rows(figures: Figures) -> Iterator[tuple[str, float, str]]:
    for name, figure in figures.items():
        for part, value in figure.items():
            if part != "setting":
                yield name if part == "value" else f"{name}, {part}", value, figure["setting"]
