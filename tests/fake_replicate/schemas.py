"""The descriptions of models that the fake offers, in the form in which Cog writes them."""

from collections.abc import Mapping
from typing import Any


def _document(**schemas: Any) -> dict[str, Any]:
    return {
        "openapi": "3.0.2",
        "info": {"title": "Cog", "version": "0.1.0"},
        "paths": {},
        "components": {"schemas": schemas},
    }


CHAT_SCHEMA: Mapping[str, Any] = _document(
    Input={
        "title": "Input",
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "prompt": {"title": "Prompt", "type": "string", "x-order": 0},
            "system_prompt": {"title": "System Prompt", "type": "string", "default": "", "x-order": 1},
            "max_tokens": {
                "title": "Max Tokens",
                "type": "integer",
                "default": 512,
                "minimum": 1,
                "maximum": 4096,
                "x-order": 2,
            },
            "temperature": {"title": "Temperature", "type": "number", "default": 0.7, "x-order": 3},
        },
    },
    Output={
        "title": "Output",
        "type": "array",
        "items": {"type": "string"},
        "x-cog-array-type": "iterator",
        "x-cog-array-display": "concatenate",
    },
)

TEXT_SCHEMA: Mapping[str, Any] = _document(
    Input={
        "title": "Input",
        "type": "object",
        "required": ["prompt"],
        "properties": {"prompt": {"title": "Prompt", "type": "string", "x-order": 0}},
    },
    Output={"title": "Output", "type": "string"},
)

IMAGE_SCHEMA: Mapping[str, Any] = _document(
    Input={
        "title": "Input",
        "type": "object",
        "required": ["prompt"],
        "properties": {
            "prompt": {"title": "Prompt", "type": "string", "description": "What to paint", "x-order": 0},
            "aspect_ratio": {
                "allOf": [{"$ref": "#/components/schemas/aspect_ratio"}],
                "default": "1:1",
                "description": "Width to height",
                "x-order": 1,
            },
            "num_outputs": {
                "title": "Num Outputs",
                "type": "integer",
                "default": 1,
                "minimum": 1,
                "maximum": 4,
                "x-order": 2,
            },
            "seed": {"title": "Seed", "type": "integer", "description": "Leave blank for a random one", "x-order": 3},
            "image": {"title": "Image", "type": "string", "format": "uri", "x-order": 4},
        },
    },
    Output={"title": "Output", "type": "array", "items": {"type": "string", "format": "uri"}},
    aspect_ratio={
        "title": "aspect_ratio",
        "type": "string",
        "enum": ["1:1", "16:9", "9:16"],
        "description": "An enumeration.",
    },
)
