"""What schemas do not say of a model: which input is its prompt, how a text for it is laid out, how long it may be.

Three voices say it. An admin's override counts most (`merged`), then the table of well-known families, then the names
of the version's inputs (`family_of` hears these two). The table never brings in an input that a version does not
have, so that an entry that has become wrong is one that says nothing.

There are no prices in the table: those of hosts change, and published lists contradict each other. Context lengths
are the models' own; a host may allow less. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fnmatch import fnmatchcase
from typing import Any

from predictions.prices import Price, PriceNotUnderstood
from predictions.schema import Input, InputKind

LONGEST_NAME, LONGEST_TEMPLATE = 200, 10_000  # characters of an override
LONGEST_CONTEXT = 100_000_000  # tokens
SLOT = re.compile(r"\{(prompt|system_prompt)\}")

# How the makers of these models lay a text out. Tokenizers begin it by themselves (`<s>`), so that is left out.
TEMPLATES = {
    "plain": "{system_prompt}\n\n{prompt}",
    "Llama 2": "[INST] <<SYS>>\n{system_prompt}\n<</SYS>>\n\n{prompt} [/INST]",
    "Llama 3": (
        "<|start_header_id|>system<|end_header_id|>\n\n{system_prompt}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n{prompt}<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    ),
    "Mistral": "[INST] {system_prompt}\n\n{prompt} [/INST]",
    "ChatML": (
        "<|im_start|>system\n{system_prompt}<|im_end|>\n<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n"
    ),
}
# Inputs for a template of the version's own, which its host then fills.
TEMPLATE_INPUTS = ("prompt_template", "chat_template")
UNTOUCHED = "{prompt}"  # the template of a host that leaves the text as it is


class OverrideNotUnderstood(ValueError):
    """Not an override; the message tells an admin why and what would be one."""


@dataclass(frozen=True, slots=True)
class Family:
    """What is known of a model beside its schema, or what an admin says of it.

    The fields of `ROLES` name inputs: "" means that the model has none for this, None that nothing is said of it.
    """

    name: str | None = None
    prompt: str | None = None
    system_prompt: str | None = None  # "" where there are messages: it is the first of them
    messages: str | None = None
    images: str | None = None  # takes one or several, as its kind says
    audio: str | None = None
    max_tokens: str | None = None  # of the answer
    temperature: str | None = None
    top_p: str | None = None
    stop: str | None = None
    seed: str | None = None
    prompt_template: str | None = None  # "" where the prompt is sent as it is
    context_length: int | None = None  # tokens
    price: Price | None = None

    @classmethod
    def from_json(cls, value: object) -> "Family":
        """Read an override as JSON keeps it, null being none; raise OverrideNotUnderstood."""
        if value is None:
            return cls()
        if not isinstance(value, dict):
            raise OverrideNotUnderstood('An override is written like {"prompt": "text", "context_length": 4096}.')
        return cls(**{name: _said(name, said) for name, said in value.items() if said is not None})

    def to_json(self) -> dict[str, Any]:
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        if self.price is not None:
            said["price"] = self.price.to_json()
        return {name: value for name, value in said.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Role:
    """What an input can be for: the names that it goes by, the likeliest first, and the kinds it can have."""

    names: tuple[str, ...]
    kinds: frozenset[InputKind]


TEXT = frozenset({InputKind.TEXT, InputKind.ANY})
NUMBER = frozenset({InputKind.INTEGER, InputKind.NUMBER, InputKind.ANY})
FILES = frozenset({InputKind.FILE, InputKind.FILES})
LISTS = frozenset({InputKind.LIST, InputKind.TEXT, InputKind.ANY})  # as a text they are JSON, or have commas

ROLES = {
    "prompt": Role(("prompt", "text", "question", "query", "input"), TEXT),
    "system_prompt": Role(("system_prompt", "system_instruction", "system_message", "system"), TEXT),
    "messages": Role(("messages",), LISTS),
    "images": Role(("images", "image_input", "input_images", "image", "input_image", "image_prompt"), FILES),
    "audio": Role(("audio", "audio_file", "audio_path", "input_audio"), FILES),
    "max_tokens": Role(
        ("max_tokens", "max_new_tokens", "max_output_tokens", "max_completion_tokens", "max_length"), NUMBER
    ),
    "temperature": Role(("temperature",), NUMBER),
    "top_p": Role(("top_p",), NUMBER),
    "stop": Role(("stop", "stop_sequences", "stop_words"), LISTS),
    "seed": Role(("seed", "random_seed"), NUMBER),
}
# Texts that are no question to a model, whichever comes first.
NO_PROMPTS = frozenset({
    *(name for role, each in ROLES.items() if role != "prompt" for name in each.names), *TEMPLATE_INPUTS,
    "negative_prompt", "initial_prompt", "language", "replicate_weights", "lora_weights", "hf_token",
})  # fmt: skip

SPEECH = Family(name="Speech to text", prompt="", system_prompt="", messages="")
LLAMA_2 = Family(name="Llama 2", context_length=4_096)
LLAMA_3 = Family(name="Llama 3", context_length=8_192)
GEMMA = Family(name="Gemma", context_length=8_192)
# Its schemas say of `messages`: "If provided, prompt and system_prompt are ignored."
OPENAI = Family(name="OpenAI", system_prompt="")
GEMINI = Family(name="Gemini", context_length=1_048_576)

# References in small letters, as patterns. The first that fits counts: what is special stands before what is general.
FAMILIES: tuple[tuple[str, Family], ...] = (
    # Base models continue a text: they know no marks for whose turn it is.
    # Lengths: "4k" in the paper on Llama 2 (arXiv 2307.09288), "8k" on Llama 3's model card, "128k" on Llama 3.1's.
    ("meta/llama-2-*-chat*", replace(LLAMA_2, prompt_template=TEMPLATES["Llama 2"])),
    ("meta/llama-2-*", replace(LLAMA_2, prompt_template=TEMPLATES["plain"])),
    (
        "meta/meta-llama-3.1-*-instruct*",
        replace(LLAMA_3, prompt_template=TEMPLATES["Llama 3"], context_length=131_072),
    ),
    ("meta/meta-llama-3-*-instruct*", replace(LLAMA_3, prompt_template=TEMPLATES["Llama 3"])),
    ("meta/meta-llama-3-*", replace(LLAMA_3, prompt_template=TEMPLATES["plain"])),
    ("meta/meta-llama-3*", Family(name="Llama 3")),
    ("meta/llama-4*", Family(name="Llama 4")),
    # Lengths: `max_position_embeddings` of Mistral-7B-Instruct-v0.2; "32k" in Mixtral's announcement. The first
    # Mistral sees no further than a sliding window, so none is given for it.
    (
        "mistralai/mistral-7b-instruct-v0.2*",
        Family(name="Mistral", prompt_template=TEMPLATES["Mistral"], context_length=32_768),
    ),
    (
        "mistralai/mixtral-8x7b-instruct*",
        Family(name="Mistral", prompt_template=TEMPLATES["Mistral"], context_length=32_768),
    ),
    ("mistralai/*-instruct*", Family(name="Mistral", prompt_template=TEMPLATES["Mistral"])),
    ("mistralai/mistral-7b-v*", Family(name="Mistral", prompt_template=TEMPLATES["plain"])),
    ("mistralai/*", Family(name="Mistral")),
    # Length: `max_position_embeddings` of Gemma 1 and 2. Those of Gemma 3 differ by size.
    ("google/gemma-[27]b*", GEMMA),
    ("google/gemma-2-*", GEMMA),
    ("google/gemma*", Family(name="Gemma")),
    ("google-deepmind/gemma-[27]b*", GEMMA),
    ("google-deepmind/gemma-2-*", GEMMA),
    ("google-deepmind/gemma*", Family(name="Gemma")),
    ("qwen/*", Family(name="Qwen")),
    ("deepseek-ai/*", Family(name="DeepSeek")),
    # Lengths: the model cards, 4K for Granite 3.0 and 128K from 3.1 on.
    ("ibm-granite/granite-3.0-*", Family(name="Granite", context_length=4_096)),
    ("ibm-granite/granite-3.[123]-*", Family(name="Granite", context_length=131_072)),
    ("ibm-granite/*", Family(name="Granite")),
    # `prompt` and `initial_prompt` of these only show a style; the question is what is heard.
    ("openai/whisper*", SPEECH),
    ("openai/gpt-4o*-transcribe*", SPEECH),
    ("*/incredibly-fast-whisper*", SPEECH),
    ("*/whisperx*", SPEECH),
    ("*/faster-whisper*", SPEECH),
    # Lengths: those that OpenAI announced. None for models that count thoughts, whose input may be shorter.
    ("openai/gpt-image*", Family(name="OpenAI images")),
    ("openai/gpt-4o", replace(OPENAI, context_length=128_000)),
    ("openai/gpt-4o-mini", replace(OPENAI, context_length=128_000)),
    ("openai/gpt-4.1*", replace(OPENAI, context_length=1_000_000)),
    ("openai/gpt-oss-*", Family(name="gpt-oss")),
    ("openai/gpt-*", OPENAI),
    ("openai/o[1-9]*", OPENAI),
    # Length: Anthropic's page on context windows. No model since Claude 3 takes less; some take more.
    ("anthropic/claude-*", Family(name="Claude", context_length=200_000)),
    # Length: the pages of the models in the documentation of the Gemini API.
    ("google/gemini-*-image*", Family(name="Gemini images")),
    ("google/gemini-2.[05]-flash", GEMINI),
    ("google/gemini-2.5-pro", GEMINI),
    ("google/gemini-*", Family(name="Gemini")),
    # These work on one particular picture, which is not called "image".
    ("black-forest-labs/flux-redux-*", Family(name="FLUX", prompt="", images="redux_image")),
    ("black-forest-labs/flux-canny-*", Family(name="FLUX", images="control_image")),
    ("black-forest-labs/flux-depth-*", Family(name="FLUX", images="control_image")),
    ("black-forest-labs/flux-*", Family(name="FLUX")),
    ("stability-ai/*", Family(name="Stability AI")),
)


def family_of(ref: str, inputs: Mapping[str, Input]) -> Family:
    """Say what is known of the model `ref`, in the version that takes `inputs`: each field of `ROLES` is settled.

    `inputs` are by name and in order. Where there are none, nothing is known of the version: it is given a prompt.
    """
    known = _known(ref)
    found: dict[str, Any] = {  # of str; `replace` cannot tell fields by their names
        role: _input_for(role, getattr(known, role), inputs) for role in ROLES
    }
    if not found["messages"] and not found["system_prompt"]:
        found["system_prompt"] = _input_for("system_prompt", None, inputs)
    if not found["prompt"] and known.prompt is None:
        found["prompt"] = _first_text(inputs)
    template = known.prompt_template if _leaves_layout(inputs, found) else None
    return replace(known, prompt_template=template or "", **found)


def merged(family: Family, override: Family) -> Family:
    """Let an admin's word stand wherever there is one."""
    said = {each.name: getattr(override, each.name) for each in fields(override)}
    return replace(family, **{name: value for name, value in said.items() if value is not None})


def fill(template: str, *, prompt: str, system_prompt: str) -> str:
    """Lay out a text. Braces in what people have written stay as they are."""
    if not system_prompt:
        template = re.sub(r"\{system_prompt\}\s*", "", template)
    texts = {"prompt": prompt, "system_prompt": system_prompt}
    return SLOT.sub(lambda slot: texts[slot[1]], template)


def _known(ref: str) -> Family:
    name = ref.strip().lower().partition(":")[0]
    return next((family for pattern, family in FAMILIES if fnmatchcase(name, pattern)), Family())


def _input_for(role: str, said: str | None, inputs: Mapping[str, Input]) -> str:
    """Return the input that plays a role, "" if there is none: the one the family names, else the likeliest."""
    if said == "":
        return ""
    names = ROLES[role].names if said is None else (said, *ROLES[role].names)
    return next((name for name in names if name in inputs and inputs[name].kind in ROLES[role].kinds), "")


def _first_text(inputs: Mapping[str, Input]) -> str:
    if not inputs:
        return "prompt"
    texts = (name for name, each in inputs.items() if each.kind == InputKind.TEXT)
    return next((name for name in texts if name not in NO_PROMPTS), "")


def _leaves_layout(inputs: Mapping[str, Input], found: Mapping[str, str]) -> bool:
    """Whether a version takes a bare text. One that takes the parts of a text puts them together by itself."""
    if not inputs or not found["prompt"] or found["messages"] or found["system_prompt"]:
        return False
    return all(inputs[name].default == UNTOUCHED for name in TEMPLATE_INPUTS if name in inputs)


def _said(name: object, said: object) -> Any:  # of the type of that field
    match name:
        case "name":
            return _text(name, said, LONGEST_NAME)
        case str() if name in ROLES:
            return _text(name, said, LONGEST_NAME)
        case "prompt_template":
            return _template(said)
        case "context_length":
            return _context_length(said)
        case "price":
            return _price(said)
        case _:
            known = ", ".join(each.name for each in fields(Family))
            raise OverrideNotUnderstood(f"“{str(name)[:50]}” cannot be overridden. These can: {known}.")


def _text(name: str, said: object, longest: int) -> str:
    if not isinstance(said, str) or len(said) > longest:
        raise OverrideNotUnderstood(f"{name}: write a text of at most {longest:,} characters.")
    return said


def _template(said: object) -> str:
    template = _text("prompt_template", said, LONGEST_TEMPLATE)
    if template and "{prompt}" not in template:
        raise OverrideNotUnderstood(
            "prompt_template: write {prompt} where the question belongs, and {system_prompt} where that does."
        )
    return template


def _context_length(said: object) -> int:
    if isinstance(said, bool) or not isinstance(said, int) or not 0 < said <= LONGEST_CONTEXT:
        raise OverrideNotUnderstood(f"context_length: write a whole number of tokens from 1 to {LONGEST_CONTEXT:,}.")
    return said


def _price(said: object) -> Price:
    try:
        return Price.from_json(said)
    except PriceNotUnderstood as error:
        raise OverrideNotUnderstood(f"price: {error}") from error
