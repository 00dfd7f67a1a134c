"""How people name a model at Replicate."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.references import PAGES, Reference, ReferenceNotUnderstood, parse

HASH = "39ed52f2a78e934b3ba6e2a89f5b1c712de7dfea535525255b1aa35c5565e08b"
MODEL = Reference("acme", "chat")
VERSION = Reference("acme", "chat", HASH)
DEPLOYMENT = Reference("acme", "chat", is_deployment=True)

names = st.from_regex(r"[A-Za-z0-9._-]{0,49}[A-Za-z0-9_-][A-Za-z0-9._-]{0,50}", fullmatch=True)
hashes = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
# Nobody has the name of one of Replicate's own pages, or of its site.
owners = names.filter(lambda name: name.lower() not in PAGES and not name.lower().endswith("replicate.com"))
references = st.one_of(
    st.builds(Reference, owners, names, hashes | st.just("")),
    st.builds(Reference, version=hashes),
    st.builds(Reference, names, names, is_deployment=st.just(True)),
)
beginnings = st.sampled_from(["", "https://", "replicate.com/", "https://www.replicate.com/", "api.replicate.com/v1/"])
parts = st.sampled_from(
    ["acme", "chat", HASH, f"chat:{HASH}", "deployments", "models", "versions", "replicate.com", ".."]
)
almost_references = st.tuples(beginnings, st.lists(parts, min_size=1, max_size=5).map("/".join)).map("".join)


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("acme/chat", MODEL),
        ("  acme/chat \n", MODEL),
        ("acme/chat/", MODEL),
        ("Acme-Inc/chat_7b.v1-2", Reference("Acme-Inc", "chat_7b.v1-2")),
        (f"acme/chat:{HASH}", VERSION),
        (f"acme/chat:{HASH.upper()}", VERSION),
        (HASH, Reference(version=HASH)),
        (HASH.upper(), Reference(version=HASH)),
        ("deployments/acme/chat", DEPLOYMENT),
        ("https://replicate.com/acme/chat", MODEL),
        ("http://replicate.com/acme/chat", MODEL),
        ("HTTPS://Replicate.com/acme/chat", MODEL),
        ("https://www.replicate.com/acme/chat/", MODEL),
        ("replicate.com/acme/chat", MODEL),
        ("www.replicate.com/acme/chat", MODEL),
        ("https://replicate.com/acme/chat?prediction=x&output=json", MODEL),
        ("https://replicate.com/acme/chat#readme", MODEL),
        ("https://replicate.com/acme/chat/api/learn-more", MODEL),
        ("https://replicate.com/acme/chat/playground", MODEL),
        ("https://replicate.com/acme/chat/readme", MODEL),
        ("https://replicate.com/acme/chat/examples#x", MODEL),
        ("https://replicate.com/acme/chat/versions", MODEL),
        (f"https://replicate.com/acme/chat/versions/{HASH}", VERSION),
        (f"https://replicate.com/acme/chat/versions/{HASH.upper()}/api?tab=http", VERSION),
        (f"https://replicate.com/acme/chat:{HASH}", VERSION),
        ("https://replicate.com/deployments/acme/chat", DEPLOYMENT),
        ("replicate.com/deployments/acme/chat/settings", DEPLOYMENT),
        ("https://api.replicate.com/v1/models/acme/chat", MODEL),
        ("https://api.replicate.com/v1/models/acme/chat/predictions", MODEL),
        (f"https://api.replicate.com/v1/models/acme/chat/versions/{HASH}", VERSION),
        ("https://api.replicate.com/v1/deployments/acme/chat", DEPLOYMENT),
        ("https://api.replicate.com/v1/deployments/acme/chat/predictions", DEPLOYMENT),
    ],
)
def test_a_model_is_understood_however_it_is_named(text: str, reference: Reference) -> None:
    assert parse(text) == reference


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "No model is named"),
        ("  \n", "No model is named"),
        ("acme/chat:latest", "Replicate takes the latest version when none is named: write acme/chat."),
        ("acme/chat:Latest", "write acme/chat."),
        ("https://replicate.com/acme/chat/versions/latest", "write acme/chat."),
        (f"acme/chat:{HASH[:12]}", "all of its 64 hexadecimal digits"),
        (f"acme/chat:{HASH}0", "all of its 64 hexadecimal digits"),
        (HASH[:12], "all of its 64 hexadecimal digits"),
        (HASH[:-1], "all of its 64 hexadecimal digits"),
        (f"https://replicate.com/acme/chat/versions/{HASH[:12]}", "all of its 64 hexadecimal digits"),
        ("acme/chat:", "all of its 64 hexadecimal digits"),
        ("acme/chat:v1:2", "all of its 64 hexadecimal digits"),
        ("acme/chat:v1.2", "all of its 64 hexadecimal digits"),
        ("https://example.com/acme/chat", "Only addresses at replicate.com"),
        ("https://replicate.com.example.com/acme/chat", "Only addresses at replicate.com"),
        ("https://replicate.com@example.com/acme/chat", "Only addresses at replicate.com"),
        ("https://notreplicate.com/acme/chat", "Only addresses at replicate.com"),
        ("https://replicate-com/acme/chat", "Only addresses at replicate.com"),
        ("github.com/acme/chat", "Only addresses at replicate.com"),
        ("http://[/acme/chat", "Only addresses at replicate.com"),
        ("acme/chat/large", "3 parts where two are wanted"),
        (f"acme/chat/versions/{HASH}", "4 parts where two are wanted"),
        ("chat", "The owner of the model is missing"),
        (f"chat:{HASH}", "The owner of the model is missing"),
        ("acme /chat", "letters, digits, hyphens, underscores and dots"),
        ("ac\nme/chat", "letters, digits, hyphens, underscores and dots"),
        ("acmé/chat", "letters, digits, hyphens, underscores and dots"),
        ("acme/chat?x=1", "letters, digits, hyphens, underscores and dots"),
        ("acme/..", "letters, digits, hyphens, underscores and dots"),
        ("https://replicate.com/acme/../chat", "letters, digits, hyphens, underscores and dots"),
        ("acme/%2e%2e", "letters, digits, hyphens, underscores and dots"),
        (f"acme/{'x' * 101}", "at most 100 characters"),
        (f"{'x' * 101}/chat", "at most 100 characters"),
        ("deployments/acme/ch@t", "letters, digits, hyphens, underscores and dots"),
        ("https://replicate.com", "no model at this address"),
        ("https://replicate.com/", "no model at this address"),
        ("https://replicate.com/acme", "no model at this address"),
        ("https://replicate.com/explore", "no model at this address"),
        ("https://replicate.com/collections/language-models", "no model at this address"),
        ("https://replicate.com/docs/reference/http", "no model at this address"),
        ("https://replicate.com/replicate.com/chat", "no model at this address"),
        ("https://replicate.com/Docs/reference", "no model at this address"),
        ("https://replicate.com/p/kr2d2jhqbsrj60cjb2vtmekgh4", "no model at this address"),
        ("https://replicate.com/account", "no model at this address"),
        ("https://replicate.com/account/api-tokens", "no model at this address"),
        ("https://replicate.com/deployments", "no model at this address"),
        ("https://replicate.com/deployments/acme", "no model at this address"),
        ("https://api.replicate.com/v1/predictions/kr2d2jhqbsrj60cjb2vtmekgh4", "no model at this address"),
        ("https://api.replicate.com/v1/models", "no model at this address"),
        ("https://api.replicate.com/v1/models/acme", "no model at this address"),
        ("https://api.replicate.com/acme/chat", "no model at this address"),
    ],
)
def test_what_names_no_model_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ReferenceNotUnderstood) as refused:
        parse(text)

    assert why in str(refused.value)
    assert "owner/name" in str(refused.value) or "write acme/chat" in str(refused.value)


def test_a_name_may_have_a_hundred_characters() -> None:
    assert parse(f"{'x' * 100}/{'y' * 100}") == Reference("x" * 100, "y" * 100)


@pytest.mark.parametrize(
    ("reference", "text", "path"),
    [
        (MODEL, "acme/chat", "acme/chat"),
        (VERSION, f"acme/chat:{HASH}", "acme/chat"),
        (Reference(version=HASH), HASH, ""),
        (DEPLOYMENT, "deployments/acme/chat", "acme/chat"),
    ],
)
def test_a_reference_is_written_in_one_way(reference: Reference, text: str, path: str) -> None:
    assert str(reference) == text
    assert reference.path == path


@given(references)
def test_what_is_written_is_understood_again(reference: Reference) -> None:
    assert parse(str(reference)) == reference


@given(st.text() | almost_references)
def test_any_text_is_refused_or_can_be_written_and_understood_again(text: str) -> None:
    try:
        reference = parse(text)
    except ReferenceNotUnderstood:
        return

    assert parse(str(reference)) == reference
