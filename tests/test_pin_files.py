"""Pins as a YAML file: written, read on another instance, and refused with words where it cannot be."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from predictions import pin_files
from predictions.models import Model, Pin, Version
from predictions.pin_files import PinFileRefused, take_over

pytestmark = pytest.mark.django_db

OLD, NEW = "a" * 64, "f" * 64


@pytest.fixture
def old(model: Model) -> Version:
    model.versions.update(identifier=OLD)
    return model.versions.get()


@pytest.fixture
def new(model: Model, old: Version) -> Version:
    return model.versions.create(identifier=NEW, openapi_schema=old.openapi_schema, latest_at=timezone.now())


@pytest.fixture
def pins(model: Model, painter: Model, old: Version, new: Version) -> list[Pin]:
    """Pins of two models that say everything which a pin can say."""
    testers = Group.objects.create(name="testers")
    painted = painter.versions.get()
    return [
        model.pins.create(environment="staging", version=None),
        model.pins.create(
            environment="production",
            version=old,
            fallback=new,
            falls_back_to_latest=True,
            candidate=new,
            candidate_share=10,
            candidate_group=testers,
            reason="It says: “no”, and 50 % less.",
        ),
        painter.pins.create(environment="production", version=painted),
    ]


def run(*command: str) -> str:
    out = StringIO()
    call_command("pins", *command, stdout=out, no_color=True)
    return out.getvalue()


def decisions() -> dict[tuple[str, str], tuple[Any, ...]]:
    pins = Pin.objects.filter(replaced_by=None).select_related("model")
    return {(pin.model.ref, pin.environment): tuple(getattr(pin, name) for name in Pin.DECISION) for pin in pins}


def one(**said: Any) -> str:
    """A file with one pin."""
    written = {
        "provider": "replicate",
        "model": "meta/meta-llama-3-8b-instruct",
        "environment": "production",
        "version": OLD,
        **said,
    }
    lines = [f"{name}: {value}" for name, value in written.items() if value is not None]
    return "pins:\n- " + "\n  ".join(lines) + "\n"


def refusal(text: str) -> str:
    """What is said of a file that is refused; nothing is changed."""
    before = list(Pin.objects.all())
    with pytest.raises(PinFileRefused) as refused:
        take_over(text, name="pins.yaml")
    assert list(Pin.objects.all()) == before
    return str(refused.value)


# ---------------------------------------------------------------- there and back


def test_a_file_reads_well_and_is_always_the_same(pins: list[Pin]) -> None:
    written = run("export")
    pins[0].restore(by=None, reason="")

    assert run("export") == written
    assert written.startswith("# Which version of each model answers.")
    assert (
        f"""pins:
- provider: replicate
  model: acme/painter
  environment: production
  version: {pins[2].version.identifier}
- provider: replicate
  model: meta/meta-llama-3-8b-instruct
  environment: production
  version: {OLD}
  fallback: {NEW}
  falls_back_to_latest: true
  candidate: {NEW}
  candidate_share: 10
  candidate_group: testers
  reason: 'It says: “no”, and 50 % less.'
- provider: replicate
  model: meta/meta-llama-3-8b-instruct
  environment: staging
  version: latest
"""  # type: ignore[union-attr]
        in written
    )


def test_what_is_exported_is_imported_elsewhere_as_it_was(pins: list[Pin], tmp_path: Path) -> None:
    file = str(tmp_path / "pins.yaml")
    run("export", file)
    before = decisions()
    Pin.objects.all().delete()
    said = run("import", file)

    assert decisions() == before
    assert "replicate: acme/painter in production: no pin → " in said
    assert said.endswith("3 pins changed.\n")
    reasons = {pin.reason for pin in Pin.objects.all()}
    assert reasons == {"Imported from pins.yaml.", "Imported from pins.yaml: It says: “no”, and 50 % less."}


def test_one_environment_is_exported_alone(pins: list[Pin]) -> None:
    written = run("export", "--environment", "staging")
    assert "environment: staging" in written
    assert "production" not in written


@pytest.mark.parametrize("identifier", ["", "123456", "1e5", "yes", "0x1f", "2026-01-01", "null"])
def test_odd_identifiers_stay_texts(identifier: str, model: Model) -> None:
    model.versions.update(identifier=identifier)
    model.pins.create(environment="production", version=model.versions.get())
    written, before = pin_files.export(), decisions()
    Pin.objects.all().delete()
    take_over(written, name="pins.yaml")
    assert decisions() == before


def test_an_import_says_what_changes_and_leaves_alone_what_is_so_already(
    pins: list[Pin], model: Model, tmp_path: Path
) -> None:
    file = str(tmp_path / "pins.yaml")
    run("export", file)
    model.pins.create(environment="production", version=None)
    count = Pin.objects.count()

    tried = run("import", "--dry-run", file)
    assert Pin.objects.count() == count
    assert tried.endswith("1 pin would change.\n")
    said = run("import", file)
    where = "replicate: meta/meta-llama-3-8b-instruct in"
    assert f"{where} production: latest → aaaaaaaaaaaa; Fallback: none → ffffffffffff; " in said
    assert f"{where} staging: latest, as it is already." in said
    assert said.endswith("1 pin changed.\n")
    assert Pin.objects.count() == count + 1
    assert run("import", file).endswith("Nothing changed.\n")
    assert Pin.objects.count() == count + 1


def test_imported_pins_are_history(pins: list[Pin], model: Model) -> None:
    take_over(one(version="latest"), name="pins.yaml")
    newest = Pin.objects.newest(model, "production")
    assert newest is not None
    assert (newest.replaces, newest.created_by, newest.version) == (pins[1], None, None)


def test_an_import_takes_few_queries(model: Model, old: Version) -> None:
    with CaptureQueriesContext(connection) as queries:
        entries = [one(environment=environment).removeprefix("pins:\n") for environment in Pin.Environment.values]
        take_over("pins:\n" + "".join(entries), name="pins.yaml", dry_run=True)
    assert len(queries) <= 8


# ---------------------------------------------------------------- refused


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"provider": "elsewhere"}, "line 3: at “elsewhere” there is no model “meta/meta-llama-3-8b-instruct”"),
        ({"model": "acme/none"}, "line 3: at “replicate” there is no model “acme/none”. Add it in the admin first"),
        ({"environment": "moon"}, "line 4: there is no environment “moon”"),
        ({"version": "b" * 64}, f"line 5: Parley knows no version “{'b' * 64}” of meta/meta-llama-3-8b-instruct"),
        ({"fallback": "b"}, "line 6: Parley knows no version “b”"),
        ({"fallback": OLD}, "line 6: A version cannot stand in for itself."),
        ({"candidate": "b"}, "line 6: Parley knows no version “b”"),
        ({"candidate_share": 10}, "Choose the version that is to be tried out."),
        ({"candidate_group": "nobody"}, "line 6: there is no group “nobody” here."),
        ({"candidate_share": 101}, "line 6: “candidate_share” has to be from 0 to 100."),
        ({"candidate_share": "1:30"}, "line 6: “candidate_share” has to be from 0 to 100."),
        ({"candidate_share": "ten"}, "line 6: “candidate_share” has to be a number."),
        ({"falls_back_to_latest": "maybe"}, "line 6: “falls_back_to_latest” has to be true or false."),
        ({"version": 12}, "line 5: “version” has to be a text; put it in quotes."),
        ({"version": "[1]"}, "line 5: “version” has to be a text; put it in quotes."),
        ({"version": ""}, "line 5: “version” has to be a text; put it in quotes."),
        ({"version": None}, "line 2: this pin does not say its version."),
        ({"version": '"\\ud800"'}, "line 5: "),
        ({"version": '"\\0"'}, "line 5: "),
        ({"colour": "red"}, "line 6: “colour” is nothing that a pin says."),
        ({"? [a]": "1"}, "line 6: “?” is nothing that a pin says."),
        ({"version": "!!python/object:os.system x"}, "line 5: “version” has to be a text"),
        ({"reason": "x\n  reason: y"}, "line 7: “reason” is said twice."),
    ],
)
def test_what_is_wrong_is_told_with_its_line(said: dict[str, Any], sentence: str, model: Model, old: Version) -> None:
    assert sentence in refusal(one(**said))


@pytest.mark.parametrize(
    "text",
    [
        *("", "pins", "pins: 1", "- 1", "{}", "pins: []\nmore: 1", "pins:\n- 1", "pins: [[]]", "\x00", "a: b: c"),
        *("a: &a [*a]", "[" * 5_000, "pins:\n- " + "{a: " * 5_000, "--- 1\n--- 2", "? {a: b}\n: 1", "*a", "\ufeff%"),
    ],
)
def test_what_is_no_pin_file_is_refused_in_words(text: str) -> None:
    assert "Nothing is changed." in refusal(text)


def test_a_file_may_be_of_one_size_only() -> None:
    assert "larger than 500,000 bytes" in refusal("#" * 500_001)


def test_a_pin_is_said_once(model: Model, old: Version) -> None:
    text = one() + one().removeprefix("pins:\n")
    assert "line 6: this model has a pin for production in line 2 already." in refusal(text)


def test_one_fault_keeps_everything_from_being_changed_and_all_faults_are_told(
    pins: list[Pin], model: Model, tmp_path: Path
) -> None:
    file = tmp_path / "pins.yaml"
    entry = one(version="latest", environment="staging")
    file.write_text(one(version="latest") + entry.removeprefix("pins:\n") + "- model: x\n  version: 1\n")
    before = list(Pin.objects.all())
    with pytest.raises(CommandError, match=r"(?s)pins.yaml is refused.*line 10: this pin.*line 11: ") as refused:
        run("import", str(file))
    assert "And" not in str(refused.value)
    assert list(Pin.objects.all()) == before


def test_a_version_that_is_gone_is_refused_unless_something_stands_in(model: Model, old: Version, new: Version) -> None:
    Version.objects.filter(pk=old.pk).update(gone_at=timezone.now())
    assert "line 5: this version is gone at its host" in refusal(one())
    take_over(one(fallback=NEW), name="pins.yaml")
    assert Pin.objects.get().fallback == new


def test_a_decision_in_the_meantime_refuses_the_whole_import(
    pins: list[Pin], model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = pin_files._save

    def be_overtaken(changes: Any) -> None:
        model.pins.create(environment="production", version=None)
        save(changes)

    monkeypatch.setattr(pin_files, "_save", be_overtaken)
    entry = one(version="latest", environment="development")
    text = entry + one(fallback=NEW).removeprefix("pins:\n")
    assert "Somebody has pinned a version in the meantime." in refusal(text)


def test_files_that_cannot_be_read_or_written_are_said_to_be(model: Model, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be read: No such file"):
        run("import", str(tmp_path / "none.yaml"))
    (tmp_path / "latin.yaml").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(CommandError, match="not a text in UTF-8"):
        run("import", str(tmp_path / "latin.yaml"))
    with pytest.raises(CommandError, match="cannot be written"):
        run("export", str(tmp_path / "no" / "folder.yaml"))
