"""Pins as a small YAML file: from one instance to another, and into git.

    pins:
    - provider: replicate
      model: meta/meta-llama-3-8b-instruct
      environment: production
      version: 5a6809ca6288247d06daf6365557e5e429063f32a21146b2a807c682652136b8
      fallback: 8beff3369e81422112d93b89ca01426147de542cd4684c244b673b105188fe5f
      reason: It answers in whole sentences.

`version: latest` tracks the latest. Also there may be `falls_back_to_latest: true`, `candidate`, `candidate_share`
(percent) and `candidate_group`. The file is untrusted: every fault is told with its line, and then nothing is changed.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from django.contrib.auth.models import Group
from django.core.exceptions import ValidationError
from django.db import transaction

from predictions.models import Model, Pin, PinChanged, Version
from predictions.standing import answering, differences, latest_of, newest_pins, version_of

LARGEST_FILE = 500_000  # bytes: 200 models in three environments are about half of it
MOST_FAULTS = 20  # told at once
LATEST = "latest"
HEAD = "# Which version of each model answers. `manage.py pins import FILE` takes it over.\n"
TEXT, YES_OR_NO, NUMBER = (f"tag:yaml.org,2002:{name}" for name in ("str", "bool", "int"))
KEYS = {
    "provider": TEXT,
    "model": TEXT,
    "environment": TEXT,
    "version": TEXT,
    "fallback": TEXT,
    "falls_back_to_latest": YES_OR_NO,
    "candidate": TEXT,
    "candidate_share": NUMBER,
    "candidate_group": TEXT,
    "reason": TEXT,
}
NEEDED = ("provider", "model", "environment", "version")
MEANINGS = {TEXT: "a text; put it in quotes", YES_OR_NO: "true or false", NUMBER: "a number"}
YES = {"true", "yes", "on"}
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what no database keeps, though YAML can write it


class PinFileRefused(ValueError):
    """The file cannot be taken over; the message names the lines, for people."""


@dataclass(frozen=True, slots=True)
class Change:
    """What one pin of a file changes here, or that nothing does."""

    pin: Pin
    before: Pin | None

    @property
    def is_none(self) -> bool:
        return self.before is not None and all(
            getattr(self.before, name) == getattr(self.pin, name) for name in Pin.DECISION
        )

    def __str__(self) -> str:
        where = f"{self.pin.model.provider.slug}: {self.pin.model.ref} in {self.pin.environment}"
        if self.is_none:
            return f"{where}: {version_of(self.pin)}, as it is already."
        beside = "".join(f"; {words}" for words in differences(self.before, self.pin))
        return f"{where}: {version_of(self.before)} → {version_of(self.pin)}{beside}."


def export(environment: str | None = None) -> str:
    """Write down the pins that count, of one environment or of all, always in the same order."""
    pins = newest_pins(Model.objects.all()).select_related("model__provider")
    if environment:
        pins = pins.filter(environment=environment)
    ordered = sorted(pins, key=lambda pin: (pin.model.provider.slug, pin.model.ref, pin.environment))
    entries = [_entry(pin) for pin in ordered]
    written: str = yaml.safe_dump({"pins": entries}, sort_keys=False, allow_unicode=True, width=1_000)
    return HEAD + written


def take_over(text: str, *, name: str, dry_run: bool = False) -> list[Change]:
    """Pin what the file `name` says, all or nothing; raise PinFileRefused. Return what that changes."""
    entries = list(_read(text))
    try:
        with transaction.atomic():
            changes = _changes(entries, name)
            if not dry_run:
                _save(changes)
    except PinChanged as error:
        raise PinFileRefused("Somebody has pinned a version in the meantime. Nothing is changed; try again.") from error
    return changes


def _save(changes: Iterable[Change]) -> None:
    for change in changes:
        if not change.is_none:
            change.pin.repeat(reason=change.pin.reason, replaces=change.before)


# Writing


def _entry(pin: Pin) -> dict[str, Any]:  # texts, numbers, true
    said = {
        "provider": pin.model.provider.slug,
        "model": pin.model.ref,
        "environment": pin.environment,
        "version": pin.version.identifier if pin.version else LATEST,
    }
    beside = {
        "fallback": pin.fallback.identifier if pin.fallback else None,
        "falls_back_to_latest": pin.falls_back_to_latest or None,
        "candidate": pin.candidate.identifier if pin.candidate else None,
        "candidate_share": pin.candidate_share or None,
        "candidate_group": pin.candidate_group.name if pin.candidate_group else None,
        "reason": " ".join(pin.reason.split()) or None,
    }
    return said | {key: value for key, value in beside.items() if value is not None}


# Reading


@dataclass(slots=True)
class _Faults:
    """Everything that is wrong with a file, by line."""

    told: list[tuple[int, str]] = field(default_factory=list)

    def add(self, line: int, sentence: str) -> None:
        self.told.append((line, sentence))

    def refuse_if_any(self) -> None:
        if self.told:
            more = [f"And {len(self.told) - MOST_FAULTS} more."] if len(self.told) > MOST_FAULTS else []
            told = [f"line {line}: {sentence}" for line, sentence in sorted(self.told)[:MOST_FAULTS]]
            raise PinFileRefused("\n".join([*told, *more, "Nothing is changed."]))


@dataclass(frozen=True, slots=True)
class _Entry:
    """One pin of the file: what it says, and in which line it says it."""

    line: int
    said: Mapping[str, str]
    lines: Mapping[str, int]


def _read(text: str) -> Iterator[_Entry]:
    """Check the file's form by its nodes: they know their lines, and no value is built from them."""
    faults = _Faults()
    entries = [_entry_of(node, faults) for node in _pins_of(_compose(text))]
    seen: dict[tuple[str, ...], int] = {}
    for entry in entries:
        place = tuple(entry.said.get(key, "") for key in ("provider", "model", "environment"))
        if place in seen and all(place):
            faults.add(entry.line, f"this model has a pin for {place[2]} in line {seen[place]} already.")
        seen.setdefault(place, entry.line)
    faults.refuse_if_any()
    yield from entries


def _compose(text: str) -> yaml.Node | None:
    if len(text.encode(errors="replace")) > LARGEST_FILE:
        raise PinFileRefused(f"The file is larger than {LARGEST_FILE:,} bytes. Nothing is changed.")
    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise PinFileRefused(f"{line}this is not YAML: {error.problem}. Nothing is changed.") from error
    except (yaml.YAMLError, RecursionError) as error:
        raise PinFileRefused(
            "The file is not YAML as `manage.py pins export` writes it. Nothing is changed."
        ) from error
    return node


def _pins_of(node: yaml.Node | None) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode) and len(node.value) == 1:
        key, pins = node.value[0]
        if key.value == "pins" and isinstance(pins, yaml.SequenceNode):
            return list(pins.value)
    raise PinFileRefused("line 1: the file has to begin with “pins:” and a list of pins. Nothing is changed.")


def _entry_of(node: yaml.Node, faults: _Faults) -> _Entry:
    line = node.start_mark.line + 1
    said: dict[str, str] = {}
    lines: dict[str, int] = {}
    if not isinstance(node, yaml.MappingNode):
        faults.add(line, "a pin is written as names and values, such as “version: latest”.")
        return _Entry(line, said, lines)
    for key_node, value_node in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
        lines[key] = key_node.start_mark.line + 1
        if fault := _fault(key, value_node, said):
            faults.add(lines[key], fault)
        else:
            said[key] = value_node.value
    missing = [key for key in NEEDED if key not in said and key not in lines]
    if missing:
        faults.add(line, f"this pin does not say its {' and '.join(missing)}.")
    return _Entry(line, said, lines)


def _fault(key: str, node: yaml.Node, said: Mapping[str, str]) -> str:
    if key not in KEYS:
        return f"“{key[:50]}” is nothing that a pin says. It may say {', '.join(KEYS)}."
    if key in said:
        return f"“{key}” is said twice."
    if not isinstance(node, yaml.ScalarNode) or node.tag != KEYS[key]:
        return f"“{key}” has to be {MEANINGS[KEYS[key]]}."
    if KEYS[key] == NUMBER and not re.fullmatch(r"100|[1-9]?[0-9]", node.value):
        return f"“{key}” has to be from 0 to 100."
    if UNSTORABLE.search(node.value):
        return f"“{key}” has a character in it that cannot be kept."
    return ""


# What it means here


@dataclass(frozen=True, slots=True)
class _Known:
    """What the file's names stand for here; a query for each kind of thing, whatever the number of pins."""

    models: Mapping[tuple[str, str], Model]
    versions: Mapping[tuple[int, str], Version]
    latest: Mapping[int, Version]
    groups: Mapping[str, Group]
    pins: Mapping[tuple[int, str], Pin]


def _known(entries: Iterable[_Entry]) -> _Known:
    refs = {entry.said["model"] for entry in entries}
    found = list(Model.objects.filter(ref__in=refs).select_related("provider"))
    named = {entry.said[key] for entry in entries for key in ("version", "fallback", "candidate") if key in entry.said}
    versions = Version.objects.filter(model__in=found, identifier__in=named).defer("openapi_schema")
    groups = Group.objects.filter(name__in={entry.said.get("candidate_group", "") for entry in entries})
    return _Known(
        models={(model.provider.slug, model.ref): model for model in found},
        versions={(version.model_id, version.identifier): version for version in versions},
        latest={version.model_id: version for version in latest_of(found)},
        groups={group.name: group for group in groups},
        pins={(pin.model_id, pin.environment): pin for pin in newest_pins(found)},
    )


def _changes(entries: list[_Entry], name: str) -> list[Change]:
    faults, known = _Faults(), _known(entries)
    changes = [change for entry in entries if (change := _change(entry, known, faults, name))]
    faults.refuse_if_any()
    return changes


def _change(entry: _Entry, known: _Known, faults: _Faults, name: str) -> Change | None:
    said, lines = entry.said, entry.lines
    model = known.models.get((said["provider"], said["model"]))
    if said["environment"] not in Pin.Environment.values:
        there_are = ", ".join(Pin.Environment.values)
        faults.add(
            lines["environment"], f"there is no environment “{said['environment'][:50]}”; there are {there_are}."
        )
        return None
    if model is None:
        where = f"at “{said['provider'][:50]}” there is no model “{said['model'][:250]}”"
        faults.add(lines["model"], f"{where}. Add it in the admin first, or with `manage.py models offer`.")
        return None
    pin = Pin(
        model=model,
        environment=said["environment"],
        falls_back_to_latest=said.get("falls_back_to_latest", "").lower() in YES,
        candidate_share=int(said.get("candidate_share", 0)),
        reason=_reason(name, said.get("reason", "")),
    )
    is_known = [_name_version(pin, key, entry, known, faults) for key in ("version", "fallback", "candidate")]
    if _name_group(pin, entry, known, faults) and all(is_known):
        _check(pin, entry, known, faults)
    return Change(pin, known.pins.get((model.pk, pin.environment)))


def _name_version(pin: Pin, key: str, entry: _Entry, known: _Known, faults: _Faults) -> bool:
    identifier = entry.said.get(key)
    if identifier is None or (key == "version" and identifier == LATEST):
        return True
    version = known.versions.get((pin.model_id, identifier))
    if version is None:
        sentence = (
            f"Parley knows no version “{identifier[:64]}” of {pin.model.ref}. The worker looks for new ones hourly."
        )
        faults.add(entry.lines[key], sentence)
        return False
    setattr(pin, key, version)
    return True


def _name_group(pin: Pin, entry: _Entry, known: _Known, faults: _Faults) -> bool:
    name = entry.said.get("candidate_group")
    if name is not None and name not in known.groups:
        faults.add(entry.lines["candidate_group"], f"there is no group “{name[:150]}” here.")
        return False
    pin.candidate_group = known.groups[name] if name is not None else None
    return True


def _check(pin: Pin, entry: _Entry, known: _Known, faults: _Faults) -> None:
    try:
        pin.clean()
    except ValidationError as error:
        for key, sentences in error.message_dict.items():
            faults.add(entry.lines.get(key, entry.line), " ".join(sentences))
    if pin.version and pin.version.gone_at and answering(pin, lambda: known.latest.get(pin.model_id))[0] is None:
        faults.add(entry.lines["version"], "this version is gone at its host, and nothing stands in: name a fallback.")


def _reason(name: str, reason: str) -> str:
    said = f"Imported from {name}: {reason}" if reason else f"Imported from {name}."
    return said if len(said) <= 500 else said[:499] + "…"
