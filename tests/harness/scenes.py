"""Scenes: what people ask, what the provider does meanwhile, and who is killed when."""

import json
import random
import signal
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from tests.fake_replicate import BAD_GATEWAY, Answer, Cut, Disconnect, Gate, Output, Script
from tests.harness.fleet import Fleet
from tests.harness.forks import Child
from tests.harness.history import History, Question
from tests.harness.reader import Stranger, Tab

QUIET_LIMIT = 30.0  # seconds after the last kill until everything has ended
CALM_LIMIT = 5.0  # seconds until the provider runs nothing any more, and all tabs show it
PAUSE = 0.005  # seconds between two looks of the driver
STOPPED = 1.0  # seconds, longer than a lease, after which a stopped process is woken though nobody could take over
PIECES = ("Zeit ", "läuft, ", "🚀🚀 ", "ein\n\nAbsatz ", "- Punkt\n", "`x` ", "العربية ", "ok. ")


@dataclass(frozen=True, slots=True)
class Chat:
    """One question of one person, and the script of its answer."""

    scripts: tuple[Script, ...]
    canary: str
    answer: str  # the final text
    written: str  # the text as it is streamed
    fate: str = "succeeded"
    owner: str = "alice"
    stop_after: int | None = None  # characters that a tab shows before the person stops it
    tabs: int = 1
    then: "Chat | None" = None  # the next question of the same conversation

    @property
    def message(self) -> str:
        """The id of the question: sending it again is asking the same."""
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self.canary))


@dataclass(slots=True)
class Plan:
    """Who is killed: the worker at its n-th point, or whoever chance picks, so many times."""

    point: int = 0  # as long as nobody has claimed anything, the next worker dies at the next point
    where: str = ""  # count only the points whose names begin so
    by: int = signal.SIGKILL
    at_random: int = 0
    every: tuple[float, float] = (0.02, 0.2)  # seconds between two random kills
    workers: int = 1
    webs: int = 1
    bugs: tuple[str, ...] = ()
    clock: float = 0.0  # seconds by which the workers' clocks are wrong
    has_stranger: bool = True  # somebody who may see nothing tries to
    reconnects: bool = False  # tabs lose their connections now and then
    meddle: "Callable[[Play], None] | None" = None  # what else happens, once the tabs are open


@dataclass(slots=True)
class Outcome:
    history: History
    is_unhurt: bool  # nobody came to the point at which it was to be killed
    point: int  # the last one


class Play:
    """One scene on a fleet, from the first question until everything is quiet."""

    def __init__(self, fleet: Fleet, name: str, chats: list[Chat], plan: Plan, seed: int) -> None:
        self.fleet = fleet
        self._chats = chats
        self._plan = plan
        self._chance = random.Random(seed)
        self.history = History(name, slots=fleet.slots)
        self.tabs: list[Tab] = []
        self._stopping: list[tuple[Chat, Tab]] = []
        self._asked_before = {created.id for created in fleet.fake.ledger.created}
        self._to_come: list[tuple[Chat, Question]] = []  # what is asked once the question before has its answer
        self._stopped: dict[Child, float] = {}  # until when, at the latest
        self._sleeper: Child | None = None
        self._point = plan.point
        self._has_begun = False  # before that there are no workers: the first of them may have its orders

    def run(self) -> Outcome:
        fleet, plan = self.fleet, self._plan
        fleet.kills, fleet.unexpected = [], []
        while len(fleet.staying_webs()) < plan.webs:
            fleet.port_of(fleet.start_web(bugs=plan.bugs))
        for chat in self._chats:
            self._ask(chat)
        self._has_begun = True
        first = self._start_worker(dies_at=plan.point, dies_where=plan.where, dies_by=plan.by)
        if plan.point and plan.by == signal.SIGSTOP:
            self._sleeper = first
        for _ in range(plan.workers - 1):
            self._start_worker()
        self._open_tabs()
        if plan.meddle is not None:
            plan.meddle(self)
        if plan.at_random:
            self._kill_at_random()
        self._wait_for_quiet()
        return self._end()

    # ------------------------------------------------------------ people

    def _ask(self, chat: Chat, before: Question | None = None) -> None:
        fleet = self.fleet
        fleet.will_answer(chat.canary, *chat.scripts)
        path = f"/conversations/{before.conversation}/messages/" if before else "/conversations/"
        form = {"id": chat.message, "text": f"{chat.canary} Count for me.", "model": fleet.model}
        status, text = self._post(chat.owner, path, **form)
        assert status == 201, f"{status}: {text}"
        conversation = json.loads(text)["conversation"]
        question = Question(
            chat.message, conversation, chat.owner, chat.canary, chat.answer, chat.written, fate=chat.fate
        )
        self.history.questions.append(question)
        if chat.then is not None:
            self._to_come.append((chat.then, question))

    def _post(self, person: str, path: str, **form: str) -> tuple[int, str]:
        """Send a form; whoever must answer it may have to be started or woken first."""
        with ThreadPoolExecutor(1) as sender:
            sending = sender.submit(self.fleet.post, person, path, **form)
            while not sending.done():
                self._look_after_the_doomed()
                time.sleep(PAUSE)
            return sending.result()

    def _ask_on(self) -> None:
        """Ask what was waiting for an answer that is there by now."""
        if not self._to_come:
            return
        running = self.fleet.database.unanswered()
        for chat, before in list(self._to_come):
            if before.message not in running:
                self._to_come.remove((chat, before))
                self._ask(chat, before)

    def _open_tabs(self) -> None:
        for chat, question in zip(self._chats, self.history.questions, strict=True):
            for number in range(chat.tabs):
                name = f"tab {number} of {question.canary}"
                seed = self._chance.getrandbits(32)
                careless = "gaps ignored" in self._plan.bugs
                tab = Tab(self.fleet, name, chat.owner, question.conversation, seed, is_careless=careless)
                self.tabs.append(tab)
                if number == 0 and chat.stop_after is not None:
                    self._stopping.append((chat, tab))
        if self._plan.has_stranger:
            first = self.history.questions[0]
            rows = [row.id for row in self.fleet.database.rows() if row.question == first.message]
            self.tabs.append(Stranger(self.fleet, first.conversation, rows, self._chance.getrandbits(32)))
        for tab in self.tabs:
            tab.start()

    def _act(self) -> None:
        self._ask_on()
        self._stop_some()

    def _stop_some(self) -> None:
        """Stop the answers of which enough is shown, through the page's own door."""
        for chat, tab in list(self._stopping):
            shown = list(tab.shown.running.values())
            if shown and len(shown[0].text) >= (chat.stop_after or 0):
                self._stopping.remove((chat, tab))
                self._stop(chat, shown[0].message)

    def _stop(self, chat: Chat, answer: str) -> None:
        asked = self.fleet.database.question_of(answer)
        if asked != chat.message:
            return  # it has ended, and this is the answer to what was asked then
        status, text = self._post(chat.owner, f"/messages/{answer}/stop/")
        assert status == 200, f"{status}: {text}"
        questions = self.history.questions
        at = next(at for at, question in enumerate(questions) if question.message == asked)
        questions[at] = replace(questions[at], was_stopped=True)

    # ------------------------------------------------------------ what a scene may do of its own

    def wait_until(self, condition: Callable[[], Any], limit: float = CALM_LIMIT) -> None:
        """Wait until `condition()` is true, or in vain: then the checker will say what is wrong."""
        end = time.monotonic() + limit
        while not condition() and time.monotonic() < end:
            time.sleep(PAUSE)

    def has_shown(self, text: str) -> bool:
        """Whether every tab that may see the first answer has shown `text` of it, at any time."""
        tabs = [tab for tab in self.tabs if not isinstance(tab, Stranger)]
        return all(any(text in view.text for view in tab.views) for tab in tabs)

    def stop(self, child: Child) -> None:
        """Have a process stand still until `wake`."""
        self.fleet.kill(child, signal.SIGSTOP)
        self._stopped[child] = float("inf")

    def wake(self, child: Child) -> None:
        self._stopped.pop(child, None)
        child.send_signal(signal.SIGCONT)

    # ------------------------------------------------------------ killing

    def _kill_at_random(self) -> None:
        for _ in range(self._plan.at_random):
            if self._is_over():
                return
            self._wait(self._chance.uniform(*self._plan.every), self._is_over)
            self._replace_the_dead()
            self._kill_one()

    def _kill_one(self) -> None:
        fleet, chance = self.fleet, self._chance
        is_web = chance.random() < 0.25
        victims = [child for child in (fleet.webs if is_web else fleet.workers) if child not in self._stopped]
        if not victims:
            return
        victim = chance.choice(victims)
        number = chance.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP))
        if number == signal.SIGSTOP and is_web:
            number = signal.SIGKILL  # a web process that stands still keeps its readers until they lose patience
        fleet.kill(victim, number)
        if number == signal.SIGSTOP:
            self._note_stopped(victim)

    def _replace_the_dead(self) -> None:
        """Start as many processes as there should be, and wake some that were stopped."""
        self._bury()
        for child in list(self._stopped):
            if self._chance.random() < 0.4:
                self.wake(child)
        self._fill_up()
        if self._plan.reconnects and self._chance.random() < 0.3:
            self._chance.choice(self.tabs).reconnect()

    def _note_stopped(self, child: Child) -> None:
        # One that stands still within a transaction of SQLite keeps everybody out.
        self._stopped[child] = time.monotonic() + STOPPED

    def _bury(self) -> None:
        for child in self.fleet.bury():
            self._stopped.pop(child, None)

    # ------------------------------------------------------------ waiting

    def _wait_for_quiet(self) -> None:
        end = time.monotonic() + QUIET_LIMIT
        while not self._is_over() and time.monotonic() < end:
            self._act()
            self._look_after_the_doomed()
            time.sleep(PAUSE)
        for child in list(self._stopped):
            self.wake(child)
        self.fleet.rest(CALM_LIMIT)

    def _look_after_the_doomed(self) -> None:
        """Have others carry on where a process has ended or stopped itself, and wake the stopped in time."""
        sleeper = self._sleeper
        if sleeper is not None and self.fleet.note_point(sleeper):
            self._note_stopped(sleeper)
            self._sleeper = None
        for child, end in list(self._stopped.items()):
            if time.monotonic() > end or (self._plan.point and self._is_taken_over()):
                self.wake(child)
        self._bury()
        self._fill_up()

    def _fill_up(self) -> None:
        """Start as many processes as there should be."""
        fleet, plan = self.fleet, self._plan
        while self._has_begun and len(fleet.workers) - len(self._stopped) < plan.workers:
            self._start_worker(**self._next_orders())
        while len(fleet.staying_webs()) < plan.webs:
            fleet.start_web(bugs=plan.bugs)

    def _next_orders(self) -> dict[str, Any]:
        plan = self._plan
        if not plan.point or plan.where or plan.by == signal.SIGSTOP or not self.fleet.database.is_untouched():
            return {}
        self._point += 1
        return {"dies_at": self._point, "dies_by": plan.by}

    def _start_worker(self, **order: Any) -> Child:
        return self.fleet.start_worker(bugs=self._plan.bugs, clock=self._plan.clock, **order)

    def _is_taken_over(self) -> bool:
        stopped = {child.pid for child in self._stopped}
        holders = self.fleet.database.holders()
        return bool(holders - stopped) and not holders & stopped

    def _is_over(self) -> bool:
        return not self._to_come and not self.fleet.database.unanswered()

    def _wait(self, seconds: float, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end and not condition():
            self._act()
            time.sleep(PAUSE)

    # ------------------------------------------------------------ the end

    def _end(self) -> Outcome:
        fleet, history = self.fleet, self.history
        self._fill_up()
        for tab in self.tabs:
            if not isinstance(tab, Stranger):
                tab.wait_for(lambda shown: not shown.running and len(shown.articles) > 1, CALM_LIMIT)
        pages = [tab.page() for tab in self.tabs if not isinstance(tab, Stranger)]
        for tab in self.tabs:
            tab.close()
        self._bury()
        fleet.dismiss(list(fleet.workers))
        conversations = {question.conversation for question in history.questions}
        history.rows = [row for row in fleet.database.rows() if row.conversation in conversations]
        history.asked = [one for one in fleet.asked() if one.id not in self._asked_before]
        keys = {row.id for row in history.rows}
        history.late_changes = [change for change in fleet.database.late_changes() if change.prediction in keys]
        history.views = [view for tab in self.tabs for view in tab.views]
        history.pages = pages
        history.overheard = [frame for tab in self.tabs for frame in tab.overheard]
        history.kills = list(fleet.kills)
        history.unexpected = list(fleet.unexpected)
        return Outcome(history, is_unhurt=not fleet.kills, point=self._point)


# ---------------------------------------------------------------- what the provider does


def plain(fleet: Fleet, *, pieces: int = 4, **chat: Any) -> Chat:
    """An answer of a few pieces, without any trouble."""
    canary = fleet.new_canary()
    steps: list[Any] = []
    for number in range(pieces):
        steps += [f"{canary}{number} ", 0.01]
    return chat_of(canary, Script(steps=steps), **chat)


def gated(fleet: Fleet, **chat: Any) -> tuple[Chat, Gate]:
    """An answer that stands still half-way until the gate is opened."""
    canary, gate = fleet.new_canary(), Gate()
    pieces = [f"{canary}{number} " for number in range(6)]
    return chat_of(canary, Script(steps=[*pieces[:3], gate, *pieces[3:]]), **chat), gate


def troubled(fleet: Fleet, chance: random.Random, **chat: Any) -> Chat:
    """An answer with faults that chance picks."""
    canary = fleet.new_canary()
    script: dict[str, Any] = {name: value for share, name, value in _faults(chance) if chance.random() < share}
    end = chance.choices(("succeeded", "failed", "replaced", "stopped"), (6, 1, 1, 2))[0]
    steps: list[Any] = []
    for number in range(chance.randint(1, 15)):
        piece = f"{canary}{number} {chance.choice(PIECES)}"
        is_hidden = end in {"succeeded", "replaced"} and chance.random() < 0.05
        steps += [Output(piece, streamed=False) if is_hidden else piece, chance.choice((0.0, 0.01, 0.05, 0.1))]
        if chance.random() < 0.08:
            steps.append(Disconnect(chance.choice(("close", "reset", "end"))))
    script["steps"] = steps
    match end:
        case "failed":
            script |= {"status": "failed", "error": "out of memory"}
        case "replaced":
            script["output"] = [f"{canary}Something else altogether."]
        case "stopped":
            chat["stop_after"] = chance.randint(0, 60)
    lost = chance.random() < 0.25 and {"on_create": chance.choice(LOST_CREATES)}
    return chat_of(canary, Script(**script, **(lost or {})), Script(**script), **chat)


LOST_CREATES = (
    Cut(),
    Cut(after=20),
    Cut(how="reset"),
    Cut(handled=False),
    Answer(502, "lost", "text/html", handled=True),
    BAD_GATEWAY,
)


def _faults(chance: random.Random) -> list[tuple[float, str, Any]]:
    """Parts of a script, each with its share."""
    return [
        (0.1, "stream", False),
        (0.1, "done", False),
        (0.1, "resume_shift", chance.choice((-2, -1, 1))),
        (0.2, "boot", 0.05),
        (0.1, "lag", 0.1),
        (0.2, "on_stream", (Cut(after=chance.randint(0, 300)), None, Cut(after=chance.randint(0, 300)))),
        (0.1, "on_get", (BAD_GATEWAY, Cut(after=5), None)),
        (0.3, "on_cancel", (BAD_GATEWAY, Cut(handled=False))),
    ]


def chat_of(canary: str, *scripts: Script, **chat: Any) -> Chat:
    """Put together what is expected of a script's answer."""
    steps = list(scripts[0].plan())
    written = "".join(str(step.value) if isinstance(step, Output) else step for step in steps if _is_text(step))
    final = scripts[0].output
    answer = "".join(final) if isinstance(final, list) else written
    return Chat(scripts, canary, answer, written, fate=scripts[0].status, **chat)


def _is_text(step: Any) -> bool:
    return isinstance(step, str | Output)
