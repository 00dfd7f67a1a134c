"""Which version answers in each environment, for many models at once; and what a pin decides, in words."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from django.conf import settings
from django.db.models import Count, Expression, IntegerField, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from predictions.models import Model, Pin, Prediction, Version


@dataclass(frozen=True, slots=True)
class Standing:
    """What answers in one environment, how that came, and how many versions are newer than the pinned one."""

    environment: str
    pin: Pin | None
    version: Version | None  # None: nothing answers
    chosen: Prediction.Chosen | None
    latest: Version | None  # of those that answer
    newer: int = 0

    @property
    def is_here(self) -> bool:
        return bool(self.environment == settings.ENVIRONMENT)

    @property
    def is_unpinned_production(self) -> bool:
        return self.environment == Pin.Environment.PRODUCTION and self.pin is None


def standings(models: Collection[Model], *, with_schemas: bool = False) -> Mapping[int, Mapping[str, Standing]]:
    """Return for each model, by its key, what answers in each environment; two queries."""
    newest, last = newest_pins(models), latest_of(models)
    if with_schemas:
        newest, last = newest.defer(None), last.defer(None)
    latest = {version.model_id: version for version in last}
    pins = {(pin.model_id, pin.environment): pin for pin in newest}
    return {
        model.pk: {
            environment: _standing(environment, pins.get((model.pk, environment)), latest.get(model.pk))
            for environment in Pin.Environment.values
        }
        for model in models
    }


def standing_here(models: Collection[Model]) -> dict[Model, Standing]:
    """Return for each model what answers in this instance's environment; two queries."""
    found = standings(models)
    return {model: found[model.pk][settings.ENVIRONMENT] for model in models}


def answering(
    pin: Pin | None, latest: Callable[[], Version | None]
) -> tuple[Version, Prediction.Chosen] | tuple[None, None]:
    """Say what answers a new conversation that no candidate is tried with; `latest` is asked where that counts."""
    if pin is None or pin.version is None:
        version, chosen = latest(), Prediction.Chosen.LATEST
    elif pin.version.answers:
        version, chosen = pin.version, Prediction.Chosen.PINNED
    elif not pin.version.is_described:
        return None, None
    else:
        version, chosen = pin.fallback, Prediction.Chosen.FALLBACK
        if version is None or not version.answers:
            version = latest() if pin.falls_back_to_latest else None
    return (version, chosen) if version else (None, None)


def newest_pins(models: Collection[Model] | QuerySet[Model]) -> QuerySet[Pin]:
    """The pins that count, of all environments, each with `newer`: how many versions came after the pinned one."""
    pins = Pin.objects.current().filter(model__in=models).with_versions()
    return pins.select_related("candidate_group", "created_by").annotate(newer=_newer_than_pinned())


def differences(old: Pin | None, new: Pin) -> list[str]:
    """Say what `new` decides otherwise than `old` did, but for the version."""
    before, after = dict(_decision(old)), dict(_decision(new))
    changed = [f"{name}: {before[name]} → {after[name]}" for name in after if before[name] != after[name]]
    return [*changed, "Open conversations moved along"] if new.moves_conversations else changed


def version_of(pin: Pin | None) -> str:
    """The version that a pin decides on, as people read it."""
    if pin is None:
        return "no pin"
    return pin.version.short if pin.version else "latest"


def _standing(environment: str, pin: Pin | None, latest: Version | None) -> Standing:
    version, chosen = answering(pin, lambda: latest)
    newer = getattr(pin, "newer", 0) or 0
    return Standing(environment, pin, version, chosen, latest, newer if pin and pin.version_id else 0)


def latest_of(models: Collection[Model]) -> QuerySet[Version]:
    newest = Version.objects.answering().filter(model=OuterRef("pk")).values("pk")[:1]
    keys = Model.objects.filter(pk__in=[model.pk for model in models]).annotate(latest=Subquery(newest))
    return Version.objects.filter(pk__in=keys.order_by().values("latest")).defer("openapi_schema")


def _newer_than_pinned() -> Expression:
    newer = Version.objects.answering().filter(model=OuterRef("model")).came_after("version")
    counted = newer.order_by().values("model").annotate(count=Count("pk")).values("count")
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def _decision(pin: Pin | None) -> Iterator[tuple[str, str]]:
    yield "Fallback", pin.fallback.short if pin and pin.fallback else "none"
    yield "Latest as the last resort", "yes" if pin and pin.falls_back_to_latest else "no"
    yield "Candidate", pin.candidate.short if pin and pin.candidate else "none"
    yield "Its share", f"{pin.candidate_share if pin else 0} %"
    yield "Its group", pin.candidate_group.name if pin and pin.candidate_group else "none"
