"""A test of the test: ten planted bugs, each of which the kill harness's checker must find.

Every scene is also played without its bug, and then nothing may be found.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from tests.fake_replicate import BAD_GATEWAY, Disconnect, Gate, Script
from tests.harness.checker import Violation, check
from tests.harness.fleet import Fleet, Workshop
from tests.harness.scenes import Plan, Play, chat_of, gated, plain
from tests.services import own_valkey, real_postgres

TRIES = 6  # of a scene in which chance has a part
HOUR = 3600.0  # seconds

Make = Callable[[Fleet, tuple[str, ...]], Play]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Processes over SQLite that hear each other's hints."""
    with own_valkey() as redis, Workshop(tmp_path_factory.mktemp("teeth"), redis=redis) as workshop:
        yield workshop


def found(workshop: Workshop, make: Make, *bugs: str, webhooks: bool = False, slots: int | None = None) -> set[str]:
    """Play a scene and return the rules that were broken."""
    with workshop.fleet(webhooks=webhooks, concurrency=slots) as fleet:
        violations: list[Violation] = check(make(fleet, bugs).run().history)
    return {violation.rule for violation in violations}


# ---------------------------------------------------------------- 1: hints before the commit


def an_answer(fleet: Fleet, bugs: tuple[str, ...]) -> Play:
    return Play(fleet, "an answer", [plain(fleet)], Plan(bugs=bugs), seed=1)


def test_a_text_that_is_told_before_it_is_kept_is_found(workshop: Workshop) -> None:
    assert found(workshop, an_answer) == set()
    assert "I15" in found(workshop, an_answer, "told before kept")


# ---------------------------------------------------------------- 2: no dedup


def a_stream_that_repeats(fleet: Fleet, bugs: tuple[str, ...]) -> Play:
    """The provider repeats two events after a break. It fails in the end, so that its last word mends nothing."""
    canary = fleet.new_canary()
    pieces = [f"{canary}{number} " for number in range(6)]
    steps = [*pieces[:3], 0.1, Disconnect(), *pieces[3:]]
    script = Script(steps=steps, resume_shift=-2, status="failed", error="out of memory")
    return Play(fleet, "a stream that repeats", [chat_of(canary, script)], Plan(bugs=bugs), seed=1)


def test_a_text_that_is_taken_twice_is_found(workshop: Workshop) -> None:
    assert found(workshop, a_stream_that_repeats) == set()
    assert "I6" in found(workshop, a_stream_that_repeats, "nothing known twice")


# ---------------------------------------------------------------- 3: no fencing


def a_zombie(fleet: Fleet, bugs: tuple[str, ...]) -> Play:
    """The worker stands still while another one takes over, and wakes with something to write."""
    canary, first, second = fleet.new_canary(), Gate(), Gate()
    pieces = [f"{canary}{number} " for number in range(6)]
    chat = chat_of(canary, Script(steps=[*pieces[:2], first, *pieces[2:4], second, *pieces[4:]]))

    def meddle(play: Play) -> None:
        zombie = fleet.workers[0]
        play.wait_until(lambda: play.has_shown(pieces[1]))
        play.stop(zombie)
        successor = fleet.start_worker(bugs=bugs)
        first.open()
        play.wait_until(lambda: fleet.database.holders() == {successor.pid} and play.has_shown(pieces[3]))
        play.wake(zombie)
        play.wait_until(lambda: "given up here" in fleet.log.read_text() or "cannot be stored" in fleet.log.read_text())
        second.open()

    return Play(fleet, "a zombie", [chat], Plan(bugs=bugs, meddle=meddle), seed=1)


def test_a_zombie_that_is_not_fenced_off_is_found(workshop: Workshop) -> None:
    assert found(workshop, a_zombie) == set()
    assert found(workshop, a_zombie, "no fencing")


# ---------------------------------------------------------------- 4: gaps ignored


def a_lost_hint(fleet: Fleet, bugs: tuple[str, ...]) -> Play:
    """The worker dies after a commit, before it tells of it; the hints of the next one go on further down."""
    canary = fleet.new_canary()
    steps = [step for number in range(80) for step in (f"{canary}{number} ", 0.05)]
    plan = Plan(point=12, where="before publish prediction", bugs=bugs)  # pages are there by then
    return Play(fleet, "a lost hint", [chat_of(canary, Script(steps=steps))], plan, seed=1)


def test_a_page_that_ignores_gaps_is_found(workshop: Workshop) -> None:
    assert found(workshop, a_lost_hint) == set()
    assert "I7" in found(workshop, a_lost_hint, "gaps ignored")


# ---------------------------------------------------------------- 5: ends overwritten


def a_late_stop(fleet: Fleet, bugs: tuple[str, ...]) -> Play:
    """Somebody stops an answer that has just ended."""

    def meddle(play: Play) -> None:
        play.wait_until(lambda: not fleet.database.unanswered())
        [row] = fleet.database.rows()
        fleet.post("alice", f"/messages/{fleet.database.answer_of(row.id)}/stop/")

    return Play(fleet, "a late stop", [plain(fleet)], Plan(bugs=bugs, meddle=meddle), seed=1)


def test_an_end_that_is_overwritten_is_found(workshop: Workshop) -> None:
    assert found(workshop, a_late_stop) == set()
    assert "I3" in found(workshop, a_late_stop, "ends overwritten")


# ---------------------------------------------------------------- 6: webhooks believed


def a_forged_webhook(fleet: Fleet, bugs: tuple[str, ...]) -> Play:
    """Somebody who knows a webhook's address says what nobody has signed."""
    chat, gate = gated(fleet)

    def meddle(play: Play) -> None:
        play.wait_until(lambda: play.has_shown(f"{chat.canary}2"))
        [created] = fleet.fake.ledger.created
        forged = {"id": created.id, "status": "succeeded", "output": ["Send me your money."]}
        address = httpx.URL(created.body["webhook"]).path
        headers = {"webhook-id": "1", "webhook-timestamp": "1", "webhook-signature": "v1,bm8="}
        httpx.post(
            f"{fleet.fake.webhook_target}{address}", content=json.dumps(forged), headers=headers, trust_env=False
        )
        gate.open()

    return Play(fleet, "a forged webhook", [chat], Plan(bugs=bugs, meddle=meddle), seed=1)


def test_a_webhook_that_is_believed_is_found(workshop: Workshop) -> None:
    assert found(workshop, a_forged_webhook, webhooks=True) == set()
    assert "I6" in found(workshop, a_forged_webhook, "webhooks believed", webhooks=True)


# ---------------------------------------------------------------- 7: cancels not repeated


def a_cancel_that_fails(fleet: Fleet, bugs: tuple[str, ...]) -> Play:
    """The provider does not take the first cancel, and without one it writes for ever."""
    canary = fleet.new_canary()
    script = Script(steps=[f"{canary}0 ", Gate()], on_cancel=[BAD_GATEWAY])
    return Play(fleet, "a cancel that fails", [chat_of(canary, script, stop_after=1)], Plan(bugs=bugs), seed=1)


def test_a_cancel_that_is_not_repeated_is_found(workshop: Workshop) -> None:
    assert found(workshop, a_cancel_that_fails) == set()
    assert "I10" in found(workshop, a_cancel_that_fails, "cancels not repeated")


# ---------------------------------------------------------------- 8: slots without a lock


def a_rush(fleet: Fleet, bugs: tuple[str, ...]) -> Play:
    """Two workers find several questions for one slot at the same time."""
    chats = [plain(fleet, owner=owner, pieces=40) for owner in ("alice", "bob", "alice")]
    return Play(fleet, "a rush", chats, Plan(bugs=bugs, workers=2), seed=1)


def test_slots_that_are_filled_twice_are_found(tmp_path: Path) -> None:
    with ExitStack() as stack:  # SQLite lets no two of them count at once
        postgres, redis = stack.enter_context(real_postgres(is_migrated=True)), stack.enter_context(own_valkey())
        workshop = stack.enter_context(Workshop(tmp_path, postgres=postgres, redis=redis))

        assert found(workshop, a_rush, slots=1) == set()
        assert any("I11" in found(workshop, a_rush, "slots without a lock", slots=1) for _ in range(TRIES))


# ---------------------------------------------------------------- 9: access forgotten


def test_access_that_is_forgotten_is_found(workshop: Workshop) -> None:
    assert "I14" in found(workshop, an_answer, "access forgotten")


# ---------------------------------------------------------------- 10: each machine's own clock


def a_wrong_clock(fleet: Fleet, bugs: tuple[str, ...]) -> Play:
    """The worker's clock is an hour ahead of the one that stamped the question."""
    return Play(fleet, "a wrong clock", [plain(fleet)], Plan(bugs=bugs, clock=HOUR), seed=1)


def test_leases_and_deadlines_by_a_machines_own_clock_are_found(workshop: Workshop) -> None:
    assert found(workshop, a_wrong_clock) == set()
    assert "I8" in found(workshop, a_wrong_clock, "own clock")
