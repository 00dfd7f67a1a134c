"""The fake's webhooks: what is due, how it is signed, and how it is sent."""

import json
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.webhook import InvalidSignatureError, Webhooks, WebhookSigningSecret

from tests.fake_replicate import (
    OFFICIAL_MODEL,
    FakeReplicate,
    Gate,
    Late,
    Logs,
    Script,
    WebhookSent,
    sign,
)
from tests.fake_replicate.judges import (
    OPENAPI,
    PATIENCE,
    RECORDINGS,
    client_fixture,  # noqa: F401  # fixtures are asked for by their names
    disagreements,
    finish,
    http_fixture,  # noqa: F401
    open_client,
)
from tests.fake_replicate.server import LoopbackServer, Message, Receive, Send

ADDRESS = "https://chat.example.org/hooks/replicate?m=41"
VECTOR = json.loads((RECORDINGS / "webhook-test-vectors.json").read_text())


class Receiver(LoopbackServer):
    """Somebody who is told: keeps what came, and answers in the order given, then 204."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        self.answers: deque[tuple[int, dict[str, str]] | Gate] = deque()  # a gate: nothing before it opens

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> None:
        request = await receive()
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        self.came.append((f"{scope['path']}?{scope['query_string'].decode()}", headers, request["body"]))
        answer = self.answers.popleft() if self.answers else (204, {})
        if isinstance(answer, Gate):
            await answer.wait_open()
            answer = (204, {})
        status, answered = answer
        raw = [(name.encode(), value.encode()) for name, value in answered.items()]
        await send({"type": "http.response.start", "status": status, "headers": raw})
        await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def ask(http: httpx.Client, **told: Any) -> str:
    answer = http.post(f"/models/{OFFICIAL_MODEL}/predictions", json={"input": {"prompt": "Hi"}, **told})
    assert answer.status_code == 201, answer.text
    id: str = answer.json()["id"]
    return id


def events_of(fake: FakeReplicate, prediction_id: str) -> list[str]:
    finish(fake, prediction_id)
    return [delivery.event for delivery in fake.webhooks_of(prediction_id)]


def wait_sent(fake: FakeReplicate, count: int) -> list[WebhookSent]:
    fake.ledger.wait_for(lambda ledger: len(ledger.webhooks) == count)
    return fake.ledger.webhooks


class TestOfficialClient:
    def test_it_accepts_what_is_due_and_what_is_sent(
        self, fake: FakeReplicate, client: Client, receiver: Receiver
    ) -> None:
        fake.webhook_target = receiver.origin
        prediction = client.predictions.create(
            model=OFFICIAL_MODEL,
            input={"prompt": "Hi"},
            webhook=ADDRESS,
            webhook_events_filter=["start", "completed"],
        )
        wait_sent(fake, 2)

        secret = client.webhooks.default.secret()

        for delivery in fake.webhooks_of(prediction.id):
            Webhooks.validate(headers=dict(delivery.headers), body=delivery.body.decode(), secret=secret, tolerance=300)
        for _, headers, body in receiver.came:
            Webhooks.validate(headers=headers, body=body.decode(), secret=secret, tolerance=300)

    def test_it_accepts_both_secrets_while_they_overlap(self, fake: FakeReplicate, client: Client) -> None:
        secrets = [client.webhooks.default.secret()]
        for overlap in (True, False):
            fake.rotate_secret(overlap=overlap)
            secrets.append(client.webhooks.default.secret())
            prediction = client.predictions.create(model=OFFICIAL_MODEL, input={"prompt": "Hi"}, webhook=ADDRESS)
            finish(fake, prediction.id)
            delivery = fake.webhooks_of(prediction.id)[-1]

            assert accepted_by(secrets, dict(delivery.headers), delivery.body) == (
                [True, True] if overlap else [False, False, True]
            )
        assert len({secret.key for secret in secrets}) == 3
        assert fake.webhook_secret == secrets[-1].key

    def test_secret_has_the_documented_form(self, http: httpx.Client) -> None:
        answer = http.get("/webhooks/default/secret")

        operation = OPENAPI["paths"]["/webhooks/default/secret"]["get"]
        assert (
            disagreements(answer.json(), operation["responses"]["200"]["content"]["application/json"]["schema"])
            == set()
        )
        assert answer.json()["key"].startswith("whsec_")
        assert http.get("/webhooks/default/secret", headers={"authorization": ""}).status_code == 401


def accepted_by(secrets: list[WebhookSigningSecret], headers: dict[str, str], body: bytes) -> list[bool]:
    accepted = []
    for secret in secrets:
        try:
            Webhooks.validate(headers=headers, body=body.decode(), secret=secret)
        except InvalidSignatureError:
            accepted.append(False)
        else:
            accepted.append(True)
    return accepted


def test_signature_is_that_of_the_shared_vector() -> None:
    signed = sign(
        VECTOR["body"].encode(),
        secret=VECTOR["secret"],
        webhook_id=VECTOR["webhook-id"],
        timestamp=VECTOR["webhook-timestamp"],
    )

    assert signed == {name: VECTOR[name] for name in ("webhook-id", "webhook-timestamp", "webhook-signature")}


class TestDue:
    def test_each_event_is_due_with_the_prediction_as_get_shows_it(
        self, fake: FakeReplicate, http: httpx.Client
    ) -> None:
        fake.webhook_interval = 0
        fake.script(Script(steps=["Hel", Logs("50%\n"), "lo"], logs="loading\n"))

        id = ask(http, webhook=ADDRESS)

        assert events_of(fake, id) == ["start", "logs", "output", "logs", "output", "completed"]
        bodies = [delivery.json() for delivery in fake.webhooks_of(id)]
        for body in bodies:
            assert disagreements(body, "schemas_prediction_response") == set()
        assert [body["status"] for body in bodies] == ["processing"] * 5 + ["succeeded"]
        assert [body["output"] for body in bodies] == [None, None, ["Hel"], ["Hel"], ["Hel", "lo"], ["Hel", "lo"]]
        assert bodies[-1] == http.get(f"/predictions/{id}").json()
        assert len({delivery.webhook_id for delivery in fake.webhooks_of(id)}) == len(bodies)

    def test_output_and_logs_are_throttled_start_and_end_are_not(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.webhook_interval = 60
        fake.script(Script(chunks=["a", "b", "c"]))

        assert events_of(fake, ask(http, webhook=ADDRESS)) == ["start", "output", "completed"]

    def test_only_what_was_asked_for_is_due(self, fake: FakeReplicate, http: httpx.Client) -> None:
        assert events_of(fake, ask(http)) == []
        assert events_of(fake, ask(http, webhook_events_filter=["start"])) == []
        assert events_of(fake, ask(http, webhook=ADDRESS, webhook_events_filter=["completed"])) == ["completed"]

    @pytest.mark.parametrize("status", ["failed", "canceled", "aborted"])
    def test_every_end_is_completed(self, fake: FakeReplicate, http: httpx.Client, status: str) -> None:
        fake.script(Script(chunks=[], status=status, error="out of memory" if status == "failed" else None))

        id = ask(http, webhook=ADDRESS)

        assert events_of(fake, id) == (["completed"] if status == "aborted" else ["start", "completed"])
        assert fake.webhooks_of(id)[-1].json()["status"] == status

    def test_a_cancel_from_outside_is_completed(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.script(Script(steps=[gate := Gate()]))
        id = ask(http, webhook=ADDRESS)
        gate.wait_reached()

        http.post(f"/predictions/{id}/cancel")

        assert events_of(fake, id) == ["start", "completed"]

    @pytest.mark.parametrize(
        ("told", "field"),
        [
            ({"webhook": "http://chat.example.org/"}, "webhook"),
            ({"webhook": "https:///hooks"}, "webhook"),
            ({"webhook": "https://["}, "webhook"),
            ({"webhook": 1}, "webhook"),
            ({"webhook": ADDRESS, "webhook_events_filter": ["start", "end"]}, "webhook_events_filter.1"),
            ({"webhook": ADDRESS, "webhook_events_filter": "start"}, "webhook_events_filter"),
        ],
    )
    def test_wrong_wishes_are_refused(
        self, fake: FakeReplicate, http: httpx.Client, told: dict[str, Any], field: str
    ) -> None:
        answer = http.post(f"/models/{OFFICIAL_MODEL}/predictions", json={"input": {"prompt": "Hi"}, **told})

        assert answer.status_code == 422
        [flaw] = answer.json()["invalid_fields"]
        assert flaw["field"] == field
        assert answer.json()["detail"] == f"- {field}: {flaw['description']}\n"
        assert fake.ledger.created == []

    def test_answers_repeat_the_wish_only_where_the_script_says_so(
        self, fake: FakeReplicate, http: httpx.Client
    ) -> None:
        fake.script(Script(), Script(echo_webhook=True))
        told = {"webhook": ADDRESS, "webhook_events_filter": ["completed"]}

        shown = [http.get(f"/predictions/{ask(http, **told)}").json() for _ in range(2)]

        assert not told.keys() & shown[0].keys()
        assert told.items() <= shown[1].items()


class TestSending:
    def test_it_comes_to_the_target_under_the_path_asked_for(
        self, fake: FakeReplicate, http: httpx.Client, receiver: Receiver
    ) -> None:
        fake.webhook_target = receiver.origin

        id = ask(http, webhook=ADDRESS, webhook_events_filter=["completed"])

        [sent] = fake.ledger.wait_for(lambda ledger: ledger.webhooks)
        assert (sent.delivery, sent.status) == (fake.webhooks_of(id)[0], 204)
        [(address, headers, body)] = receiver.came
        assert address == "/hooks/replicate?m=41"
        assert headers["content-type"] == "application/json"
        assert body == sent.delivery.body

    def test_the_last_word_is_repeated_until_it_is_taken(
        self, fake: FakeReplicate, http: httpx.Client, receiver: Receiver
    ) -> None:
        fake.webhook_target = receiver.origin
        fake.webhook_retries = (0, 0, 0, 0)
        receiver.answers.extend([(503, {}), (404, {}), (302, {"location": f"{receiver.origin}/elsewhere"})])

        ask(http, webhook=ADDRESS, webhook_events_filter=["completed"])

        sent = wait_sent(fake, 4)
        assert [try_.status for try_ in sent] == [503, 404, 302, 204]
        assert len({headers["webhook-id"] for _, headers, _ in receiver.came}) == 1
        assert {address for address, _, _ in receiver.came} == {"/hooks/replicate?m=41"}

    def test_other_news_are_sent_once_whatever_becomes_of_them(
        self, fake: FakeReplicate, http: httpx.Client, receiver: Receiver
    ) -> None:
        fake.webhook_target = receiver.origin
        fake.webhook_retries = (0, 0)
        receiver.answers.append((500, {}))
        fake.script(Script(steps=[gate := Gate()]))

        ask(http, webhook=ADDRESS, webhook_events_filter=["start", "completed"])
        fake.ledger.wait_for(lambda ledger: ledger.webhooks)
        gate.open()

        sent = wait_sent(fake, 2)
        assert [(try_.delivery.event, try_.status) for try_ in sent] == [("start", 500), ("completed", 204)]

    def test_nobody_at_home_is_tried_again_and_given_up(
        self, fake: FakeReplicate, http: httpx.Client, receiver: Receiver
    ) -> None:
        receiver.refuse()
        fake.webhook_target = receiver.origin
        fake.webhook_retries = (0, gate := Gate())

        ask(http, webhook=ADDRESS, webhook_events_filter=["completed"])
        gate.wait_reached()
        fake.rotate_secret(overlap=False)
        gate.open()

        sent = wait_sent(fake, 3)
        assert [try_.status for try_ in sent] == [None] * 3
        signatures = [try_.headers["webhook-signature"] for try_ in sent]
        assert signatures[1] != signatures[2]

    def test_what_is_held_is_left_to_the_test(
        self, fake: FakeReplicate, http: httpx.Client, receiver: Receiver
    ) -> None:
        fake.webhook_target = receiver.origin
        fake.script(Script(webhooks="held"), Script())

        held = ask(http, webhook=ADDRESS)
        assert events_of(fake, held) == ["start", "output", "completed"]
        sent = ask(http, webhook=ADDRESS, webhook_events_filter=["completed"])

        fake.ledger.wait_for(lambda ledger: ledger.webhooks)
        assert [try_.delivery.prediction_id for try_ in fake.ledger.webhooks] == [sent]

    def test_without_a_target_nothing_is_sent(self, fake: FakeReplicate, http: httpx.Client) -> None:
        assert events_of(fake, ask(http, webhook=ADDRESS)) == ["start", "output", "completed"]
        assert fake.ledger.webhooks == []

    def test_start_may_come_before_the_answer_of_the_create(
        self, fake: FakeReplicate, http: httpx.Client, receiver: Receiver
    ) -> None:
        fake.webhook_target = receiver.origin
        gate = Gate()
        fake.script(Script(on_create=Late(gate)))
        answered: list[str] = []
        asking = threading.Thread(target=lambda: answered.append(ask(http, webhook=ADDRESS)))
        asking.start()

        fake.ledger.wait_for(lambda ledger: "start" in [try_.delivery.event for try_ in ledger.webhooks])
        assert answered == []
        gate.open()
        asking.join(PATIENCE)

        assert answered == [json.loads(receiver.came[0][2])["id"]]

    def test_what_is_on_its_way_ends_with_the_fake(self, receiver: Receiver) -> None:
        receiver.answers.append(gate := Gate())
        with FakeReplicate() as fake, open_client(fake) as http:
            fake.webhook_target = receiver.origin
            ask(http, webhook=ADDRESS, webhook_events_filter=["completed"])
            gate.wait_reached()

        assert fake.ledger.webhooks == []
