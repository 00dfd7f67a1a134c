"""How the admin shows what may be chosen several times: as boxes, which need no key held down."""

from typing import Any

from django.db.models import ManyToManyField
from django.forms import CheckboxSelectMultiple

BOXES: Any = {ManyToManyField: {"widget": CheckboxSelectMultiple(attrs={"class": "boxes"})}}  # `formfield_overrides`
