"""How the log is written: a line for people, or a JSON object for machines, each with the ids of what was worked on.

All of it passes here, that of libraries too. `logging.getLogger(__name__)` is all a module needs; whoever begins work
says what it is about with `structlog.contextvars.bind_contextvars(prediction=…, conversation=…, worker=…)`.
"""

import logging
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

# What a record may carry besides its message. The rest of `extra` is libraries' objects: requests, sockets.
FIELDS = ("prediction", "conversation", "worker", "provider", "status", "seconds", "status_code")

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")

# Addresses of streams and headers with tokens are in what these say of each request.
TALKATIVE = ("httpx", "httpcore")


def logging_config(log_format: str, *, level: str, own_level: str) -> dict[str, Any]:
    """Return the configuration of the standard library's logging; `log_format` is `text` or `json`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": BEFORE,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *RENDERERS[log_format]],
            }
        },
        "filters": {"strangers": {"()": lambda: word_of_strangers}},
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "predictions": {"level": own_level},
            "chat": {"level": own_level},
            # Django's own handlers would write some lines a second time.
            "django": {"handlers": [], "propagate": True},
            # A page that somebody asked for in vain is no news.
            "django.request": {"level": "ERROR"},
            "django.security.DisallowedHost": {"filters": ["strangers"]},
            **{name: {"level": "WARNING"} for name in TALKATIVE},
        },
    }


def word_of_strangers(record: logging.LogRecord) -> bool:
    """Have it be one line, and no error: whoever looks for open doors asks every address under any name."""
    record.levelno, record.levelname, record.exc_info = logging.WARNING, logging.getLevelName(logging.WARNING), None
    return True


def as_line(_: Any, __: str, event: EventDict) -> str:
    """Render `time LEVEL logger: message [prediction=…]`, and a traceback below it, further in: an error may quote."""
    head = [event.pop(name) for name in ("timestamp", "level", "logger", "event")]
    exception = event.pop("exception", "")
    fields = " ".join(f"{name}={value}" for name, value in event.items())
    line = f"{head[0]} {head[1].upper()} {head[2]}: {_on_one_line(str(head[3]))}"
    below = "".join(f"\n  {_on_one_line(each)}" for each in exception.split("\n")) if exception else ""
    return line + (f" [{_on_one_line(fields)}]" if fields else "") + below


def _on_one_line(text: str) -> str:
    # A host's words must not look like lines of ours.
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in text)


BEFORE: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.ExtraAdder(allow=FIELDS),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
]

RENDERERS: dict[str, list[Processor]] = {
    "text": [as_line],
    "json": [structlog.processors.JSONRenderer(default=str)],
}
