"""OpenTelemetry and Sentry, where their variables ask for them; without those nothing of either is imported.

What people write, what models answer, tokens and addresses with secrets in them are sent to neither: of a request its
method, route and status go out, of an error its kind and the places in the code, of a prediction its ids and times.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core import checks
from django.urls import Resolver404, resolve
from structlog.contextvars import get_contextvars

from predictions.signals import prediction_ended

Application = Callable[[Any, Any, Any], Awaitable[None]]  # as ASGI has them

OF_AN_EVENT = ("event_id", "timestamp", "level", "platform", "logger", "environment", "release", "sdk")
OF_AN_ERROR = ("type", "module")
OF_A_FRAME = ("filename", "function", "module", "lineno", "in_app")
TAGS = ("request", "conversation", "prediction", "worker")
NOT_INSTALLED = "{variable} is set, but {package} is not installed: nothing is sent."


def _say_missing(variable: str, packages: str) -> None:
    """Have `manage.py` say at each start that something is missing, and go on without it."""
    warning = checks.Warning(
        NOT_INSTALLED.format(variable=variable, package=packages.split(maxsplit=1)[0]),
        hint=f"Type `.venv/bin/pip install {packages}`, or unset {variable}.",
        id="parley.W001",
    )
    checks.register(lambda app_configs, **how: [warning])


# ---------------------------------------------------------------- Sentry


def set_up_sentry(dsn: str, *, environment: str) -> None:
    """Report errors to the project that `dsn` names."""
    if not dsn:
        return
    try:
        import sentry_sdk  # noqa: PLC0415 - only where it is asked for
    except ImportError:
        _say_missing("SENTRY_DSN", "sentry-sdk")
        return
    sentry_sdk.init(
        dsn=dsn,
        environment=environment,
        before_send=without_secrets,
        send_default_pii=False,
        include_local_variables=False,
        include_source_context=False,
        max_request_body_size="never",
        max_breadcrumbs=0,
        auto_enabling_integrations=False,  # they look into requests and queries, and write into what we ask hosts
        trace_propagation_targets=[],
    )


def without_secrets(event: Mapping[str, Any], hint: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of an event what is known to be harmless: words may be a person's, or a database's about what one wrote."""
    known = get_contextvars()
    errors = (event.get("exception") or {}).get("values") or []
    return {
        **{name: event[name] for name in OF_AN_EVENT if name in event},
        "exception": {"values": [_place_of(error) for error in errors if isinstance(error, dict)]},
        "tags": {name: known[name] for name in TAGS if name in known},
    }


def _place_of(error: Mapping[str, Any]) -> dict[str, Any]:
    frames = (error.get("stacktrace") or {}).get("frames") or []
    kept = [{name: frame[name] for name in OF_A_FRAME if name in frame} for frame in frames if isinstance(frame, dict)]
    return {**{name: error[name] for name in OF_AN_ERROR if name in error}, "stacktrace": {"frames": kept}}


# ---------------------------------------------------------------- OpenTelemetry


def set_up_tracing(endpoint: str) -> None:
    """Send spans of requests and predictions to `endpoint`, which the exporter reads from the environment itself."""
    if not endpoint:
        return
    try:
        from opentelemetry import trace  # noqa: PLC0415 - only where it is asked for
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415
    except ImportError:
        _say_missing("OTEL_EXPORTER_OTLP_ENDPOINT", "opentelemetry-sdk opentelemetry-exporter-otlp-proto-http")
        return
    provider = TracerProvider(resource=Resource.create({"service.name": "parley"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)
    prediction_ended.connect(_trace_prediction, dispatch_uid="telemetry")


def traced(application: Application, endpoint: str) -> Application:
    """Have each request be a span, where spans are sent anywhere."""
    if not endpoint:
        return application
    try:
        from opentelemetry import propagate, trace  # noqa: PLC0415
    except ImportError:
        return application
    tracer = trace.get_tracer("parley")

    async def spanned(scope: Any, receive: Any, send: Any) -> None:
        given = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method, route = scope["method"], _route_of(scope["path"])
        with tracer.start_as_current_span(
            f"{method} {route}",
            context=propagate.extract(given),
            kind=trace.SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route, **_ids()},
            record_exception=False,  # its words may be a person's
            set_status_on_exception=False,
        ) as span:

            async def noting(message: Any) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await application(scope, receive, noting)

    return spanned


def _route_of(path: str) -> str:
    """Return the pattern of an address: what stands in its places may be a token."""
    try:
        return f"/{resolve(path).route}"
    except Resolver404:
        return "(unknown)"


def _ids() -> dict[str, str]:
    known = get_contextvars()
    return {f"parley.{name}": str(known[name]) for name in TAGS if name in known}


def _trace_prediction(prediction_id: UUID, **signal: Any) -> None:
    """Send a span that is as long as a prediction took, from when its host was asked."""
    from opentelemetry import trace  # noqa: PLC0415

    from predictions.models import Prediction  # noqa: PLC0415 - settings are read before there are models

    told = Prediction.objects.filter(pk=prediction_id).values_list(
        "asked_at", "completed_at", "status", "model__ref", "model__provider__slug"
    )
    for asked_at, completed_at, status, model, provider in told:
        if asked_at is None or completed_at is None:
            continue
        span = trace.get_tracer("parley").start_span(
            f"prediction {provider}",
            start_time=_nanoseconds(asked_at),
            attributes={
                "parley.prediction": str(prediction_id),
                "parley.provider": provider,
                "parley.model": model,
                "parley.status": status,
            },
        )
        span.end(end_time=_nanoseconds(completed_at))


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000
