"""What is known of a model beside its schema: by its name, by its inputs' names, and by what an admin says."""

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from predictions.families import (
    FAMILIES,
    ROLES,
    TEMPLATES,
    Family,
    OverrideNotUnderstood,
    family_of,
    fill,
    merged,
)
from predictions.prices import Price
from predictions.schema import Input, inputs_of

RECORDED = Path(__file__).parent / "data/schemas"
BUNDLED = Path(__file__).parent.parent / "models"
TEXT = {"type": "string"}
NUMBER = {"type": "number"}
LIST = {"type": "array"}
FILE = {"type": "string", "format": "uri"}
FILES = {"type": "array", "items": FILE}
BARE = {"prompt": TEXT, "temperature": NUMBER}

names = st.sampled_from([name for role in ROLES.values() for name in role.names] + ["prompt_template", "caption"])
schemas = st.dictionaries(
    names, st.sampled_from([TEXT, NUMBER, LIST, FILE, FILES, {}, {"type": "string", "default": "{prompt}"}])
)
refs = st.sampled_from([re.sub(r"\[(.).*?\]", r"\1", pattern) for pattern, _ in FAMILIES]) | st.text(max_size=30)
texts = st.none() | st.text(max_size=10)
overrides = st.builds(
    Family,
    **dict.fromkeys(("name", *ROLES), texts),
    prompt_template=st.sampled_from([None, "", *TEMPLATES.values()]),
    context_length=st.none() | st.integers(1, 100_000_000),
    price=st.none() | st.builds(Price, per_run=st.none() | st.decimals(0, 10_000, places=12)),
)
odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["prompt", "prompt_template", "context_length", "price", "x"]), inner)
    ),
)


def inputs(**properties: Any) -> dict[str, Input]:
    return inputs_of({"components": {"schemas": {"Input": {"properties": properties}}}})


def recorded(path: Path) -> dict[str, Input]:
    return inputs_of(json.loads(path.read_text()))


def named(family: Family) -> dict[str, str]:
    """The inputs that a family names, by role."""
    return {role: name for role in ROLES if (name := getattr(family, role))}


# By the model's name


@pytest.mark.parametrize(
    ("ref", "name", "context_length"),
    [
        ("meta/llama-2-70b-chat", "Llama 2", 4_096),
        ("meta/llama-2-7b", "Llama 2", 4_096),
        ("meta/meta-llama-3-70b-instruct", "Llama 3", 8_192),
        ("meta/meta-llama-3-8b", "Llama 3", 8_192),
        ("meta/meta-llama-3.1-405b-instruct", "Llama 3", 131_072),
        ("meta/llama-4-maverick-instruct", "Llama 4", None),
        ("mistralai/mistral-7b-instruct-v0.2", "Mistral", 32_768),
        ("mistralai/mixtral-8x7b-instruct-v0.1", "Mistral", 32_768),
        ("mistralai/mistral-7b-instruct-v0.1", "Mistral", None),
        ("mistralai/mistral-7b-v0.1", "Mistral", None),
        ("google-deepmind/gemma-2b-it", "Gemma", 8_192),
        ("google-deepmind/gemma-2-27b-it", "Gemma", 8_192),
        ("google-deepmind/gemma-3-27b-it", "Gemma", None),
        ("google/gemma-7b-it", "Gemma", 8_192),
        ("qwen/qwen3-235b-a22b-instruct-2507", "Qwen", None),
        ("deepseek-ai/deepseek-r1", "DeepSeek", None),
        ("ibm-granite/granite-3.0-8b-instruct", "Granite", 4_096),
        ("ibm-granite/granite-3.3-8b-instruct", "Granite", 131_072),
        ("ibm-granite/granite-20b-code-instruct-8k", "Granite", None),
        ("openai/gpt-4o", "OpenAI", 128_000),
        ("openai/gpt-4o-mini", "OpenAI", 128_000),
        ("openai/gpt-4o-mini-transcribe", "Speech to text", None),
        ("openai/gpt-4.1-nano", "OpenAI", 1_000_000),
        ("openai/gpt-5", "OpenAI", None),
        ("openai/gpt-oss-120b", "gpt-oss", None),
        ("openai/gpt-image-1", "OpenAI images", None),
        ("openai/o1-mini", "OpenAI", None),
        ("openai/o4-mini", "OpenAI", None),
        ("openai/whisper", "Speech to text", None),
        ("vaibhavs10/incredibly-fast-whisper", "Speech to text", None),
        ("anthropic/claude-4-sonnet", "Claude", 200_000),
        ("google/gemini-2.5-flash", "Gemini", 1_048_576),
        ("google/gemini-2.5-flash-image", "Gemini images", None),
        ("google/gemini-9-pro", "Gemini", None),
        ("black-forest-labs/flux-schnell", "FLUX", None),
        ("stability-ai/sdxl", "Stability AI", None),
        # However it is written, and nothing that only looks alike.
        (" Meta/Meta-Llama-3-70B-Instruct:" + "a" * 64, "Llama 3", 8_192),
        ("a" * 64, None, None),
        ("deployments/meta/llama-2-70b-chat", None, None),
        ("acme/llama-2-70b-chat", None, None),
        ("smollm2", None, None),
        ("", None, None),
    ],
)
def test_well_known_models_are_known_by_their_names(ref: str, name: str | None, context_length: int | None) -> None:
    family = family_of(ref, inputs(prompt=TEXT))

    assert (family.name, family.context_length) == (name, context_length)


@pytest.mark.parametrize(("pattern", "family"), FAMILIES)
def test_no_family_stands_in_the_shadow_of_one_before_it(pattern: str, family: Family) -> None:
    ref = re.sub(r"\[(.).*?\]", r"\1", pattern).replace("*", "zz")

    known = family_of(ref, inputs(**BARE))

    assert (known.name, known.context_length) == (family.name, family.context_length)
    assert known.prompt_template == (family.prompt_template or "")


def test_the_table_has_no_prices() -> None:
    assert [pattern for pattern, family in FAMILIES if family.price is not None] == []


# By the names of the inputs


@pytest.mark.parametrize(
    ("ref", "path", "expected"),
    [
        (
            "meta/llama-2-70b-chat",
            RECORDED / "replicate-llama-2-70b-chat.json",
            {
                "prompt": "prompt",
                "system_prompt": "system_prompt",
                "max_tokens": "max_new_tokens",
                "temperature": "temperature",
                "top_p": "top_p",
                "stop": "stop_sequences",
                "seed": "seed",
            },
        ),
        (
            "stability-ai/sdxl",
            RECORDED / "replicate-sdxl.json",
            {"prompt": "prompt", "images": "image", "seed": "seed"},
        ),
        (
            "smollm2",
            BUNDLED / "smollm2/.cog/openapi_schema.json",
            {
                "prompt": "prompt",
                "system_prompt": "system_prompt",
                "messages": "messages",
                "max_tokens": "max_tokens",
                "temperature": "temperature",
                "top_p": "top_p",
                "seed": "seed",
            },
        ),
        ("anything", RECORDED / "cog-0.16.12.json", {"prompt": "prompt"}),
    ],
)
def test_recorded_models_are_read_right(ref: str, path: Path, expected: dict[str, str]) -> None:
    assert named(family_of(ref, recorded(path))) == expected


@pytest.mark.parametrize(
    ("ref", "properties", "expected"),
    [
        # As these models’ inputs were called at Replicate.
        (
            "openai/gpt-4o-mini",
            {"prompt": TEXT, "system_prompt": TEXT, "messages": LIST, "image_input": FILES, "temperature": NUMBER}
            | {"max_completion_tokens": {"type": "integer"}, "top_p": NUMBER},
            {"prompt": "prompt", "messages": "messages", "images": "image_input", "temperature": "temperature"}
            | {"max_tokens": "max_completion_tokens", "top_p": "top_p"},
        ),
        (
            "openai/gpt-4.1",  # a later version, without messages
            {"prompt": TEXT, "system_prompt": TEXT, "image_input": FILES},
            {"prompt": "prompt", "system_prompt": "system_prompt", "images": "image_input"},
        ),
        (
            "anthropic/claude-3.5-sonnet",
            {
                "prompt": TEXT,
                "image": FILE,
                "system_prompt": TEXT,
                "max_tokens": NUMBER,
                "max_image_resolution": NUMBER,
            },
            {"prompt": "prompt", "images": "image", "system_prompt": "system_prompt", "max_tokens": "max_tokens"},
        ),
        (
            "google/gemini-2.5-flash",
            {"prompt": TEXT, "images": FILES, "videos": FILES, "system_instruction": TEXT, "max_output_tokens": NUMBER},
            {"prompt": "prompt", "images": "images", "system_prompt": "system_instruction"}
            | {"max_tokens": "max_output_tokens"},
        ),
        (
            "black-forest-labs/flux-1.1-pro",
            {"prompt": TEXT, "image_prompt": FILE, "seed": NUMBER},
            {"prompt": "prompt", "images": "image_prompt", "seed": "seed"},
        ),
        (
            "black-forest-labs/flux-2-pro",
            {"prompt": TEXT, "input_images": FILES},
            {"prompt": "prompt", "images": "input_images"},
        ),
        (
            "black-forest-labs/flux-kontext-pro",
            {"prompt": TEXT, "input_image": FILE},
            {"prompt": "prompt", "images": "input_image"},
        ),
        (
            "black-forest-labs/flux-canny-pro",
            {"control_image": FILE, "prompt": TEXT},
            {"prompt": "prompt", "images": "control_image"},
        ),
        (
            "openai/whisper",
            {"audio": FILE, "initial_prompt": TEXT, "language": TEXT, "temperature": NUMBER},
            {"audio": "audio", "temperature": "temperature"},
        ),
        (
            "openai/gpt-4o-transcribe",
            {"audio_file": FILE, "prompt": TEXT, "language": TEXT},
            {"audio": "audio_file"},
        ),
        # Models of which nobody has heard.
        ("acme/chat", {"question": TEXT, "system": TEXT}, {"prompt": "question", "system_prompt": "system"}),
        ("acme/chat", {"text": TEXT, "prompt": TEXT}, {"prompt": "prompt"}),
        ("acme/chat", {"prompt": LIST, "input": {}}, {"prompt": "input"}),
        ("acme/chat", {"messages": TEXT}, {"messages": "messages"}),
        ("acme/chat", {"messages": NUMBER, "max_tokens": TEXT, "image": TEXT}, {}),
        ("acme/caption", {"negative_prompt": TEXT, "caption": TEXT}, {"prompt": "caption"}),
        ("acme/upscaler", {"image": FILE, "hf_token": TEXT}, {"images": "image"}),
        ("acme/unknown", {}, {"prompt": "prompt"}),
    ],
)
def test_inputs_are_known_by_their_names(ref: str, properties: dict[str, Any], expected: dict[str, str]) -> None:
    assert named(family_of(ref, inputs(**properties))) == expected


@given(refs, schemas)
def test_a_family_names_only_inputs_that_the_version_has_and_no_two_alike(ref: str, properties: dict[str, Any]) -> None:
    takes = inputs(**properties)
    family = family_of(ref, takes)

    assert set(named(family).values()) <= (takes.keys() or {"prompt"})
    assert len(set(named(family).values())) == len(named(family))
    assert all(getattr(family, role) is not None for role in ROLES)


# How a text is laid out


@pytest.mark.parametrize(
    ("ref", "properties", "template"),
    [
        ("meta/llama-2-13b", BARE, TEMPLATES["plain"]),
        ("meta/llama-2-13b-chat", BARE, TEMPLATES["Llama 2"]),
        ("meta/meta-llama-3-8b", BARE, TEMPLATES["plain"]),
        ("meta/meta-llama-3-8b-instruct", BARE, TEMPLATES["Llama 3"]),
        ("mistralai/mistral-7b-v0.1", BARE, TEMPLATES["plain"]),
        ("mistralai/mistral-7b-instruct-v0.2", BARE, TEMPLATES["Mistral"]),
        # What the host lays out by itself is not laid out twice.
        ("meta/llama-2-13b-chat", {**BARE, "system_prompt": TEXT}, ""),
        ("meta/llama-2-13b-chat", {**BARE, "messages": LIST}, ""),
        ("mistralai/mistral-7b-instruct-v0.2", {**BARE, "prompt_template": {**TEXT, "default": "[INST] {prompt}"}}, ""),
        ("mistralai/mistral-7b-instruct-v0.2", {**BARE, "prompt_template": TEXT}, ""),
        ("meta/meta-llama-3-8b", {**BARE, "prompt_template": {**TEXT, "default": "{prompt}"}}, TEMPLATES["plain"]),
        ("deepseek-ai/deepseek-r1", BARE, ""),
        ("acme/chat", BARE, ""),
        ("meta/llama-2-13b-chat", {}, ""),
        ("meta/llama-2-13b-chat", {"seed": NUMBER}, ""),
    ],
)
def test_a_text_is_laid_out_for_versions_that_take_it_bare(ref: str, properties: dict[str, Any], template: str) -> None:
    assert family_of(ref, inputs(**properties)).prompt_template == template


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "Be brief.\n\nHi"),
        ("Llama 2", "[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST]"),
        (
            "Llama 3",
            "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|><|start_header_id|>user<|end_header_id|>"
            "\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        ),
        ("Mistral", "[INST] Be brief.\n\nHi [/INST]"),
        ("ChatML", "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"),
    ],
)
def test_templates_hold_both_texts(template: str, text: str) -> None:
    assert fill(TEMPLATES[template], prompt="Hi", system_prompt="Be brief.") == text


def test_a_template_without_a_system_prompt_leaves_no_gap() -> None:
    assert fill(TEMPLATES["plain"], prompt="Hi", system_prompt="") == "Hi"
    assert fill(TEMPLATES["Mistral"], prompt="Hi", system_prompt="") == "[INST] Hi [/INST]"


def test_nobody_gets_at_the_system_prompt_through_a_template() -> None:
    filled = fill("{system_prompt} {prompt} {0}", prompt="{system_prompt} {prompt!r} \\1", system_prompt="a {prompt} b")

    assert filled == "a {prompt} b {system_prompt} {prompt!r} \\1 {0}"


# What an admin says


def test_an_admins_word_counts_field_by_field() -> None:
    family = family_of("openai/whisper", inputs(audio=FILE, initial_prompt=TEXT))
    price = Price(per_second=Decimal("0.001"))

    both = merged(family, Family(prompt="initial_prompt", audio="", context_length=100, price=price))

    assert (both.prompt, both.audio, both.context_length, both.price) == ("initial_prompt", "", 100, price)
    assert (both.name, both.system_prompt) == ("Speech to text", "")


@given(refs, schemas, overrides)
def test_an_override_changes_what_it_says_and_nothing_else(ref: str, properties: Any, override: Family) -> None:
    family = family_of(ref, inputs(**properties))
    both = merged(family, override)

    for field in Family.__dataclass_fields__:
        said = getattr(override, field)
        assert getattr(both, field) == (getattr(family, field) if said is None else said)


@given(overrides)
def test_an_override_survives_json(override: Family) -> None:
    assert Family.from_json(json.loads(json.dumps(override.to_json()))) == override


def test_a_family_prefills_an_override() -> None:
    family = family_of("meta/llama-2-13b-chat", inputs(**BARE))

    assert Family.from_json(json.loads(json.dumps(family.to_json()))) == family


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ([], "An override is written like {"),
        ("prompt", "An override is written like {"),
        ({"promt": "text"}, "“promt” cannot be overridden. These can: name, prompt, system_prompt, "),
        ({"prompt": 1}, "prompt: write a text of at most 200 characters."),
        ({"images": "x" * 201}, "images: write a text of at most 200 characters."),
        ({"prompt_template": "{system_prompt}"}, "prompt_template: write {prompt} where the question belongs"),
        ({"prompt_template": "{prompt}" * 2_000}, "prompt_template: write a text of at most 10,000 characters."),
        ({"context_length": 0}, "context_length: write a whole number of tokens from 1 to 100,000,000."),
        ({"context_length": True}, "context_length: write a whole number"),
        ({"context_length": 4096.5}, "context_length: write a whole number"),
        ({"price": {"per_run": "cheap"}}, "price: per_run: write dollars in plain digits"),
    ],
)
def test_an_override_that_is_not_understood_says_why(written: Any, words: str) -> None:
    with pytest.raises(OverrideNotUnderstood) as refusal:
        Family.from_json(written)

    assert str(refusal.value).startswith(words)


@given(odd)
def test_odd_json_is_an_override_or_is_refused(value: Any) -> None:
    try:
        override = Family.from_json(value)
    except OverrideNotUnderstood:
        return

    assert Family.from_json(override.to_json()) == override
