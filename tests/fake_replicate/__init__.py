"""A scripted fake of Replicate's HTTP API, on a loopback port, with a ledger of what was asked of it.

    gate = Gate()
    with FakeReplicate() as fake:
        fake.script(Script(steps=["Hel", gate, "lo"], on_get=[NOT_FOUND]))
        ...                        # point the code under test at fake.url, with fake.token
        gate.wait_reached()        # "Hel" has been said, nothing more
        gate.open()
        [created] = fake.ledger.created

It behaves as the recorded answers, the official OpenAPI document and the official client say; where none of them tells,
a comment says that it guesses. It is trusted only while the official client accepts it (test_fake_replicate.py).
"""

from .catalogue import CHAT_SCHEMA, DEPLOYMENT, OFFICIAL_MODEL, VERSIONED_MODEL, Model, Version
from .fake import FakeReplicate
from .ledger import Call, Created, Ledger, StreamRead
from .scripts import (
    BAD_GATEWAY,
    NOT_FOUND,
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
    recorded_errors,
)

__all__ = [
    "BAD_GATEWAY",
    "CHAT_SCHEMA",
    "DEPLOYMENT",
    "NOT_FOUND",
    "OFFICIAL_MODEL",
    "VERSIONED_MODEL",
    "Answer",
    "Call",
    "Created",
    "Cut",
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
    "StreamRead",
    "Version",
    "recorded_errors",
]
