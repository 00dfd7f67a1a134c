"""The doors of the account and of what it can run."""

from typing import Any
from urllib.parse import parse_qsl

from .catalogue import Account, Catalogue, Model
from .front import Front
from .ledger import Call
from .replies import Refused, Reply, json_reply
from .scripts import NOT_FOUND, Answer

SEARCH_DEFAULT = 20  # models found; this and the next as documented
SEARCH_MOST = 50

CATALOGUE_DOORS = (
    ("GET", r"/v1/account", "account", "_account"),
    ("GET", r"/v1/search", "search", "_search"),
    ("GET", r"/v1/collections", "collections", "_collections"),
    ("GET", r"/v1/collections/(?P<slug>[^/]+)", "collection", "_collection"),
    ("GET", r"/v1/deployments", "deployments", "_deployments"),
    ("GET", r"/v1/deployments/(?P<ref>[^/]+/[^/]+)", "deployment", "_deployment"),
    ("GET", r"/v1/models", "models", "_models"),
    ("GET", r"/v1/models/(?P<ref>[^/]+/[^/]+)", "model", "_model"),
    ("GET", r"/v1/models/(?P<ref>[^/]+/[^/]+)/readme", "readme", "_readme"),
    ("GET", r"/v1/models/(?P<ref>[^/]+/[^/]+)/versions", "versions", "_versions"),
    ("GET", r"/v1/models/(?P<ref>[^/]+/[^/]+)/versions/(?P<version_id>[^/]+)", "version", "_version"),
)


class CatalogueDoors(Front):
    def __init__(self, *, token: str) -> None:
        super().__init__(token=token)
        self.account = Account()
        self.catalogue = Catalogue.with_examples()

    async def _account(self, call: Call) -> Reply:
        return json_reply(200, self.account.as_json())

    async def _search(self, call: Call) -> Reply:
        query = dict(parse_qsl(call.query))
        if "query" not in query:
            raise _bad_search('Query parameter "query" is required')
        limit = query.get("limit", str(SEARCH_DEFAULT))
        if not limit.isdecimal() or not 1 <= int(limit) <= SEARCH_MOST:
            raise _bad_search(f'Query parameter "limit" must be between 1 and {SEARCH_MOST}')  # a guess
        found = {
            "query": query["query"],
            "models": [_as_found(model) for model in self.catalogue.search(query["query"])[: int(limit)]],
            "collections": [collection.as_found() for collection in self.catalogue.search_collections(query["query"])],
            "pages": [],
        }
        return json_reply(200, found)

    async def _collections(self, call: Call) -> Reply:
        return self._page(call, self.catalogue.collections, lambda collection: collection.as_listed())

    async def _collection(self, call: Call, slug: str) -> Reply:
        if slug not in self.catalogue.collections:
            raise Refused(NOT_FOUND)
        return json_reply(200, self.catalogue.collections[slug].as_json())

    async def _deployments(self, call: Call) -> Reply:
        newest_first = dict(reversed(self.catalogue.deployments.items()))
        return self._page(call, newest_first, lambda deployment: deployment.as_json(self.account))

    async def _deployment(self, call: Call, ref: str) -> Reply:
        if ref not in self.catalogue.deployments:
            raise Refused(NOT_FOUND)
        return json_reply(200, self.catalogue.deployments[ref].as_json(self.account))

    async def _models(self, call: Call) -> Reply:
        return self._page(call, {model.ref: model for model in self.catalogue.public()}, lambda model: model.as_json())

    async def _model(self, call: Call, ref: str) -> Reply:
        return json_reply(200, self._find_model(ref).as_json())

    async def _readme(self, call: Call, ref: str) -> Reply:
        readme = self._find_model(ref).readme
        if readme is None:
            raise Refused(NOT_FOUND)
        return Reply(200, readme.encode(), {"content-type": "text/plain; charset=utf-8"}, tells_limits=True)

    async def _versions(self, call: Call, ref: str) -> Reply:
        newest_first = {version.id: version for version in reversed(self._find_listing_model(ref).versions)}
        return self._page(call, newest_first, lambda version: version.as_json())

    async def _version(self, call: Call, ref: str, version_id: str) -> Reply:
        version = self._find_listing_model(ref).version(version_id)
        if version is None:
            raise Refused(NOT_FOUND)
        return json_reply(200, version.as_json())

    def _find_model(self, ref: str) -> Model:
        if ref not in self.catalogue.models:
            raise Refused(NOT_FOUND)
        return self.catalogue.models[ref]

    def _find_listing_model(self, ref: str) -> Model:
        model = self._find_model(ref)
        if not model.lists_versions:
            raise Refused(NOT_FOUND)
        return model


def _as_found(model: Model) -> dict[str, Any]:
    metadata: dict[str, Any] = {"generated_description": model.description, "tags": [], "score": 1.0}
    return {"model": model.as_json(), "metadata": metadata}


def _bad_search(detail: str) -> Refused:
    return Refused(Answer(400, {"detail": detail}))
