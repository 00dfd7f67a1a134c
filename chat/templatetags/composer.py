"""What the composer tells of the models."""

import json

from django import template
from django.conf import settings

from predictions.attachments import MOST
from predictions.offers import Offer

register = template.Library()


@register.filter
def rooms_json(offer: Offer) -> str:
    """What a model takes of files, as the page counts it."""
    return json.dumps(offer.rooms.as_json())


@register.simple_tag
def file_limit() -> int:
    """How large a file may be, in bytes."""
    limit: int = settings.FILE_LIMIT
    return limit


@register.simple_tag
def files_most() -> int:
    """How many files one message takes."""
    return MOST
