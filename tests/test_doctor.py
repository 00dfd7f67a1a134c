"""What `manage.py doctor` finds out beyond settings and providers: the way from outside, files, clocks."""

import asyncio
import socket
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from predictions import checks, clock, outside
from predictions.models import Model
from tests.conftest import WorkerThread
from tests.fake_replicate import FakeReplicate
from tests.old_proxy import OldProxy
from tests.site import Site

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def same_key(site: Site, settings: Any) -> None:
    """Doctor runs beside the site, with its settings."""
    settings.SECRET_KEY = (site.folder / "data/secret-key").read_text()


def found(url: str, *, with_webhooks: bool = False) -> dict[str, str]:
    """Return the problems by the part that has them."""
    findings = asyncio.run(outside.look(url, with_webhooks=with_webhooks))
    return {name.removeprefix(url).removeprefix(": "): problem or "" for name, problem in findings}


# ---------------------------------------------------------------- the way from outside


def test_a_way_that_lets_everything_through_is_well(site: Site, same_key: None) -> None:
    assert found(site.url, with_webhooks=True) == {"": "", "event streams": "", "WebSockets": "", "webhooks": ""}


def test_a_proxy_that_knows_no_sockets_and_holds_streams_back_is_told(site: Site, same_key: None) -> None:
    with OldProxy(site.port, buffers=True) as proxy:
        problems = found(proxy.origin)

    assert problems[""] == ""
    assert "holds event streams back" in problems["event streams"]
    assert "status 400, not 101" in problems["WebSockets"]
    assert "doctor --proxy nginx" in problems["WebSockets"]


def test_another_site_or_another_key_is_told(site: Site, host: FakeReplicate) -> None:
    [another_key] = found(site.url).values()
    [another_site] = found(host.origin).values()
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        [nothing] = found(f"http://127.0.0.1:{nobody.getsockname()[1]}").values()

    assert "not as this site (status 404)" in another_key
    assert "not as this site" in another_site
    assert "Does the proxy run" in nothing


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"secure": True, "host": "chat.example.org"}, None),
        ({"secure": False, "host": "chat.example.org"}, "PARLEY_BEHIND_TLS=true"),
        ({"secure": True, "host": "127.0.0.1:8000"}, "Parley is told that the site is 127.0.0.1:8000"),
    ],
)
def test_what_a_proxy_tells_of_how_people_come_is_compared(told: dict[str, Any], words: str | None) -> None:
    problem = outside._way_told("https://Chat.example.org", told)

    assert problem is None if words is None else words in str(problem)


def test_strangers_cannot_have_streams_held_open(site: Site, client: Any) -> None:
    assert client.get("/health/stream").status_code == 404
    assert client.get("/health/stream?probe=guessed:1:x").status_code == 404


def test_doctor_says_what_it_looked_at(model: Model, worker: WorkerThread, settings: Any, fake: FakeReplicate) -> None:
    out = StringIO()
    call_command("doctor", stdout=out)
    assert "– the way from outside: not looked at." in out.getvalue()
    for part in ("✓ storage", "✓ clock", "✓ keys", "✓ Replicate: clock", "All is well."):
        assert part in out.getvalue()

    out = StringIO()
    with pytest.raises(CommandError, match="1 thing to look at"):
        call_command("doctor", url=fake.origin, stdout=out)
    assert f"✗ {fake.origin}: " in out.getvalue()


# ---------------------------------------------------------------- files and clocks


def test_files_that_cannot_be_kept_are_told(settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_storage() is None
    assert not (settings.MEDIA_ROOT / "probe").exists()

    monkeypatch.setattr(checks, "LEAST_ROOM", 10**18)
    assert "MB are free" in str(checks.check_storage())
    (tmp_path / "a file").touch()
    settings.MEDIA_ROOT = tmp_path / "a file" / "media"
    assert "Files cannot be kept" in str(checks.check_storage())


def test_clocks_that_differ_are_told(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert checks.check_clock() is None
    monkeypatch.setattr(clock, "ahead", lambda: timedelta(minutes=10))

    assert "600 s behind the database’s" in str(checks.check_clock())
    assert "3600 s ahead of Replicate’s" in str(
        checks.check_clock_with("Replicate", timezone.now() - timedelta(hours=1))
    )
    assert checks.check_clock_with("Replicate", timezone.now()) is None
    assert checks.check_clock_with("Replicate", None) is None


# ---------------------------------------------------------------- what to paste


@pytest.mark.parametrize(("proxy", "size"), [("nginx", "client_max_body_size 205m;"), ("caddy", "max_size 205MB")])
def test_doctor_prints_what_to_paste_for_this_site(proxy: str, size: str, settings: Any) -> None:
    settings.FILE_LIMIT = 200_000_000
    settings.HOST, settings.PORT = "0.0.0.0", 8010
    out = StringIO()
    call_command("doctor", proxy=proxy, url="https://talk.example.net", stdout=out)

    for part in ("talk.example.net", "127.0.0.1:8010", size):
        assert part in out.getvalue()
    assert "chat.example.org" not in out.getvalue()
    settings.HOST = "::1"
    call_command("doctor", proxy=proxy, url="", stdout=out)
    assert "[::1]:8010" in out.getvalue()
