"""What to paste into a proxy: the files of `deploy/`, with this site's name, port and sizes."""

from urllib.parse import urlsplit

from django.conf import settings

KINDS = {"nginx": "nginx.conf", "caddy": "Caddyfile"}
NAME, UPSTREAM, SIZE = "chat.example.org", "127.0.0.1:8000", "105"  # as those files have them
ROOM = 5_000_000  # bytes of a request beside its file
LOOPBACK = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}  # noqa: S104 - where to listen is not where to go


def configuration(kind: str, url: str) -> str:
    """Return the configuration of a proxy of this `kind` for the site at `url`, "" where that is not known."""
    text = (settings.BASE_DIR / "deploy" / KINDS[kind]).read_text()
    host = LOOPBACK.get(settings.HOST, f"[{settings.HOST}]" if ":" in settings.HOST else settings.HOST)
    size = -(-(settings.FILE_LIMIT + ROOM) // 1_000_000)
    for sample, actual in (
        (f"{{$PARLEY_SITE:{NAME}}}", NAME),  # compose.yaml sets these two
        (f"{{$PARLEY_UPSTREAM:{UPSTREAM}}}", UPSTREAM),
        (NAME, urlsplit(url).hostname or NAME),
        (UPSTREAM, f"{host}:{settings.PORT}"),
        (f"{SIZE}m", f"{size}m"),
        (f"{SIZE}MB", f"{size}MB"),
    ):
        text = text.replace(sample, actual)
    return text
