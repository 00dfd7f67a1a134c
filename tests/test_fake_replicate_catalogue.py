"""The fake's catalogue: what can be found and run, and how an input is checked against it."""

from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from replicate.client import Client
from replicate.exceptions import ReplicateError
from replicate.pagination import paginate

from tests.fake_replicate import (
    COLLECTION,
    DEPLOYMENT,
    IMAGE_SCHEMA,
    NOT_FOUND,
    OFFICIAL_MODEL,
    TEXT_SCHEMA,
    VERSIONED_MODEL,
    Account,
    FakeReplicate,
    Script,
    recorded_errors,
)
from tests.fake_replicate.judges import (
    OPENAPI,
    client_fixture,  # noqa: F401  # fixtures are asked for by their names
    create,
    disagreements,
    finish,
    http_fixture,  # noqa: F401
)


class TestOfficialClient:
    def test_it_reads_every_fact_of_a_model(self, fake: FakeReplicate, client: Client, http: httpx.Client) -> None:
        example = create(http)
        finish(fake, example["id"])
        facts: dict[str, Any] = {
            "description": "Paints",
            "visibility": "private",
            "license_url": "https://example.org/license",
            "cover_image_url": "https://example.org/cover.png",
            "run_count": 4_304_274,
        }
        shown = http.get(f"/predictions/{example['id']}").json()
        fake.catalogue.add_model("acme/painter", default_example=shown, **facts)

        model = client.models.get("acme/painter")

        assert model.dict().items() >= facts.items()
        assert model.default_example is not None
        assert model.default_example.output == ["Hello", ",", " world", "."]

    def test_it_pages_through_the_public_models(self, fake: FakeReplicate, client: Client) -> None:
        fake.page_size = 2
        fake.catalogue.add_model("acme/secret", visibility="private")
        fake.catalogue.add_model("acme/painter")

        pages = [[model.id for model in page] for page in paginate(client.models.list)]

        assert pages == [["acme/painter", VERSIONED_MODEL], [OFFICIAL_MODEL]]

    def test_it_browses_collections(self, fake: FakeReplicate, client: Client) -> None:
        fake.catalogue.add_collection("text-to-image", name="Text to image", description="Models that paint")

        assert [collection.slug for collection in client.collections.list()] == [COLLECTION, "text-to-image"]
        assert [model.id for model in client.collections.get(COLLECTION)] == [OFFICIAL_MODEL, VERSIONED_MODEL]
        with pytest.raises(ReplicateError):
            client.collections.get("nothing")

    def test_it_reads_deployments_and_runs_their_latest_release(self, fake: FakeReplicate, client: Client) -> None:
        parrot = fake.catalogue.models[VERSIONED_MODEL]
        before = client.deployments.get(DEPLOYMENT)

        fake.catalogue.add_deployment(DEPLOYMENT, parrot, parrot.versions[1])
        after = client.deployments.get(DEPLOYMENT)
        prediction = after.predictions.create(input={"prompt": "Hi"})

        releases = [deployment.current_release for deployment in (before, after)]
        assert [(release.number, release.version) for release in releases if release] == [
            (1, parrot.versions[0].id),
            (2, parrot.versions[1].id),
        ]
        assert prediction.version == parrot.versions[1].id
        assert [deployment.id for deployment in client.deployments.list()] == [DEPLOYMENT]
        with pytest.raises(ReplicateError):
            client.deployments.get("acme/nothing")

    def test_it_reads_another_account(self, fake: FakeReplicate, client: Client) -> None:
        fake.account = Account(username="alice", type="user", name="Alice")

        account = client.accounts.current()

        assert (account.username, account.type) == ("alice", "user")


class TestAnswers:
    def test_they_fit_the_document(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.catalogue.add_model("acme/painter", schema=IMAGE_SCHEMA, description="Paints")
        deployments = OPENAPI["paths"]["/deployments"]["get"]["responses"]["200"]["content"]["application/json"]

        for path, schema in {
            "/search?query=script": "schemas_search_response",
            "/collections": "schemas_paginated_collection_response",
            f"/collections/{COLLECTION}": "schemas_collection_response",
            "/deployments": deployments["schema"],
            f"/deployments/{DEPLOYMENT}": "schemas_deployment_response",
            "/models": "schemas_paginated_model_response",
            "/models/acme/painter": "schemas_model_response",
        }.items():
            answer = http.get(path)

            assert answer.status_code == 200, path
            assert disagreements(answer.json(), schema) == set(), path
            assert answer.headers["ratelimit-remaining"] == "2999"

    def test_what_is_not_there_is_not_found(self, http: httpx.Client) -> None:
        for path in [
            "/collections/nothing",
            "/deployments/acme/nothing",
            "/models/acme/nothing/readme",
            f"/models/{VERSIONED_MODEL}/readme",
            f"/models/{VERSIONED_MODEL}/versions/{'0' * 64}",
        ]:
            answer = http.get(path)

            assert (answer.status_code, answer.json()) == (404, NOT_FOUND.body), path

    def test_readme_is_plain_text(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.catalogue.add_model("acme/painter", readme="# Painter\n\nÖl.")

        answer = http.get("/models/acme/painter/readme")

        assert answer.text == "# Painter\n\nÖl."
        assert answer.headers["content-type"].startswith("text/plain")

    def test_every_list_has_pages(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.page_size = 1
        fake.catalogue.add_collection("text-to-image", name="Text to image", description="Models that paint")
        parrot = fake.catalogue.models[VERSIONED_MODEL]
        fake.catalogue.add_deployment("acme/second", parrot, parrot.versions[0])
        lists = {
            "/collections": [COLLECTION, "text-to-image"],
            "/deployments": ["second", "support"],
            "/models": ["parrot", OFFICIAL_MODEL.partition("/")[2]],
            f"/models/{VERSIONED_MODEL}/versions": [version.id for version in reversed(parrot.versions)],
        }

        for path, expected in lists.items():
            first = http.get(path).json()
            second = http.get(first["next"]).json()

            [one], [two] = first["results"], second["results"]
            assert [row.get("slug") or row.get("name") or row["id"] for row in (one, two)] == expected
            assert second["next"] is None

    def test_a_version_may_vanish(self, fake: FakeReplicate, http: httpx.Client) -> None:
        old, new = fake.catalogue.models[VERSIONED_MODEL].versions

        fake.catalogue.remove_version(VERSIONED_MODEL, new.id)

        assert http.get(f"/models/{VERSIONED_MODEL}/versions/{new.id}").status_code == 404
        assert http.get(f"/models/{VERSIONED_MODEL}").json()["latest_version"]["id"] == old.id
        refused = http.post("/predictions", json={"version": new.id, "input": {"prompt": "Hi"}})
        assert (refused.status_code, refused.json()) == (422, recorded_errors(422)[0].body)
        assert fake.catalogue.models[VERSIONED_MODEL].add_version().id not in (old.id, new.id)

    def test_an_official_model_that_lists_no_versions_cannot_be_pinned(self, http: httpx.Client) -> None:
        latest = http.get(f"/models/{OFFICIAL_MODEL}").json()["latest_version"]["id"]

        for version in (latest, f"{OFFICIAL_MODEL}:{latest}"):
            answer = http.post("/predictions", json={"version": version, "input": {"prompt": "Hi"}})

            assert (answer.status_code, answer.json()) == (422, recorded_errors(422)[0].body)

    def test_an_official_model_may_list_its_versions_and_be_pinned(
        self, fake: FakeReplicate, http: httpx.Client
    ) -> None:
        fake.catalogue.add_model("acme/painter", is_official=True, lists_versions=True)
        [version] = http.get("/models/acme/painter/versions").json()["results"]

        pinned = http.post("/predictions", json={"version": f"acme/painter:{version['id']}", "input": {"prompt": "Hi"}})

        assert pinned.json()["version"] == version["id"]
        assert create(http, "acme/painter")["version"] == version["id"]


class TestSearch:
    def test_it_finds_public_models_and_collections_by_their_words(
        self, fake: FakeReplicate, http: httpx.Client
    ) -> None:
        fake.catalogue.add_model("acme/painter", description="Paints models of ships")
        fake.catalogue.add_model("acme/secret", description="Paints", visibility="private")

        def found(query: str) -> tuple[list[str], list[str]]:
            answer = http.get("/search", params={"query": query}).json()
            assert answer["query"] == query
            return (
                [row["model"]["name"] for row in answer["models"]],
                [collection["slug"] for collection in answer["collections"]],
            )

        assert found("PAINTS ships") == (["painter"], [])
        assert found("acme") == (["painter", "parrot"], [])
        assert found("models") == (["painter"], [COLLECTION])
        assert found("nothing like it") == ([], [])

    def test_limit_is_kept(self, fake: FakeReplicate, http: httpx.Client) -> None:
        for number in range(60):
            fake.catalogue.add_model(f"acme/painter-{number}")

        sizes = [
            len(http.get("/search", params={"query": "painter"} | limit).json()["models"])
            for limit in ({}, {"limit": "1"}, {"limit": "50"})
        ]

        assert sizes == [20, 1, 50]

    @pytest.mark.parametrize("query", ["", "limit=5", "query=a&limit=0", "query=a&limit=51", "query=a&limit=many"])
    def test_wrong_searches_are_refused(self, http: httpx.Client, query: str) -> None:
        answer = http.get(f"/search?{query}")

        assert answer.status_code == 400
        assert answer.json().keys() == {"detail"}


class TestInputs:
    """What a create may give its model."""

    def test_the_refusal_names_the_parameter(self, http: httpx.Client) -> None:
        answer = self.refused(http, OFFICIAL_MODEL, {"prompt": "Hi", "max_tokens": 5000})

        assert answer == {
            "detail": "- input.max_tokens: Must be less than or equal to 4096\n",
            "status": 422,
            "title": "Input validation failed",
            "invalid_fields": [
                {
                    "type": "number_lte",
                    "field": "input.max_tokens",
                    "description": "Must be less than or equal to 4096",
                }
            ],
        }

    @pytest.mark.parametrize(
        ("given", "kind"),
        [
            ({"num_outputs": 0}, "number_gte"),
            ({"num_outputs": 5}, "number_lte"),
            ({"num_outputs": "1"}, "invalid_type"),
            ({"num_outputs": 1.5}, "invalid_type"),
            ({"num_outputs": True}, "invalid_type"),
            ({"seed": None}, "invalid_type"),
            ({"prompt": ["A dog"]}, "invalid_type"),
            ({"aspect_ratio": "2:1"}, "enum"),
            ({"aspect_ratio": 1}, "invalid_type"),
            ({"image": "cat.png"}, "format"),
            ({"image": "https://["}, "format"),
        ],
    )
    def test_each_kind_of_mistake_is_told(
        self, fake: FakeReplicate, http: httpx.Client, given: Mapping[str, Any], kind: str
    ) -> None:
        fake.catalogue.add_model("acme/painter", is_official=True, schema=IMAGE_SCHEMA)

        answer = self.refused(http, "acme/painter", {"prompt": "A dog", **given})

        [name] = given
        assert [(flaw["type"], flaw["field"]) for flaw in answer["invalid_fields"]] == [(kind, f"input.{name}")]
        assert fake.ledger.created == []

    def test_all_mistakes_are_told_at_once(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.catalogue.add_model("acme/painter", is_official=True, schema=IMAGE_SCHEMA)

        answer = self.refused(http, "acme/painter", {"num_outputs": 9, "aspect_ratio": "2:1"})

        assert answer["detail"] == (
            "- input: prompt is required\n"
            '- input.aspect_ratio: input.aspect_ratio must be one of the following: "1:1", "16:9", "9:16"\n'
            "- input.num_outputs: Must be less than or equal to 4\n"
        )

    @pytest.mark.parametrize(
        ("image", "number"), [("https://example.org/cat.png", 1), ("data:image/png;base64,AAAA", 4.0)]
    )
    def test_what_is_right_or_unknown_passes(
        self, fake: FakeReplicate, http: httpx.Client, image: str, number: float
    ) -> None:
        fake.catalogue.add_model("acme/painter", is_official=True, schema=IMAGE_SCHEMA)
        given = {"prompt": "", "num_outputs": number, "aspect_ratio": "9:16", "image": image, "style": "oil"}

        answer = http.post("/models/acme/painter/predictions", json={"input": given})

        assert (answer.status_code, answer.json()["input"]) == (201, given)

    def test_every_door_of_a_create_checks(self, fake: FakeReplicate, http: httpx.Client) -> None:
        id = fake.catalogue.models[VERSIONED_MODEL].versions[0].id
        body = {"input": {"prompt": 1}}

        answers = [
            http.post("/predictions", json=body | {"version": id}),
            http.post(f"/deployments/{DEPLOYMENT}/predictions", json=body),
        ]

        assert [answer.status_code for answer in answers] == [422, 422]

    def test_a_model_without_a_description_takes_anything(self, fake: FakeReplicate, http: httpx.Client) -> None:
        fake.catalogue.add_model("acme/mystery", is_official=True, schema={})

        assert http.post("/models/acme/mystery/predictions", json={"input": {"x": None}}).status_code == 201

    def test_a_text_may_come_at_the_end_alone(self, fake: FakeReplicate, client: Client) -> None:
        fake.catalogue.add_model("acme/poet", is_official=True, schema=TEXT_SCHEMA)
        fake.script(Script(chunks=[], output="Roses are red", stream=False))

        assert client.run("acme/poet", input={"prompt": "Hi"}) == "Roses are red"

    def refused(self, http: httpx.Client, model: str, given: Mapping[str, Any]) -> Any:
        answer = http.post(f"/models/{model}/predictions", json={"input": given})
        assert answer.status_code == 422
        return answer.json()
