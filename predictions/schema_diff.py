"""What changes for people when another version of a model answers, from the documents of both.

Only what the product understands of a document counts, so `schema` reads it. Both are untrusted: nothing here raises,
what is shown is short, and secrets are not shown. Pure.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import StrEnum
from fractions import Fraction
from json import JSONEncoder
from math import isnan
from typing import Any, TypeGuard

from predictions.schema import Input, InputKind, OutputKind, inputs_of, output_of, streams
from predictions.schema_words import INPUTS, OUTPUTS, Limits, step_of
from predictions.validation import problems

MOST_CHANGES = 500  # the heaviest ones; nobody reads as many
MOST_NAMED = 6  # choices or inputs in one text
LONGEST_SHOWN = 100  # characters of a name or a value
LEAD = 20  # characters shown before the first difference of two long texts
MOST_RENAMED = 10  # inputs gone, and new ones; with more, the names say nothing
LONGEST_NAME = 40  # characters of names that are likened to each other
LIKENESS = 0.82  # takes max_tokens for max_new_tokens, but not top_p for top_k

NUMBERS = frozenset({InputKind.INTEGER, InputKind.NUMBER})
TEXTS = frozenset({InputKind.TEXT, InputKind.SECRET})
LISTS = frozenset({InputKind.LIST, InputKind.FILES})
WIDER = frozenset({
    (InputKind.INTEGER, InputKind.NUMBER),
    (InputKind.TEXT, InputKind.SECRET),
    (InputKind.SECRET, InputKind.TEXT),
})  # fmt: skip
ANYTHING = Input("", InputKind.ANY, "", is_required=True)  # what a list holds whose document does not say
NOTHING, HIDDEN = "nothing", "•••"


class Weight(StrEnum):
    """How much a change matters, the heaviest first."""

    BREAKING = "breaking"  # what worked may fail, or silently act otherwise
    NOTABLE = "notable"  # everything works on, answers may differ
    HARMLESS = "harmless"


class Aspect(StrEnum):
    """What it is that changes."""

    SCHEMA = "schema"  # one version does not describe itself
    OUTPUT = "output"
    STREAMING = "streaming"
    REMOVED = "removed"
    ADDED = "added"
    TYPE = "type"
    REQUIRED = "required"
    CHOICES = "choices"
    RANGE = "range"
    STEP = "step"
    LENGTH = "length"
    PATTERN = "pattern"
    NULL = "null"
    DEFAULT = "default"
    DEPRECATED = "deprecated"
    TITLE = "title"
    DESCRIPTION = "description"
    ORDER = "order"


RANKS = {weight: rank for rank, weight in enumerate(Weight)}


@dataclass(frozen=True, slots=True)
class Change:
    """One difference, in words for people. All texts are short and can be shown as they are (escaped)."""

    input: str  # its name, "" where the version as a whole changes
    aspect: Aspect
    weight: Weight
    sentence: str
    before: str = ""
    after: str = ""
    hit: str = ""  # a sentence, where a parameter that is set today would be refused or lost


def compare(old: object, new: object, *, used: Mapping[str, Any] | None = None) -> list[Change]:
    """Return what changes from one version's OpenAPI document to another's, the heaviest first.

    Within a weight, what hits one of the `used` parameters (any JSON by name, set today) is first; then it goes by the
    order of the inputs. At most `MOST_CHANGES`.
    """
    before, after = _read(old), _read(new)
    if before.is_described and after.is_described:
        changes = [*_whole(before, after), *_inputs(before.inputs, after.inputs, used or {})]
    else:
        changes = list(_undescribed(before, after))
    changes.sort(key=lambda change: (RANKS[change.weight], not change.hit))
    return changes[:MOST_CHANGES]


@dataclass(frozen=True, slots=True)
class _Described:
    """What a document says."""

    inputs: Mapping[str, Input]
    output: OutputKind
    streams: bool

    @property
    def is_described(self) -> bool:
        return bool(self.inputs) or self.output != OutputKind.UNKNOWN


def _read(document: object) -> _Described:
    return _Described(inputs_of(document), output_of(document), streams(document))


# The version as a whole


def _undescribed(old: _Described, new: _Described) -> Iterator[Change]:
    if old.is_described or new.is_described:
        which = "old" if new.is_described else "new"
        sentence = f"The {which} version does not say what it takes, so nothing can be compared: try it before you pin."
        yield Change("", Aspect.SCHEMA, Weight.NOTABLE, sentence)


def _whole(old: _Described, new: _Described) -> Iterator[Change]:
    if old.output != new.output:
        before, after = OUTPUTS[old.output], OUTPUTS[new.output]
        sentence = f"The output was {before} and is now {after}."
        yield Change("", Aspect.OUTPUT, _output_weight(old.output, new.output), sentence, before, after)
    if old.streams and not new.streams:
        sentence = "Answers are no longer streamed: they may appear all at once, at the end."
        yield Change("", Aspect.STREAMING, Weight.BREAKING, sentence, "yes", "no")
    elif new.streams and not old.streams:
        yield Change("", Aspect.STREAMING, Weight.HARMLESS, "Answers are now streamed.", "no", "yes")


def _output_weight(old: OutputKind, new: OutputKind) -> Weight:
    # The parts of a text are put together again: whoever reads the answer gets the same.
    if old == OutputKind.UNKNOWN or (old, new) == (OutputKind.TEXT, OutputKind.TEXT_STREAM):
        return Weight.NOTABLE
    return Weight.BREAKING


# Its inputs


def _inputs(old: Mapping[str, Input], new: Mapping[str, Input], used: Mapping[str, Any]) -> Iterator[Change]:
    renamed = _renamed(old, new)
    both = [*new.values(), *(each for name, each in old.items() if name not in new)]
    for name in [each.name for each in sorted(both, key=lambda each: each.order)]:
        if name not in new:
            yield _with_hit(_removed(old[name], renamed.get(name)), old[name], None, used)
        elif name not in old:
            yield _added(new[name])
        else:
            for change in _changed(old[name], new[name]):
                yield _with_hit(change, old[name], new[name], used)
    yield from _reordered([name for name in old if name in new], [name for name in new if name in old])


def _renamed(old: Mapping[str, Input], new: Mapping[str, Input]) -> dict[str, Input]:
    """Guess which input goes on under another name: one of the same kind that says the same, or is called alike."""
    gone = [each for name, each in old.items() if name not in new]
    come = [each for name, each in new.items() if name not in old]
    if max(len(gone), len(come)) > MOST_RENAMED:
        return {}
    guesses = {}
    for each in gone:
        if guess := _likest(each, [other for other in come if other.kind == each.kind]):
            come.remove(guess)
            guesses[each.name] = guess
    return guesses


def _likest(gone: Input, come: Sequence[Input]) -> Input | None:
    for each in come:
        if each.title == gone.title or (each.description and each.description == gone.description):
            return each
    if len(gone.name) > LONGEST_NAME:
        return None
    by_name = {each.name: each for each in come if len(each.name) <= LONGEST_NAME}
    likest = get_close_matches(gone.name, by_name, n=1, cutoff=LIKENESS)
    return by_name[likest[0]] if likest else None


def _with_hit(change: Change, old: Input, new: Input | None, used: Mapping[str, Any]) -> Change:
    """Say it beside a breaking change if the new version would not take what is set today."""
    if change.weight != Weight.BREAKING or old.name not in used or not _hits(change.aspect, new, used[old.name]):
        return change
    is_secret = old.is_secret or (new is not None and new.is_secret)
    hit = "It is set today." if is_secret else f"It is set to {_shown(used[old.name])} today."
    return replace(change, hit=hit)


def _hits(aspect: Aspect, new: Input | None, value: object) -> bool:
    match aspect:
        case Aspect.REQUIRED:
            return False
        case Aspect.PATTERN:
            return True  # patterns are not run, so this has to be looked at
        case Aspect.NULL:
            return value is None
        case _:
            return new is None or not _takes(new, value)


def _removed(old: Input, renamed: Input | None) -> Change:
    name = _shown(old.name)
    perhaps = f", perhaps renamed to {_shown(renamed.name)}" if renamed else ""
    # Hosts leave an unknown input out without a word, but the first releases of Cog from 0.17 on refuse it.
    sentence = f"{name} is gone{perhaps}: predictions that set it may be refused, or run without it."
    return Change(_cut(old.name), Aspect.REMOVED, Weight.BREAKING, sentence, before=_told(old))


def _added(new: Input) -> Change:
    name = _shown(new.name)
    if new.is_required:
        weight, sentence = Weight.BREAKING, f"{name} is new and required: predictions without it will be refused."
    elif _has_default(new):
        weight, sentence = Weight.HARMLESS, f"{name} is new; its default is {_default_told(new)}."
    else:
        weight, sentence = Weight.HARMLESS, f"{name} is new and need not be set."
    return Change(_cut(new.name), Aspect.ADDED, weight, sentence, after=_told(new))


def _reordered(old: Sequence[str], new: Sequence[str]) -> Iterator[Change]:
    if old != new:
        sentence = "The inputs are listed in another order."
        yield Change("", Aspect.ORDER, Weight.HARMLESS, sentence, _listed(old), _listed(new))


# One input


def _changed(old: Input, new: Input) -> Iterator[Change]:
    for difference in DIFFERENCES:
        yield from difference(old, new)


def _type(old: Input, new: Input) -> Iterator[Change]:
    if old.kind == new.kind:
        return
    if not _is_wider(old, new):
        weight, meaning = Weight.BREAKING, "what is set for it may be refused"
    elif old.kind == InputKind.SECRET:
        weight, meaning = Weight.NOTABLE, "what is set for it is no longer kept secret"
    else:
        weight, meaning = Weight.HARMLESS, "what worked goes on working"
    before, after = _told(old), _told(new)
    sentence = f"{_shown(new.name)} was {before} and is now {after}: {meaning}."
    yield Change(_cut(new.name), Aspect.TYPE, weight, sentence, before, after)


def _is_wider(old: Input, new: Input) -> bool:
    if old.kind == InputKind.CHOICE:
        return all(_takes(new, choice) for choice in old.choices)
    return new.kind == InputKind.ANY or (old.kind, new.kind) in WIDER


def _required(old: Input, new: Input) -> Iterator[Change]:
    name = _shown(new.name)
    if new.is_required and not old.is_required:
        sentence = f"{name} is now required: predictions without it will be refused."
        yield Change(_cut(new.name), Aspect.REQUIRED, Weight.BREAKING, sentence, "optional", "required")
    elif old.is_required and not new.is_required:
        sentence = f"{name} is no longer required."
        yield Change(_cut(new.name), Aspect.REQUIRED, Weight.HARMLESS, sentence, "required", "optional")


def _choices(old: Input, new: Input) -> Iterator[Change]:
    before, after = _by_identity(old.choices), _by_identity(new.choices)
    if old.kind != new.kind or list(before) == list(after):
        return
    gone = [choice for key, choice in before.items() if key not in after]
    come = [choice for key, choice in after.items() if key not in before]
    weight = Weight.BREAKING if gone else Weight.HARMLESS
    sentence = _choices_sentence(_shown(new.name), gone, come)
    yield Change(_cut(new.name), Aspect.CHOICES, weight, sentence, _listed(old.choices), _listed(new.choices))


def _choices_sentence(name: str, gone: Sequence[object], come: Sequence[object]) -> str:
    if gone and come:
        return f"{name} no longer takes {_listed(gone)}, but now takes {_listed(come)}."
    if gone:
        return f"{name} no longer takes {_listed(gone)}."
    return f"{name} now also takes {_listed(come)}." if come else f"The choices of {name} come in another order."


def _range(old: Input, new: Input) -> Iterator[Change]:
    if {old.kind, new.kind} <= NUMBERS:
        yield from _limits(new.name, Aspect.RANGE, Limits.of_value(old), Limits.of_value(new))


def _length(old: Input, new: Input) -> Iterator[Change]:
    if {old.kind, new.kind} <= TEXTS:
        yield from _limits(new.name, Aspect.LENGTH, Limits.of_length(old), Limits.of_length(new))
    elif {old.kind, new.kind} <= LISTS:
        yield from _limits(new.name, Aspect.LENGTH, Limits.of_items(old), Limits.of_items(new))


def _limits(name: str, aspect: Aspect, old: Limits, new: Limits) -> Iterator[Change]:
    if old == new:
        return
    before, after = str(old), str(new)
    verb = "have" if new.noun else "be"
    if new.is_narrower_than(old):
        weight, sentence = Weight.BREAKING, f"must now {verb} {after}; before, it could {verb} {before}."
    else:
        weight, sentence = Weight.HARMLESS, f"can now {verb} {after}; before, it had to {verb} {before}."
    yield Change(_cut(name), aspect, weight, f"{_shown(name)} {sentence}", before, after)


def _step(old: Input, new: Input) -> Iterator[Change]:
    if not {old.kind, new.kind} <= NUMBERS or old.multiple_of == new.multiple_of:
        return
    before, after = step_of(old), step_of(new)
    if new.multiple_of and (not old.multiple_of or Fraction(old.multiple_of) % Fraction(new.multiple_of)):
        weight, sentence = Weight.BREAKING, f"must now be {after}; before, it could be {before}."
    else:
        weight, sentence = Weight.HARMLESS, f"can now be {after}; before, it had to be {before}."
    yield Change(_cut(new.name), Aspect.STEP, weight, f"{_shown(new.name)} {sentence}", before, after)


def _pattern(old: Input, new: Input) -> Iterator[Change]:
    if not {old.kind, new.kind} <= TEXTS or old.pattern == new.pattern:
        return
    before, after = _apart(old.pattern, new.pattern)
    if new.pattern:
        weight, sentence = Weight.BREAKING, f"{_shown(new.name)} must now match the pattern “{after}”."
    else:
        weight, sentence = Weight.HARMLESS, f"{_shown(new.name)} need no longer match the pattern “{before}”."
    yield Change(_cut(new.name), Aspect.PATTERN, weight, sentence, before, after)


def _null(old: Input, new: Input) -> Iterator[Change]:
    if InputKind.ANY in {old.kind, new.kind} or old.is_nullable == new.is_nullable:
        return
    if new.is_nullable:
        weight, sentence, said = Weight.HARMLESS, f"{_shown(new.name)} can now be empty (null).", ("no", "yes")
    else:
        weight, sentence, said = Weight.BREAKING, f"{_shown(new.name)} can no longer be empty (null).", ("yes", "no")
    yield Change(_cut(new.name), Aspect.NULL, weight, sentence, *said)


def _elements(old: Input, new: Input) -> Iterator[Change]:
    """Compare what two lists may hold, as if each item were an input; its changes are those of the list."""
    if old.kind != new.kind or new.kind not in LISTS:
        return
    for change in _changed(_element(old), _element(new)):
        yield replace(change, input=_cut(new.name))


def _element(asked: Input) -> Input:
    name = f"{asked.name[:LONGEST_SHOWN]} (each item)"
    return replace(asked.element or ANYTHING, name=name, title="", description="", default=None)


def _defaults(old: Input, new: Input) -> Iterator[Change]:
    if _is_same(old.default, new.default):
        return
    name = _shown(new.name)
    before, after = _defaults_told(old, new)
    if not _has_default(old):
        sentence = f"{name} now has a default: {after}."
    elif not _has_default(new):
        sentence = f"{name} no longer has a default; it was {before}."
    elif before == after:
        sentence = f"The default of {name} changes."
    else:
        sentence = f"The default of {name} changes from {before} to {after}."
    yield Change(_cut(new.name), Aspect.DEFAULT, Weight.NOTABLE, sentence, before, after)


def _title(old: Input, new: Input) -> Iterator[Change]:
    if old.title != new.title:
        before, after = _apart(old.title, new.title)
        sentence = f"{_shown(new.name)} is now called “{after}”, before “{before}”."
        yield Change(_cut(new.name), Aspect.TITLE, Weight.HARMLESS, sentence, before, after)


def _description(old: Input, new: Input) -> Iterator[Change]:
    if old.description != new.description:
        before, after = _apart(old.description, new.description)
        sentence = f"The description of {_shown(new.name)} changes."
        yield Change(_cut(new.name), Aspect.DESCRIPTION, Weight.HARMLESS, sentence, before, after)


def _deprecated(old: Input, new: Input) -> Iterator[Change]:
    if new.is_deprecated and not old.is_deprecated:
        sentence = f"{_shown(new.name)} is now deprecated: a later version may do without it."
        yield Change(_cut(new.name), Aspect.DEPRECATED, Weight.NOTABLE, sentence, "no", "yes")
    elif old.is_deprecated and not new.is_deprecated:
        sentence = f"{_shown(new.name)} is no longer deprecated."
        yield Change(_cut(new.name), Aspect.DEPRECATED, Weight.HARMLESS, sentence, "yes", "no")


DIFFERENCES = (
    _type,
    _required,
    _choices,
    _range,
    _step,
    _length,
    _pattern,
    _null,
    _elements,
    _defaults,
    _deprecated,
    _title,
    _description,
)


# Values


def _takes(asked: Input, value: object) -> bool:
    """Whether every host would take a value; what only a lenient one takes, it may take for something else."""
    if value is None:
        return asked.is_nullable or asked.kind == InputKind.ANY
    return _is_of_kind(asked, value) and not problems({asked.name: asked}, {asked.name: value})


def _is_of_kind(asked: Input, value: object) -> bool:
    match asked.kind:
        case InputKind.INTEGER:
            return _is_number(value) and (isinstance(value, int) or value % 1 == 0)
        case InputKind.NUMBER:
            return _is_number(value)
        case InputKind.BOOLEAN:
            return isinstance(value, bool)
        case InputKind.CHOICE:
            return _identity(value) in _by_identity(asked.choices)
        case InputKind.TEXT | InputKind.SECRET:
            return isinstance(value, str)
        case InputKind.LIST | InputKind.FILES:
            return isinstance(value, list) and all(_takes(asked.element or ANYTHING, item) for item in value)
        case InputKind.FILE | InputKind.OBJECT | InputKind.ANY:
            return True  # for `problems` to say


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _by_identity(choices: Iterable[object]) -> dict[tuple[str, object], object]:
    return {_identity(choice): choice for choice in choices}


def _identity(value: object) -> tuple[str, object]:
    """Tell true from 1, which Python takes for the same, and let what is no number be equal to itself."""
    match value:
        case bool():
            return "boolean", value
        case float() if isnan(value):
            return "number", "NaN"
        case int() | float():
            return "number", value
        case str():
            return "text", value
        case _:
            return "", None


def _is_same(old: object, new: object) -> bool:
    """Whether two JSON values say the same; they may be nested deeper than Python's own comparison goes."""
    pairs = [(old, new)]
    while pairs:
        match pairs.pop():
            case dict() as one, dict() as other if one.keys() == other.keys():
                pairs += [(value, other[key]) for key, value in one.items()]
            case list() as one, list() as other if len(one) == len(other):
                pairs += zip(one, other, strict=True)
            case (dict() | list(), _) | (_, dict() | list()):
                return False
            case one, other if _identity(one) != _identity(other):
                return False
    return True


def _has_default(asked: Input) -> bool:
    return asked.default is not None  # a default of null is how some documents say that there is none


# Words


def _told(asked: Input) -> str:
    return f"a choice of {_listed(asked.choices)}" if asked.choices else INPUTS[asked.kind]


def _default_told(asked: Input) -> str:
    return HIDDEN if asked.is_secret and _has_default(asked) else _shown(asked.default)


def _defaults_told(old: Input, new: Input) -> tuple[str, str]:
    if old.is_secret or new.is_secret:
        return (HIDDEN if _has_default(old) else NOTHING), (HIDDEN if _has_default(new) else NOTHING)
    before, after = _apart(_plain(old.default), _plain(new.default))
    return _marked(old.default, before), _marked(new.default, after)


def _listed(values: Sequence[object]) -> str:
    named = ", ".join(_shown(value) for value in values[:MOST_NAMED])
    return f"{named} and {len(values) - MOST_NAMED} more" if len(values) > MOST_NAMED else named


def _shown(value: object) -> str:
    return _marked(value, _cut(_plain(value)))


def _marked(value: object, text: str) -> str:
    """Put a text in quotes, so that "5" is not taken for 5 nor "" for nothing."""
    return f"“{text}”" if isinstance(value, str) else text


def _plain(value: object) -> str:
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case _:
            return _json(value)


def _json(value: object) -> str:
    """Write the beginning of a value; what comes after it is not looked at, however deep it is nested."""
    written = ""
    for piece in JSONEncoder(ensure_ascii=False).iterencode(value):
        written += piece
        if len(written) > LONGEST_SHOWN:
            break
    return written


def _apart(old: str, new: str) -> tuple[str, str]:
    """Cut two long texts so that their first difference can be seen."""
    is_long = max(len(old), len(new)) > LONGEST_SHOWN
    start = max(_length_in_common(old, new) - LEAD, 0) if is_long else 0
    return _cut(old, start), _cut(new, start)


def _length_in_common(old: str, new: str) -> int:
    letters = enumerate(zip(old, new, strict=False))
    return next((index for index, (one, other) in letters if one != other), min(len(old), len(new)))


def _cut(text: str, start: int = 0) -> str:
    """Return one line of a text that can be shown: other letters than printable ones may not even be sent."""
    shown = text[start : start + LONGEST_SHOWN]
    line = "".join(letter if letter.isprintable() else "↵" if letter == "\n" else " " for letter in shown)
    return f"{'…' if start else ''}{line}{'…' if len(text) > start + LONGEST_SHOWN else ''}"
