"""What `/metrics` tells: one scrape of any web process tells all of the site.

It comes from three places: the database; the workers, whose figures are in their rows (told with the label `worker`);
and the process that is asked. Where the database does not answer in time, the rest is told without it.
"""

import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import Error, connections
from django.db.models import Count, F, Min, Q
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from predictions import clock, metrics
from predictions.events import PROCESSING, STARTING
from predictions.models import File, Prediction, Provider, WebhookDelivery, Worker

logger = logging.getLogger(__name__)

PATIENCE = 3.0  # seconds that the database has to answer
WEBHOOK_SPAN = timedelta(hours=1)

Figures = dict[str, float]  # as `metrics.worker_figures` returns them

QUEUED = Q(status=STARTING, asked_at=None)
PHASES = {
    "queued": QUEUED,
    "starting": Q(status=STARTING, asked_at__isnull=False, lost_at=None),
    "unknown": Q(status=STARTING, asked_at__isnull=False, lost_at__isnull=False),
    "running": Q(status=PROCESSING),
}


@dataclass(frozen=True, slots=True)
class Site:
    """What the database tells of the whole site."""

    families: list[Metric]
    workers: dict[str, Figures]  # by the worker's name


def everything() -> bytes:
    """Return all figures as Prometheus reads them; in bounded time."""
    return generate_latest(Scrape(read_in_time()))


class Scrape(Collector):
    """The families of one scrape."""

    def __init__(self, site: Site | None) -> None:
        self._site = site

    def collect(self) -> Iterator[Metric]:
        yield GaugeMetricFamily("parley_database_up", "Whether the database answered in time.", self._site is not None)
        workers: dict[str, Figures] = {}
        if self._site is not None:
            yield from self._site.families
            workers = self._site.workers
        yield from metrics.WEB.collect()
        yield from _with_workers(metrics.WORKER, workers, tells_own=False)
        # Where web and worker are one process, its memory and its bus are told once.
        others = {name: figures for name, figures in workers.items() if name != Worker.own_name()}
        yield from _with_workers(metrics.PROCESS, others, tells_own=True)


def _with_workers(registry: CollectorRegistry, workers: dict[str, Figures], *, tells_own: bool) -> Iterable[Metric]:
    """Return the registry's families with what the workers say of them; what only they know of is left out."""
    families: dict[str, Metric] = {}
    told: list[Metric] = []
    for family in registry.collect():
        empty = Metric(family.name, family.documentation, family.type)
        empty.samples = list(family.samples) if tells_own else []
        told.append(empty)
        families |= dict.fromkeys((family.name + ending for ending in ENDINGS.get(family.type, [""])), empty)
    for worker, figures in workers.items():
        for key, value in figures.items():
            name, labels = metrics.read_figure(key)
            if name in families:
                families[name].add_sample(name, {**labels, "worker": worker}, value)
    return told


ENDINGS = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"]}


# ---------------------------------------------------------------- the database

_one_at_a_time = threading.Lock()


def read_in_time() -> Site | None:
    """Return what the database tells, or None if it does not answer within `PATIENCE`."""
    if not _one_at_a_time.acquire(timeout=PATIENCE):
        return None  # an earlier look still waits: a second one would only wait beside it
    answers: list[Site] = []
    thread = threading.Thread(target=_read_into, args=[answers], name="metrics", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return answers[0] if answers else None


def _read_into(answers: list[Site]) -> None:
    try:
        answers.append(read_site())
    except Error as error:
        logger.warning("The database tells no figures: %s", error)
    finally:
        connections.close_all()
        _one_at_a_time.release()


def read_site() -> Site:
    now = clock.now()
    alive = list(Worker.objects.alive().order_by("pk").values_list("name", "seen_at", "figures"))
    # A worker that was killed and started anew in its container has the same name: the newer one is told.
    workers: dict[str, Figures] = {name: figures for name, _, figures in alive}
    return Site([*_predictions(now), *_providers(), *_workers(alive, now), *_webhooks(now), *_files()], workers)


def _predictions(now: datetime) -> Iterator[Metric]:
    counts = {phase: Count("pk", filter=is_in_it) for phase, is_in_it in PHASES.items()}
    unheld = Q(asked_at__isnull=False) & (Q(leased_until=None) | Q(leased_until__lte=now))
    rows = Prediction.objects.active().values(provider=F("model__provider__slug"))
    found: dict[str, Any] = {  # rows with the counts as they are named here
        row["provider"]: row
        for row in rows.annotate(
            **counts,
            unheld=Count("pk", filter=unheld),
            oldest=Min("created_at"),
            oldest_queued=Min("created_at", filter=QUEUED),
        )
    }
    by_phase = _gauge("parley_predictions", "Predictions that have not ended.", "provider", "phase")
    not_held = _gauge("parley_predictions_unheld", "Those that were asked for and no worker holds.", "provider")
    oldest = _gauge("parley_oldest_prediction_seconds", "Age of the oldest that has not ended.", "provider")
    wait = _gauge("parley_oldest_wait_seconds", "Age of the oldest that is still queued.", "provider")
    for slug in sorted({*Provider.objects.filter(enabled=True).values_list("slug", flat=True), *found}):
        row = found.get(slug, {})
        for phase in PHASES:
            by_phase.add_metric([slug, phase], row.get(phase, 0))
        not_held.add_metric([slug], row.get("unheld", 0))
        oldest.add_metric([slug], _age(row.get("oldest"), now))
        wait.add_metric([slug], _age(row.get("oldest_queued"), now))
    yield from (by_phase, not_held, oldest, wait)


def _providers() -> Iterator[Metric]:
    up = _gauge("parley_provider_up", "Whether the provider took the last question.", "provider")
    for slug, trouble in Provider.objects.filter(enabled=True).values_list("slug", "condition__trouble"):
        up.add_metric([slug], not trouble)
    yield up


def _workers(alive: list[tuple[str, datetime, Figures]], now: datetime) -> Iterator[Metric]:
    yield GaugeMetricFamily("parley_workers", "Workers that are alive.", len(alive))
    silence = _gauge("parley_worker_silence_seconds", "Since the worker's last sign of life.", "worker")
    for name, seen_at in {name: seen_at for name, seen_at, _ in alive}.items():
        silence.add_metric([name], _age(seen_at, now))
    yield silence


def _webhooks(now: datetime) -> Iterator[Metric]:
    recent = WebhookDelivery.objects.filter(received_at__gt=now - WEBHOOK_SPAN)
    counts = recent.values(provider=F("prediction__model__provider__slug")).annotate(count=Count("pk"))
    family = _gauge("parley_webhook_deliveries", "Webhooks that were taken in within an hour.", "provider")
    for row in counts:
        family.add_metric([row["provider"]], row["count"])
    yield family


def _files() -> Iterator[Metric]:
    count = File.objects.retried().count()
    yield GaugeMetricFamily("parley_files_delayed", "Files of answers that are to be copied at a retry.", count)


def _gauge(name: str, documentation: str, *labels: str) -> Any:  # the library's families are not annotated
    return GaugeMetricFamily(name, documentation, labels=labels)


def _age(since: datetime | None, now: datetime) -> float:
    return max((now - since).total_seconds(), 0.0) if since else 0.0
