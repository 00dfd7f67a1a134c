"""`bin/start`: from a clone to a page that answers, and then in charge of everything it started until it ends."""

import argparse
import errno
import fcntl
import os
import re
import select
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from launch import bundled, environment
from launch.children import Child
from launch.console import Failure, say
from launch.environment import PYTHON, ROOT

LOCK = ROOT / "requirements.lock"

WILDCARDS = {"0.0.0.0", "::"}  # noqa: S104 - compared, not bound

GRACE = 20.0  # seconds for the web server and its worker, which hands back what it has not finished
MODEL_GRACE = 5.0  # seconds for a model, which is asked once nobody needs it any more
LOOK = 60.0  # seconds between looks at the logs' sizes

EPILOGUE = """\
The same can be said by PARLEY_PORT, PARLEY_HOST and PARLEY_DATA_DIR (relative to the project's folder), which
`manage.py` reads as well. REPLICATE_API_TOKEN offers Replicate's models, DATABASE_URL and REDIS_URL a PostgreSQL
and a Redis of your own, PARLEY_COG_SERVERS (name=url, separated by commas) more Cog servers. Ctrl-C ends everything.
"""


class Stopped(BaseException):
    """Somebody wants this to end: Ctrl-C, SIGTERM, or a terminal that was closed."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def main() -> int:
    """Start Parley and return the exit code, once it has ended."""
    _handle_endings(_stop)
    try:
        options = _options()
        with _data_folder(options.data) as data:
            _check_address(options.host, options.port)
            environment.prepare(LOCK)
            return House(options, data).run()
    except Stopped as stopped:
        say("Stopped.")
        return 128 + stopped.number
    except Failure as failure:
        say(str(failure))
    except (OSError, subprocess.SubprocessError) as error:
        say(f"Parley could not be started: {error}")
    return 1


def _handle_endings(handler: Callable[[int, FrameType | None], None]) -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # nohup ignores SIGHUP, and means it.
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handler)


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped(number)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bin/start",
        description="Start Parley: install what it needs, then run it with its bundled models, and print its address.",
        epilog=EPILOGUE,
    )
    parser.add_argument("--port", type=_port, help="default: 8000; 0 takes a free one")
    parser.add_argument("--host", help="default: 127.0.0.1, which only this machine reaches")
    parser.add_argument(
        "--data", type=_folder, metavar="DIR", help="keeps database, files, secret key and logs; default: var"
    )
    parser.set_defaults(
        port=os.environ.get("PARLEY_PORT") or "8000",  # text is parsed as if it were typed
        host=os.environ.get("PARLEY_HOST") or "127.0.0.1",
        data=ROOT / (os.environ.get("PARLEY_DATA_DIR") or "var"),
    )
    return parser.parse_args()


def _folder(text: str) -> Path:
    return Path(text).absolute()


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and int(text) < 65_536:
        return int(text)
    raise argparse.ArgumentTypeError(f"a port is a number from 0 to 65535, not {text!r}")


# ---------------------------------------------------------------- before anything is started


@contextmanager
def _data_folder(folder: Path) -> Iterator[Path]:
    """Make the data folder and keep it to this process, until it ends."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / "logs").mkdir(exist_ok=True)
        file = (folder / "running").open("a+")
    except OSError as error:
        reason = f"The data folder {folder} cannot be used: {error.strerror}."
        raise Failure(f"{reason} Name another one with --data.") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise Failure(
                f"Parley already runs with the data folder {folder} (process {file.read().strip() or 'unknown'}). "
                "End it first, or give this one a folder of its own with --data."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield folder


def _check_address(host: str, port: int) -> None:
    """Raise Failure if nothing can listen there."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen()
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            reason = f"Port {port} on {host} is taken. Choose another one with --port or PARLEY_PORT."
        elif error.errno == errno.EACCES:
            reason = f"Port {port} is open to root only. Choose one from 1024 on with --port or PARLEY_PORT."
        else:
            reason = f"Nothing can listen on {host}: {error.strerror}. Choose another one with --host or PARLEY_HOST."
        raise Failure(reason) from error


# ---------------------------------------------------------------- from the start to the end


class House:
    """Everything that one `bin/start` runs: the web server with its worker, and the bundled models."""

    def __init__(self, options: argparse.Namespace, data: Path) -> None:
        self._host = options.host
        self._data = data
        self._logs = data / "logs"
        self._is_ready = False
        named = _named_servers(os.environ.get("PARLEY_COG_SERVERS", ""))
        self._models = [bundled.Model(name, self._logs) for name in bundled.models_that_run() if name not in named]
        servers = named | {model.name: model.url for model in self._models}
        self._serve = Child(
            environment.tied(str(PYTHON), str(ROOT / "manage.py"), "serve"),
            env=environment.variables()
            | {
                "PARLEY_HOST": options.host,
                "PARLEY_PORT": str(options.port),
                "PARLEY_DATA_DIR": str(data),
                "PARLEY_COG_SERVERS": ",".join(f"{name}={url}" for name, url in servers.items()),
            },
            folder=ROOT,
            log=self._logs / "serve.log",
        )

    def run(self) -> int:
        """Run everything until the web server ends or somebody stops it; return the exit code."""
        alarm = _alarm()
        try:
            for model in self._models:
                say(f"Starting {model.title} …")
                model.start()
            if self._host in WILDCARDS and not os.environ.get("PARLEY_ALLOWED_HOSTS"):
                say("Other machines reach it only by the names that PARLEY_ALLOWED_HOSTS lists, and that is empty.")
            say(f"Starting Parley … (its logs: {_short(self._logs)}/; Ctrl-C ends it)")
            output, child_output = os.pipe()
            self._serve.start(stdout=child_output)
            os.close(child_output)
            return self._watch(output, alarm)
        except Stopped as stopped:
            code = 0 if self._is_ready else 128 + stopped.number
            say("Ending …")
            return code
        finally:
            self._end()

    def _watch(self, output: int, alarm: int) -> int:
        """Pass on what the web server prints and look after the models until it ends; return its exit code."""
        sources = [alarm, output]
        while (code := self._serve.exit_code()) is None:
            looks = [look for model in self._models if (look := model.next_look()) is not None]
            readable, _, _ = select.select(sources, [], [], min([LOOK, *looks]))
            if alarm in readable:
                os.read(alarm, 1024)
            if output in readable and not self._pass_on(output):
                sources.remove(output)
            for model in self._models:
                if news := model.look_after():
                    say(news)
            for child in (self._serve, *self._models):
                child.trim_log()
        say(f"Parley ended (exit code {code}): {self._serve.last_words()}\n{_short(self._serve.log)} says more.")
        return code

    def _pass_on(self, output: int) -> bool:
        """Print what has come; return whether there can be more."""
        text = os.read(output, 65_536).decode(errors="replace")
        if text:
            self._is_ready = True
            say(text.rstrip("\n"))
        return bool(text)

    def _end(self) -> None:
        _handle_endings(self._hurry)
        # The worker stops its predictions at the models, which are still needed for that.
        self._serve.ask_to_end()
        self._serve.wait(GRACE)
        for model in self._models:
            model.ask_to_end()
        for model in self._models:
            model.wait(MODEL_GRACE)

    def _hurry(self, number: int, frame: FrameType | None) -> None:
        """Asked a second time: end at once."""
        for child in (self._serve, *self._models):
            child.kill()


def _named_servers(text: str) -> dict[str, str]:
    """Read `name=url,name=url`."""
    servers = {}
    for entry in filter(None, map(str.strip, text.split(","))):
        name, _, url = entry.partition("=")
        if not re.fullmatch(r"https?://[^/]+.*", url):
            raise Failure(
                f"PARLEY_COG_SERVERS names servers as name=http://host:port, separated by commas; not {entry!r}."
            )
        servers[name] = url
    return servers


def _alarm() -> int:
    """Return a file descriptor that is readable as soon as a child has ended."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    return reader


def _short(path: Path) -> str:
    """Return the path as somebody in the project's folder would type it."""
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
