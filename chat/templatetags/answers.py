"""Answers in pages that show them without a message around."""

from django import template
from django.utils.safestring import SafeString, mark_safe

from chat.markdown import render
from predictions.follow import Frame, read_frame
from predictions.models import Prediction

register = template.Library()


@register.filter
def markdown(text: str) -> SafeString:
    """Return what a model has written as safe HTML."""
    return mark_safe(render(text))  # noqa: S308 - it comes from the sanitizer


@register.simple_tag
def frame_of(prediction: Prediction) -> Frame:
    """What a reader who has nothing yet is told of `prediction`."""
    return read_frame(prediction.pk, edition=0, after=0)
