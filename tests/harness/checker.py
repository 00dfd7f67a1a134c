"""`check(history)`: everything that must always be true, and is not. Pure.

The numbers are those of the invariants; `docs/proof.md` has the list.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tests.harness.history import TERMINAL, History, Question, Row, View

Kind = Literal["lost", "doubled", "wrong end", "orphan", "wrong view", "astray", "other"]


@dataclass(frozen=True, slots=True)
class Violation:
    """A rule that was broken, by its number, and how."""

    rule: str
    kind: Kind
    what: str

    def __str__(self) -> str:
        return f"{self.rule}, {self.kind}: {self.what}"


def check(history: History) -> list[Violation]:
    """Return what is wrong; nothing if all is well."""
    return [violation for rule in RULES for violation in rule(history)]


# ---------------------------------------------------------------- the text


def _log_has_no_gap(history: History) -> Iterator[Violation]:
    for row in history.rows:
        end = 0
        for offset, text in row.chunks:
            if offset != end:
                yield Violation("I1", "lost", f"{row.id} has a piece at {offset} where {end} would go on")
            end = offset + len(text)


def _text_only_grows(history: History) -> Iterator[Violation]:
    for (tab, prediction), views in _views(history).items():
        for before, after in pairwise(views):
            if after.edition < before.edition:
                yield Violation("I2", "wrong view", f"{tab} went back from edition {before.edition} of {prediction}")
            elif after.edition == before.edition and not after.text.startswith(before.text):
                yield Violation(
                    "I2", "wrong view", f"{tab} saw {prediction} become {_cut(after.text)} after {_cut(before.text)}"
                )


def _end_is_the_end(history: History) -> Iterator[Violation]:
    for change in history.late_changes:
        yield Violation("I3", "wrong end", f"{change.prediction} was {change.before} and became {change.after}")


def _there_is_one_end(history: History) -> Iterator[Violation]:
    ends: defaultdict[str, set[str]] = defaultdict(set)
    for view in history.views:
        if view.status:
            ends[view.prediction].add(view.status)
    for row in history.rows:
        others = ends[row.id] - {row.status}
        if others:
            yield Violation("I4", "wrong end", f"{row.id} is {row.status}, and tabs were told {sorted(others)}")


def _row_has_all(history: History) -> Iterator[Violation]:
    for row in history.rows:
        if row.status in TERMINAL and (row.output_end != len(row.output) or row.chunks):
            yield Violation(
                "I5", "doubled", f"{row.id} has {len(row.output)} characters, says {row.output_end}, keeps {row.chunks}"
            )


def _text_is_the_providers(history: History) -> Iterator[Violation]:
    for row, question in _answers(history):
        right = question.answer if row.status == "succeeded" else question.written[: len(row.output)]
        if row.status in TERMINAL and row.output != right:
            kind: Kind = "doubled" if len(row.output) > len(right) else "lost"
            yield Violation("I6", kind, f"{row.id} ended {row.status} with {_difference(row.output, right)}")


def _page_plus_news_is_the_page(history: History) -> Iterator[Violation]:
    for page in history.pages:
        if [key for key, _ in page.shown] != [key for key, _ in page.fetched]:
            yield Violation("I17", "wrong view", f"{page.tab} shows messages {page.shown}, the page has {page.fetched}")
        for (key, shown), (_, fetched) in zip(page.shown, page.fetched, strict=False):
            if shown != fetched:
                yield Violation("I7", "wrong view", f"{page.tab} shows of {key}: {_difference(shown, fetched)}")


def _what_is_shown_is_the_log(history: History) -> Iterator[Violation]:
    rows = {row.id: row for row in history.rows}
    for view in history.views:
        row = rows.get(view.prediction)
        if row and row.status in TERMINAL and view.edition == row.edition and not row.output.startswith(view.text):
            yield Violation("I7", "wrong view", f"{view.tab} showed {_difference(view.text, row.output)}")


def _nothing_is_shown_that_is_not_kept(history: History) -> Iterator[Violation]:
    for view in history.views:
        if view.stored_edition < view.edition or (
            view.stored_edition == view.edition and view.stored_end < len(view.text)
        ):
            shown = f"{len(view.text)} characters of edition {view.edition}"
            kept = f"{view.stored_end} of edition {view.stored_edition}"
            yield Violation("I15", "lost", f"{view.tab} showed {shown} of {view.prediction}, kept were {kept}")


# ---------------------------------------------------------------- the ends


def _everything_ends(history: History) -> Iterator[Violation]:
    for row in history.rows:
        if row.status not in TERMINAL:
            yield Violation("I8", "lost", f"{row.id} is {row.status} for ever")


def _ends_are_right(history: History) -> Iterator[Violation]:
    for row, question in _answers(history):
        right = {question.fate} | ({"canceled"} if question.was_stopped else set())
        if row.losses and not any(one.canary == question.canary for one in history.asked):
            right.add("failed")  # twice it got lost on the way, and a third time it is not asked
        if row.status in TERMINAL and row.status not in right:
            words = " or ".join(sorted(right))
            yield Violation("I8", "wrong end", f"{row.id} ended {row.status} ({row.error}), not {words}")


def _each_question_is_asked_once(history: History) -> Iterator[Violation]:
    wanted: defaultdict[str, int] = defaultdict(int)
    for _, question in _answers(history):
        wanted[question.canary] += 1
    asked: defaultdict[str, int] = defaultdict(int)
    for one in history.asked:
        asked[one.canary] += 1
    for canary, count in asked.items():
        if count > wanted[canary]:
            yield Violation(
                "I9", "doubled", f"the provider was asked {count} times for {canary!r}, wanted {wanted[canary]} times"
            )


def _nothing_runs_that_nobody_wants(history: History) -> Iterator[Violation]:
    for one in history.asked:
        if one.ended is None:
            yield Violation("I10", "orphan", f"the provider still runs {one.id} ({one.canary!r}); nobody waits for it")


def _slots_are_kept(history: History) -> Iterator[Violation]:
    steps = [(one.began, 1) for one in history.asked] + [(one.ended, -1) for one in history.asked if one.ended]
    most = now = 0
    for _, step in sorted(steps):
        now += step
        most = max(most, now)
    if history.slots is not None and most > history.slots:
        yield Violation("I11", "other", f"{most} predictions ran at once in {history.slots} slots")


# ---------------------------------------------------------------- who sees what


def _no_answer_goes_astray(history: History) -> Iterator[Violation]:
    by_canary = {question.canary: question for question in history.questions}
    for row, question in _answers(history):
        strangers = [canary for canary in by_canary if canary != question.canary and canary in row.output]
        if strangers:
            yield Violation("I14", "astray", f"{row.id} holds text of {strangers}")
    for page in history.pages:
        shown = "".join(html for _, html in page.shown)
        strangers = [
            c for c, question in by_canary.items() if question.conversation != page.conversation and c in shown
        ]
        if strangers:
            yield Violation("I14", "astray", f"{page.tab} shows text of {strangers}")
    for overheard in history.overheard:
        yield Violation("I14", "astray", f"{overheard.person} was sent {_cut(overheard.frame)}")


def _questions_are_kept_once(history: History) -> Iterator[Violation]:
    questions = {question.message for question in history.questions if question.was_taken}
    shown: defaultdict[str, int] = defaultdict(int)
    for page in history.pages:
        for key, _ in page.fetched:
            shown[f"{page.tab} {key}"] += 1
    answered = {row.question for row in history.rows}
    for message in sorted(questions - answered):
        yield Violation("I16", "lost", f"the question {message} was taken and is gone")
    for where, count in shown.items():
        if count > 1:
            yield Violation("I16", "lost", f"{where} is there {count} times")


def _processes_end_when_told(history: History) -> Iterator[Violation]:
    for line in history.unexpected:
        yield Violation("processes", "other", line)


RULES: tuple[Callable[[History], Iterator[Violation]], ...] = (
    _log_has_no_gap,
    _text_only_grows,
    _end_is_the_end,
    _there_is_one_end,
    _row_has_all,
    _text_is_the_providers,
    _page_plus_news_is_the_page,
    _what_is_shown_is_the_log,
    _nothing_is_shown_that_is_not_kept,
    _everything_ends,
    _ends_are_right,
    _each_question_is_asked_once,
    _nothing_runs_that_nobody_wants,
    _slots_are_kept,
    _no_answer_goes_astray,
    _questions_are_kept_once,
    _processes_end_when_told,
)


# ---------------------------------------------------------------- reading a history


def _answers(history: History) -> list[tuple[Row, Question]]:
    questions = {question.message: question for question in history.questions}
    return [(row, questions[row.question]) for row in history.rows if row.question in questions]


def _views(history: History) -> dict[tuple[str, str], list[View]]:
    """The views of each tab and prediction, in order."""
    views: defaultdict[tuple[str, str], list[View]] = defaultdict(list)
    for view in history.views:
        views[view.tab, view.prediction].append(view)
    return views


def _difference(found: str, expected: str) -> str:
    place = next((at for at, (one, other) in enumerate(zip(found, expected, strict=False)) if one != other), None)
    place = min(len(found), len(expected)) if place is None else place
    begin = max(place - 20, 0)
    return f"{_cut(found[begin:])} instead of {_cut(expected[begin:])} at {place}"


def _cut(text: str, length: int = 120) -> str:
    return repr(text if len(text) <= length else text[:length] + "…")
