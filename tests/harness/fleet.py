"""A provider, a database, and the processes between them."""

import http.client
import random
import re
import shutil
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import psycopg

from tests.fake_replicate import FakeReplicate, Script
from tests.harness.database import Database
from tests.harness.forks import Child, ForkServer, Order
from tests.harness.history import Asked, Kill
from tests.prepared import prepared

CSRF = "c" * 32
CANARY = re.compile(r"canary-\d+-")
REQUEST_LIMIT = 30.0  # seconds that a request may take until somebody answers it
AGAIN = 0.02  # seconds until a request that nobody answered is sent again
PUBLIC_URL = "https://parley.example"  # hooks are addressed to it, and sent to a web process of ours
SECRET_OF_NOBODY = "whsec_bm9ib2R5IHNpZ25zIHdpdGggdGhpcw=="


class NobodyAnswered(Exception):
    """No web process took a request in time."""


class Workshop:
    """What all fleets of one kind share: the fork server, and an SQLite database to copy or PostgreSQL's address."""

    def __init__(self, folder: Path, *, postgres: str = "", redis: str = "") -> None:
        self.folder = folder
        self.postgres = postgres
        environment = {"DATABASE_URL": postgres, "REDIS_URL": redis}
        named = {name: address for name, address in environment.items() if address}
        self.forks = ForkServer(named, folder / "forks.log")
        self._names = count(1)
        self._canaries = count(1)
        self._lock = threading.Lock()

    def __enter__(self) -> "Workshop":
        with ExitStack() as stack:
            stack.enter_context(self.forks)
            self.template = "" if self.postgres else str(self.folder / "template.sqlite3")
            if self.template:
                shutil.copy(prepared() / "db.sqlite3", self.template)
            log = str(self.folder / "template.log")
            order = Order("furnish", str(self.folder), log, self.template, told={"migrate": True})
            furnishing = self.forks.start(order)
            furnishing.hear("furnished")
            furnishing.wait()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._stack.close()

    def new_canary(self) -> str:
        with self._lock:
            return f"canary-{next(self._canaries):06}-"

    def new_folder(self) -> Path:
        with self._lock:
            folder = self.folder / f"fleet-{next(self._names)}"
        folder.mkdir()
        return folder

    @contextmanager
    def fleet(self, *, concurrency: int | None = None, webhooks: bool = False, seed: int = 0) -> Iterator["Fleet"]:
        folder = self.new_folder()
        with (
            self._database(folder) as address,
            FakeReplicate() as fake,
            Fleet(self, fake, folder, address, concurrency, webhooks=webhooks, seed=seed) as fleet,
        ):
            yield fleet
        shutil.rmtree(folder)

    @contextmanager
    def _database(self, folder: Path) -> Iterator[str]:
        """Yield the path or URL of a copy of the template."""
        if not self.postgres:
            shutil.copy(self.template, folder / "db.sqlite3")
            yield str(folder / "db.sqlite3")
            return
        name = f"{urlsplit(self.postgres).path[1:]}_{folder.name.replace('-', '_')}"
        with psycopg.connect(urlsplit(self.postgres)._replace(path="/postgres").geturl(), autocommit=True) as server:
            server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{urlsplit(self.postgres).path[1:]}"')
            try:
                yield urlsplit(self.postgres)._replace(path=f"/{name}").geturl()
            finally:
                server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


class Fleet:
    """Web and worker processes over one database, before one provider; any of them may be killed."""

    def __init__(
        self,
        workshop: Workshop,
        fake: FakeReplicate,
        folder: Path,
        address: str,
        concurrency: int | None,
        *,
        webhooks: bool,
        seed: int,
    ) -> None:
        self.fake = fake
        self.slots = concurrency
        self.log = folder / "log"
        self.workers: list[Child] = []
        self.webs: list[Child] = []
        self.kills: list[Kill] = []
        self.unexpected: list[str] = []
        self._workshop = workshop
        self._forks = workshop.forks
        self._webhooks = webhooks
        self._seeds = random.Random(seed)
        self._scripts: dict[str, deque[Script]] = {}
        self._doomed: set[int] = set()  # process ids
        self._order = Order(
            "furnish",
            data=str(folder),
            log=str(self.log),
            database=urlsplit(address).path[1:] if workshop.postgres else address,
            provider=fake.url,
            token=fake.token,
            secret=fake.webhook_secret,
            public_url=PUBLIC_URL if webhooks else "",
            told={"concurrency": concurrency},
        )
        self.database = Database(address)
        fake.default = self._script_for

    def __enter__(self) -> "Fleet":
        furnishing = self._forks.start(self._order)
        furnished = furnishing.hear("furnished")
        furnishing.wait()
        self._sessions: dict[str, str] = furnished["sessions"]
        self.model: str = furnished["model"]
        return self

    def __exit__(self, *exception: Any) -> None:
        for child in [*self.workers, *self.webs]:
            child.send_signal(signal.SIGKILL)
            child.wait()
        self.database.close()

    # ------------------------------------------------------------ processes

    def start_worker(self, **order: Any) -> Child:
        return self._start("worker", self.workers, **order)

    def start_web(self, **order: Any) -> Child:
        web = self._start("web", self.webs, **order)
        if self._webhooks:
            self.fake.webhook_target = f"http://127.0.0.1:{self.port_of(web)}"
        return web

    def _start(self, role: Any, others: list[Child], **order: Any) -> Child:
        child = self._forks.start(replace(self._order, role=role, seed=self._seeds.randrange(2**32), **order))
        others.append(child)
        return child

    @staticmethod
    def port_of(web: Child) -> int:
        return int(web.hear("ready"))

    def staying_webs(self) -> list[Child]:
        """The web processes that have not been told to end."""
        return [web for web in self.webs if web.pid not in self._doomed]

    def any_port(self, chance: random.Random) -> int:
        """The port of some web process; there are no sticky sessions."""
        ports = [int(said["ready"]) for web in self.staying_webs() for said in web.listen() if "ready" in said]
        if not ports:
            raise ConnectionRefusedError
        return chance.choice(ports)

    def kill(self, child: Child, number: int) -> None:
        """Send a signal that is part of the plan."""
        self._note_kill(child, number, "at random")
        child.send_signal(number)

    def note_point(self, child: Child) -> bool:
        """Whether a process has come to the point at which it ends or stops itself."""
        if child.point and child.pid not in self._doomed:
            self._note_kill(child, child.order.dies_by, child.point)
        return bool(child.point)

    def _note_kill(self, child: Child, number: int, where: str) -> None:
        self._doomed.add(child.pid)
        self.kills.append(Kill(child.order.role, signal.Signals(number).name, where))

    def bury(self) -> list[Child]:
        """Take processes that have ended off the lists, and return them; note those that had no reason to."""
        ended = []
        for others in (self.workers, self.webs):
            for child in list(others):
                child.listen()
                if child.has_ended:
                    others.remove(child)
                    ended.append(child)
                    self._note_end(child)
        return ended

    def _note_end(self, child: Child) -> None:
        code = child.wait()
        self.note_point(child)
        if child.pid not in self._doomed:
            self.unexpected.append(f"process {child.pid} ended with {code}: {self._last_words()}")

    def dismiss(self, children: list[Child], limit: float = 20.0) -> None:
        """End processes as a deploy does; they must go by themselves, and say nothing went wrong."""
        for child in children:
            child.send_signal(signal.SIGCONT)
            child.send_signal(signal.SIGTERM)
        for child in children:
            try:
                self._keep_awake(child, limit)
                code = child.wait(AGAIN)
            except AssertionError as error:
                self.unexpected.append(f"{error}: {self._last_words()}")
                child.send_signal(signal.SIGKILL)
                child.wait()
            else:
                self.note_point(child)
                # One that was not ready yet may have had no time to say what it does about the signal.
                is_sudden = code == -signal.SIGTERM and not any("ready" in said for said in child.said)
                if code and not is_sudden and child.pid not in self._doomed:
                    self.unexpected.append(f"process {child.pid} ended with {code}: {self._last_words()}")
            for others in (self.workers, self.webs):
                if child in others:
                    others.remove(child)

    def _keep_awake(self, child: Child, limit: float) -> None:
        """Wait until it has ended, and wake it if it stops itself on its way."""
        end = time.monotonic() + limit
        while not child.has_ended and time.monotonic() < end:
            child.listen(AGAIN)
            if self.note_point(child):
                child.send_signal(signal.SIGCONT)

    def _last_words(self) -> str:
        return self.log.read_text()[-3000:] if self.log.exists() else ""

    # ------------------------------------------------------------ people

    def cookie(self, person: str) -> str:
        return f"sessionid={self._sessions[person]}; csrftoken={CSRF}"

    def get(self, person: str, path: str) -> tuple[int, str]:
        return self._ask("GET", person, path, None)

    def post(self, person: str, path: str, **form: str) -> tuple[int, str]:
        """Send a form until somebody answers it, as a page and a person do; safe where it may arrive twice."""
        return self._ask("POST", person, path, form)

    def _ask(self, method: str, person: str, path: str, form: dict[str, str] | None) -> tuple[int, str]:
        headers = {"Cookie": self.cookie(person), "Accept": "application/json" if form is not None else "text/html"}
        if form is not None:
            headers |= {"X-CSRFToken": CSRF, "Content-Type": "application/x-www-form-urlencoded"}
        chance = random.Random(path)
        end = time.monotonic() + REQUEST_LIMIT
        problem: Any = None
        while time.monotonic() < end:
            try:
                status, text = self._ask_once(self.any_port(chance), method, path, form, headers)
            except (OSError, http.client.HTTPException) as error:
                problem = error
            else:
                if status < 500:
                    return status, text
                problem = f"{status} {text}"
            time.sleep(AGAIN)
        raise NobodyAnswered(f"{method} {path}: {problem!r}; {self._last_words()}")

    @staticmethod
    def _ask_once(
        port: int, method: str, path: str, form: dict[str, str] | None, headers: dict[str, str]
    ) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=REQUEST_LIMIT)
        try:
            connection.request(method, path, None if form is None else urlencode(form), headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    # ------------------------------------------------------------ the provider

    def new_canary(self) -> str:
        return self._workshop.new_canary()

    def will_answer(self, canary: str, *scripts: Script) -> None:
        """Have the provider follow these scripts, one for each time it is asked for this; the last one stays."""
        self._scripts[canary] = deque(scripts)

    def _script_for(self, body: Any) -> Script:
        scripts = self._scripts[canary_in(body)]
        return scripts.popleft() if len(scripts) > 1 else scripts[0]

    def asked(self) -> list[Asked]:
        return [
            Asked(
                created.id,
                canary_in(created.body),
                created.status,
                began=created.call.at,
                ended=created.completed_at,
                cancels=created.cancels,
            )
            for created in self.fake.ledger.created
        ]

    def rest(self, limit: float) -> bool:
        """Wait until the provider runs nothing any more; say whether that came."""
        with suppress(TimeoutError):
            self.fake.ledger.wait_for(lambda ledger: not ledger.running(), limit)
        return not self.fake.ledger.running()


def canary_in(body: Any) -> str:
    """What the newest question of a create's input is known by."""
    return CANARY.findall(str(body["input"]))[-1]
