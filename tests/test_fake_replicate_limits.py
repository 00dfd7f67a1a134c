"""The fake's refusals of a whole account: too much, too poor, not known, not there."""

from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError

from tests.fake_replicate import OFFICIAL_MODEL, FakeReplicate, Gate, Script, recorded_errors
from tests.fake_replicate.judges import (
    client_fixture,  # noqa: F401  # fixtures are asked for by their names
    create,
    finish,
    http_fixture,  # noqa: F401
    read_stream,
)
from tests.fake_replicate.throttle import Allowance

HOURLY = 1 / 60  # a minute: what is used up does not come back while a test runs
CREATE = f"/models/{OFFICIAL_MODEL}/predictions"
BODY = {"input": {"prompt": "Hi"}}


def limits_of(answer: httpx.Response) -> tuple[int, int]:
    return int(answer.headers["ratelimit-remaining"]), int(answer.headers["ratelimit-reset"])


class TestAllowance:
    def test_it_comes_back_with_time_up_to_its_burst(self) -> None:
        now = 1000.0
        allowance = Allowance(6, 2, clock=lambda: now)
        assert [allowance.take() for _ in range(3)] == [True, True, False]
        assert (allowance.remaining, allowance.reset) == (0, 10)

        now += 8.5
        assert (allowance.take(), allowance.reset) == (False, 2)
        now += 1.5
        assert (allowance.remaining, allowance.take(), allowance.take()) == (1, True, False)
        now += 3600
        assert (allowance.remaining, allowance.reset) == (2, 10)


class TestThrottle:
    def test_creates_beyond_the_burst_are_refused_and_counted(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.throttle(creates_per_minute=HOURLY, burst=2)

        answers = [http.post(CREATE, json=BODY) for _ in range(4)]

        assert [answer.status_code for answer in answers] == [201, 201, 429, 429]
        assert [limits_of(answer)[0] for answer in answers] == [1, 0, 0, 0]
        assert 3500 < limits_of(answers[2])[1] <= 3600
        assert (fake.ledger.throttled, len(fake.ledger.created)) == (2, 2)

    def test_everything_else_has_an_allowance_of_its_own(self, fake: FakeReplicate, http: httpx.Client) -> None:
        stream = create(http)["urls"]["stream"]
        output = fake.output_file(b"a")
        fake.throttle(creates_per_minute=HOURLY, burst=1, reads_per_minute=1)

        statuses = [http.get(path).status_code for path in ("/account", "/predictions", "/files")]

        assert statuses == [200, 429, 429]
        assert create(http)
        assert b"Hello" in read_stream(http, stream)
        assert http.get(output).status_code == 200

    @pytest.mark.parametrize("form", ["body", "header", "sentence", "poor"])
    def test_each_known_form_tells_the_wait_in_its_place(
        self, fake: FakeReplicate, http: httpx.Client, form: Any
    ) -> None:
        fake.throttle(creates_per_minute=HOURLY, burst=0, form=form)

        answer = http.post(CREATE, json=BODY)

        wait = "3600"
        body = answer.json()
        assert answer.status_code == 429
        assert body["detail"].startswith("Request was throttled.")
        assert (body.get("retry_after") == 3600) == (form in ("body", "poor"))
        assert (answer.headers.get("retry-after") == wait) == (form == "header")
        assert (f"~{wait}s" in body["detail"]) == (form != "header")
        assert ("ratelimit-reset" in answer.headers) == (form != "sentence")

    def test_the_poor_account_is_refused_in_the_reported_words(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.throttle(creates_per_minute=12, burst=0, form="poor")

        assert http.post(CREATE, json=BODY).json() == recorded_errors(429)[0].body

    def test_official_client_waits_as_long_as_it_is_told(
        self, fake: FakeReplicate, client: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        waited: list[float] = []

        def wait(seconds: float) -> None:
            waited.append(seconds)
            fake.throttle()

        monkeypatch.setattr("replicate.client.time.sleep", wait)
        fake.throttle(reads_per_minute=0.5, form="header")

        assert client.accounts.current().username == "acme"
        assert waited == [60]
        assert fake.ledger.throttled == 1


class TestTrouble:
    def test_the_token_may_be_refused_for_a_while(self, fake: FakeReplicate, client: Client) -> None:
        fake.refuse_token()
        for ask in (client.accounts.current, client.files.list, lambda: client.run(OFFICIAL_MODEL, BODY["input"])):
            with pytest.raises(ReplicateError, match="valid authentication token"):
                ask()
        fake.accept_token()

        assert client.accounts.current().username == "acme"
        assert fake.ledger.created == []

    def test_the_service_may_go_down_while_predictions_and_streams_go_on(
        self, fake: FakeReplicate, http: httpx.Client
    ) -> None:
        fake.script(Script(steps=["Hel", gate := Gate(), "lo"]))
        created = create(http)
        gate.wait_reached()
        fake.go_down()
        gate.open()

        for path in (created["urls"]["get"], "/account", "/nothing", fake.output_file(b"a")):
            answer = http.get(path)
            assert (answer.status_code, answer.headers["content-type"]) == (503, "text/html; charset=UTF-8")
        assert http.post(CREATE, json=BODY).status_code == 503
        assert b"data: lo\n" in read_stream(http, created["urls"]["stream"])
        finish(fake, created["id"])
        fake.come_back()

        assert http.get(created["urls"]["get"]).json()["output"] == ["Hel", "lo"]
        assert len(fake.ledger.created) == 1

    def test_credit_may_run_out(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.run_out_of_credit()
        refused = http.post(CREATE, json=BODY)
        account = http.get("/account")
        fake.pay()

        assert (refused.status_code, refused.json()) == (402, recorded_errors(402)[0].body)
        assert account.status_code == 200
        assert create(http)
        assert len(fake.ledger.created) == 1
