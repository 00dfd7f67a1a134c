"""A scripted fake of Replicate's HTTP API, on a loopback port, with a ledger of what was asked of it.

    gate = Gate()
    with FakeReplicate() as fake:
        fake.script(Script(steps=["Hel", gate, "lo"], on_get=[NOT_FOUND]))
        ...                        # point the code under test at fake.url, with fake.token
        gate.wait_reached()        # "Hel" has been said, nothing more
        gate.open()
        [created] = fake.ledger.created

Beside predictions it has the account's catalogue (`fake.catalogue`), files (`fake.files`, `fake.output_file`), webhooks
(`fake.webhook_target`, `fake.webhooks_of`), limits (`fake.throttle`) and troubles (`fake.go_down` and its like).

It behaves as the recorded answers, the official OpenAPI document and the official client say; where none of them tells,
a comment says that it guesses. It is trusted only while the official client accepts it (test_fake_replicate.py).
"""

from .catalogue import (
    COLLECTION,
    DEPLOYMENT,
    OFFICIAL_MODEL,
    VERSIONED_MODEL,
    Account,
    Collection,
    Deployment,
    Model,
    Version,
)
from .fake import FakeReplicate
from .files import StoredFile
from .ledger import Call, Created, Delivery, Ledger, StreamRead, WebhookSent
from .schemas import CHAT_SCHEMA, IMAGE_SCHEMA, TEXT_SCHEMA
from .scripts import (
    BAD_GATEWAY,
    NOT_FOUND,
    SERVICE_UNAVAILABLE,
    Answer,
    Cut,
    Disconnect,
    Event,
    Gate,
    Hang,
    Late,
    Logs,
    Output,
    Raw,
    Script,
    Step,
    WrongLength,
    recorded_errors,
)
from .webhooks import sign

__all__ = [
    "BAD_GATEWAY",
    "CHAT_SCHEMA",
    "COLLECTION",
    "DEPLOYMENT",
    "IMAGE_SCHEMA",
    "NOT_FOUND",
    "OFFICIAL_MODEL",
    "SERVICE_UNAVAILABLE",
    "TEXT_SCHEMA",
    "VERSIONED_MODEL",
    "Account",
    "Answer",
    "Call",
    "Collection",
    "Created",
    "Cut",
    "Delivery",
    "Deployment",
    "Disconnect",
    "Event",
    "FakeReplicate",
    "Gate",
    "Hang",
    "Late",
    "Ledger",
    "Logs",
    "Model",
    "Output",
    "Raw",
    "Script",
    "Step",
    "StoredFile",
    "StreamRead",
    "Version",
    "WebhookSent",
    "WrongLength",
    "recorded_errors",
    "sign",
]
