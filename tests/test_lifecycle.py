"""A prediction's life in every order that chance finds: people, two workers, a provider, a clock that moves."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from chat.models import AlreadyAnswering, Conversation, User
from predictions import clock, webhooks
from predictions.batch import Batch, write_batch
from predictions.events import (
    CANCELED,
    FAILED,
    PROCESSING,
    SUCCEEDED,
    TERMINAL,
    Completed,
    Event,
    Failed,
    Logs,
    Output,
    Restarted,
    Snapshot,
    Started,
    from_snapshot,
)
from predictions.follow import read_frame, stored_text
from predictions.journal import Journal
from predictions.models import Condition, Model, Prediction, Worker
from predictions.models.prediction import LEASE
from tests.test_reducer import NOW, Reader

TOKENS = ("Paris ", "is 🚀 ", "the\n", "capital", ".")
ENDS = (SUCCEEDED, FAILED, CANCELED)
CONVERSATIONS = 2
NTH = st.integers(0, 5)

# ---------------------------------------------------------------- the reducer alone


class Telling(RuleBasedStateMachine):
    """One text that a provider writes, heard by stream, poll and look in any order and any pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.reader = Reader()
        self.written = ""
        self.end: Completed | None = None

    def hear(self, *events: Event) -> None:
        """Let events happen, and see that what was shown only grows, or begins anew as another edition."""
        prediction = self.reader.prediction
        before = (self.reader.text, prediction.edition, prediction.status)
        self.reader.hear(events)
        text, edition, status = self.reader.text, prediction.edition, prediction.status
        if before[2] in TERMINAL:
            assert (text, edition, status) == before
        assert edition > before[1] or text.startswith(before[0])

    @precondition(lambda self: self.end is None)
    @rule(token=st.sampled_from(TOKENS))
    def provider_writes(self, token: str) -> None:
        self.written += token

    @precondition(lambda self: self.end is None)
    @rule(status=st.sampled_from(ENDS), final=st.sampled_from(("", "London.", None)))
    def provider_ends(self, status: str, final: str | None) -> None:
        output = self.written if final == "" else final
        self.end = Completed(status, output=output, error="" if status == SUCCEEDED else "out of memory")

    @rule(places=st.tuples(st.floats(0, 1), st.floats(0, 1)))
    def stream_tells_a_piece(self, places: tuple[float, float]) -> None:
        begin, end = sorted(int(place * len(self.written)) for place in places)
        self.hear(Output(self.written[begin:end], begin))

    @rule(share=st.floats(0, 1))
    def poll_tells_what_there_was(self, share: float) -> None:
        seen = self.written[: int(share * len(self.written))]
        self.hear(*from_snapshot(Snapshot("p", PROCESSING, output=seen, logs="50%")))

    @precondition(lambda self: self.end is not None)
    @rule()
    def somebody_tells_the_end(self) -> None:
        assert self.end is not None
        self.hear(self.end)
        prediction = self.reader.prediction
        if prediction.status == SUCCEEDED and self.end.output is not None:
            assert self.reader.text == self.end.output

    @rule(event=st.sampled_from((Started(), Logs("10%"), Restarted(), Failed("The answer took too long."))))
    def something_else_happens(self, event: Event) -> None:
        if isinstance(event, Restarted):
            self.written = self.written if self.reader.prediction.is_terminal else ""
        self.hear(event)

    @precondition(lambda self: self.reader.prediction.cancel_requested_at is None)
    @rule()
    def person_stops_it(self) -> None:
        self.reader.prediction.cancel_requested_at = NOW

    @invariant()
    def running_text_is_what_was_written(self) -> None:
        if not self.reader.prediction.is_terminal:
            assert self.written.startswith(self.reader.text)


def test_what_is_told_in_any_order_only_grows_and_ends_once() -> None:
    run_state_machine_as_test(
        Telling, settings=settings(max_examples=300, stateful_step_count=30, deadline=None, database=None)
    )


# ---------------------------------------------------------------- with database, leases and journal


class Host:
    """What the provider knows of one prediction."""

    def __init__(self) -> None:
        self.creates = 0
        self.text = ""
        self.status = PROCESSING
        self.is_stopped = False  # somebody asked for its end

    @property
    def snapshot(self) -> Snapshot:
        return Snapshot("p", self.status, output=self.text or None, error="" if self.status != FAILED else "broken")


class Station:
    """A worker, a step at a time: what it remembers may be older than what the database says."""

    def __init__(self, name: str) -> None:
        self.row = Worker.objects.create(name=name)
        self.journal = Journal(self.row)
        self.held: dict[UUID, Prediction] = {}

    def claim(self) -> None:
        for prediction in Prediction.objects.claim(self.row, limit=2, besides=list(self.held)):
            prediction.resume(stored_text(prediction.pk))
            self.held[prediction.pk] = prediction
            self.journal.hold(prediction)

    def commit(self) -> None:
        """Write what has happened; forget what has ended or was lost."""
        changes = self.journal._take_changes()
        lost = write_batch(self.row.pk, list(self.held), Batch(changes, []))
        ended = {change.prediction for change in changes if change.is_last}
        for key in ended | lost:
            self.held.pop(key, None)
            self.journal._held.pop(key, None)

    def hear(self, prediction: Prediction, *events: Event) -> None:
        for event in events:
            prediction.apply(event, at=clock.now())
        self.journal.note(prediction)


class Life(RuleBasedStateMachine):
    """Two conversations, two workers, one provider."""

    def __init__(self) -> None:
        super().__init__()
        self.now = datetime(2026, 1, 5, 10, 0, tzinfo=UTC)
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(clock, "now", lambda: self.now)
        self.patch.setattr(clock, "compare", lambda: None)
        self.alice = User.objects.get(username="alice")
        self.model = Model.objects.get()
        self.conversations: list[Conversation] = []
        self.stations = [Station("one"), Station("two")]
        self.hosts: dict[UUID, Host] = {}
        self.seen: dict[UUID, tuple[str, str]] = {}  # status and text as the database had them last

    def teardown(self) -> None:
        """Let everything come to its end, whatever has happened."""
        try:
            self._see_through()
        finally:
            self.patch.undo()
            for kind in (Conversation, Prediction, Worker, Condition):
                kind.objects.all().delete()  # the next example begins with nothing

    def _see_through(self) -> None:
        self.now += 2 * LEASE
        for host in self.hosts.values():
            host.status = SUCCEEDED if host.status == PROCESSING else host.status
        last = Station("last")
        for _ in range(len(self.hosts) + 1):
            last.claim()
            for prediction in list(last.held.values()):
                self._ask(last, prediction)
                if prediction.pk in last.held:
                    last.hear(prediction, *from_snapshot(self.hosts[prediction.pk].snapshot))
            last.commit()
        self.what_is_kept_is_right()
        for row in Prediction.objects.all():
            assert row.is_terminal
            if row.status == SUCCEEDED:
                assert row.output == self.hosts[row.pk].text

    def _ask(self, station: Station, prediction: Prediction) -> None:
        """The intent first; the create only if that could be written."""
        if prediction.asked_at is None and prediction.pk in station.held:
            prediction.note_asked(at=self.now, asked_for="acme/parrot")
            station.journal.note(prediction)
            station.commit()
            if prediction.pk in station.held:
                self.hosts[prediction.pk].creates += 1
                prediction.note_created(Snapshot("p", PROCESSING))
                station.journal.note(prediction)

    # ------------------------------------------------------------ people

    @rule(number=st.integers(0, CONVERSATIONS - 1))
    def send(self, number: int) -> None:
        if number >= len(self.conversations):
            self.conversations.append(Conversation.begin(self.alice, "Hi", message_id=uuid4(), model=self.model))
        elif not self._is_answering(self.conversations[number]):
            self.conversations[number].ask("And then?", message_id=uuid4(), model=self.model)
        else:
            with pytest.raises(AlreadyAnswering):
                self.conversations[number].ask("And then?", message_id=uuid4(), model=self.model)
        self._meet_new_ones()

    @precondition(lambda self: self.conversations)
    @rule(nth=NTH)
    def answer_again(self, nth: int) -> None:
        conversation = self.conversations[nth % len(self.conversations)]
        answer = conversation.branch()[-1]
        if self._is_answering(conversation):
            with pytest.raises(AlreadyAnswering):
                conversation.answer_again(answer)
        else:
            conversation.answer_again(answer)
        self._meet_new_ones()

    @precondition(lambda self: self.hosts)
    @rule(nth=NTH)
    def stop(self, nth: int) -> None:
        Prediction.objects.get(pk=self._nth(nth)).request_cancel()
        self.hosts[self._nth(nth)].is_stopped = True

    def _nth(self, nth: int) -> UUID:
        """Pick a prediction by its age: their ids are others in each run."""
        return list(self.hosts)[nth % len(self.hosts)]

    def _is_answering(self, conversation: Conversation) -> bool:
        prediction = conversation.branch()[-1].prediction
        return prediction is not None and self.seen[prediction.pk][0] not in TERMINAL

    def _meet_new_ones(self) -> None:
        for key in Prediction.objects.exclude(pk__in=self.hosts).values_list("pk", flat=True):
            self.hosts[key] = Host()

    # ------------------------------------------------------------ the provider

    @precondition(lambda self: self.hosts)
    @rule(nth=NTH, token=st.sampled_from(TOKENS))
    def provider_writes(self, nth: int, token: str) -> None:
        host = self.hosts[self._nth(nth)]
        if host.creates and host.status == PROCESSING:
            host.text += token

    @precondition(lambda self: self.hosts)
    @rule(nth=NTH, status=st.sampled_from(ENDS))
    def provider_ends(self, nth: int, status: str) -> None:
        host = self.hosts[self._nth(nth)]
        if host.creates and host.status == PROCESSING:
            host.status = status

    @precondition(lambda self: self.hosts)
    @rule(nth=NTH, delivery=st.integers(0, 3))
    def webhook_comes(self, nth: int, delivery: int) -> None:
        """In any order and more than once: it makes a worker look, and changes nothing by itself."""
        webhooks.take_in(Prediction.objects.get(pk=self._nth(nth)), f"msg {delivery}", "p")

    # ------------------------------------------------------------ the workers

    @initialize()
    def begin(self) -> None:
        """Most of what can go wrong begins with an answer that is under way."""
        self.send(0)
        self.take_up(0)
        for token in TOKENS[:2]:
            self.provider_writes(0, token)
        self.poll(0, commits=True)

    @rule(number=st.integers(0, 1))
    def claim(self, number: int) -> None:
        self.stations[number].claim()

    @rule(number=st.integers(0, 1))
    def take_up(self, number: int) -> None:
        self.stations[number].claim()
        for prediction in list(self.stations[number].held.values()):
            self._ask(self.stations[number], prediction)

    @rule(number=st.integers(0, 1), places=st.tuples(st.floats(0, 1), st.floats(0, 1)), commits=st.booleans())
    def stream_tells_a_piece(self, number: int, places: tuple[float, float], commits: bool) -> None:
        for prediction in self._asked(number):
            text = self.hosts[prediction.pk].text
            begin, end = sorted(int(place * len(text)) for place in places)
            self.stations[number].hear(prediction, Output(text[begin:end], begin))
        if commits:
            self.stations[number].commit()

    @rule(number=st.integers(0, 1), commits=st.booleans())
    def poll(self, number: int, commits: bool) -> None:
        for prediction in self._asked(number):
            self.stations[number].hear(prediction, *from_snapshot(self.hosts[prediction.pk].snapshot))
        if commits:
            self.stations[number].commit()

    @rule(number=st.integers(0, 1))
    def commit(self, number: int) -> None:
        """Also a zombie's late write: nobody tells a worker that its lease has lapsed."""
        self.stations[number].commit()

    @rule(number=st.integers(0, 1))
    def die(self, number: int) -> None:
        self.stations[number] = Station("another")

    @rule(number=st.integers(0, 1))
    def fall_asleep(self, number: int) -> None:
        """For longer than a lease lasts; the provider goes on, and so does the other worker."""
        self.now += 1.1 * LEASE
        self.take_up(1 - number)
        for nth in range(len(self.hosts)):
            self.provider_writes(nth, TOKENS[nth % len(TOKENS)])
        self.poll(1 - number, commits=True)

    @rule()
    def time_passes(self) -> None:
        self.now += 0.3 * LEASE

    def _asked(self, number: int) -> list[Prediction]:
        return [prediction for prediction in self.stations[number].held.values() if prediction.asked_at is not None]

    # ------------------------------------------------------------ what must hold

    @invariant()
    def what_is_kept_is_right(self) -> None:
        for row in Prediction.objects.all():
            text = row.output if row.is_terminal else stored_text(row.pk)
            status, before = self.seen.get(row.pk, ("", ""))
            self.seen[row.pk] = (row.status, text)
            assert text.startswith(before), "a text shrank"
            assert self.hosts[row.pk].text.startswith(text), "a text that nobody wrote"
            assert self.hosts[row.pk].creates <= 1, "asked twice"
            if status in TERMINAL:
                assert (row.status, text) == (status, before), "an end was overwritten"
            if row.is_terminal:
                host = self.hosts[row.pk]
                assert row.status in {host.status, CANCELED if host.is_stopped else host.status}, row.error
                assert (row.output_end, row.worker_id, row.chunks.count()) == (len(text), None, 0)
            self._check_readers(row, text)

    @staticmethod
    def _check_readers(row: Prediction, text: str) -> None:
        """Whoever has some of it is told the rest, and nothing twice."""
        for after in (0, len(text) // 2):
            frame = read_frame(row.pk, edition=row.edition, after=after)
            assert (frame.edition, frame.offset, frame.end, frame.text) == (row.edition, after, len(text), text[after:])


@pytest.mark.django_db(transaction=True)
def test_a_life_in_any_order_loses_nothing_and_ends_once(alice: User, model: Model) -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=80,
            stateful_step_count=30,
            deadline=None,
            database=None,
            phases=[Phase.generate],  # thirty steps can be read as they are, and to shorten them takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )
