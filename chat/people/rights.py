"""The rights of groups and people, for whoever gives them: for each kind of thing, what may be done with it."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.forms.models import ModelChoiceIterator
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.text import capfirst

from chat.people.models import Rights

OF_ADMINS_OF_ALL = ("add_group", "change_group")  # only they may, whatever else somebody carries: see admin.py
VERBS = {"view": "See", "add": "Add", "change": "Change", "delete": "Delete"}  # Django's rights, in this order
OF_NO_PAGE = "In general"


def to_give(request: HttpRequest) -> QuerySet[Permission]:
    """Those that change something here: what groups carry, and what the admin's own pages let an admin of all do.

    `request` is one of an admin of all.
    """
    pages = admin.site._registry  # noqa: SLF001
    kinds = ContentType.objects.get_for_models(*pages, Rights).values()
    idle = [
        get_permission_codename(verb, model._meta)  # noqa: SLF001
        for model, page in pages.items()
        for verb in VERBS
        if not getattr(page, f"has_{verb}_permission")(request)
    ]
    given = Permission.objects.filter(content_type__in=kinds).exclude(codename__in=(*idle, *OF_ADMINS_OF_ALL))
    return given.select_related("content_type")


def field_for(request: HttpRequest) -> dict[str, Any]:
    """Return what makes a form's field of rights, as the admin asks for it."""
    return {"form_class": RightsField, "queryset": to_give(request), "widget": RightsBoxes}


class ByKind(ModelChoiceIterator):
    """The rights as choices, those of the same kind together."""

    def __iter__(self) -> Iterator[Any]:
        for kind, rights in groupby(sorted(self.queryset, key=_place), key=_kind_of):
            yield kind, [self.choice(right) for right in rights]


class RightsBoxes(forms.CheckboxSelectMultiple):
    """A row of boxes for each kind."""

    template_name = "admin/people/rights.html"

    def _render(self, template_name: str, context: dict[str, Any], renderer: Any = None) -> Any:
        return render_to_string(template_name, context)  # Django's own renderer does not look in templates/


class RightsField(forms.ModelMultipleChoiceField):
    iterator = ByKind

    def label_from_instance(self, right: Permission) -> str:
        verb = _verb_of(right)
        return VERBS[verb] if verb else capfirst(right.name.removeprefix("Can "))


def _verb_of(right: Permission) -> str | None:
    verb, _, model = right.codename.partition("_")
    return verb if verb in VERBS and model == right.content_type.model else None


def _kind_of(right: Permission) -> str:
    model = right.content_type.model_class()
    if model is None or model is Rights:
        return OF_NO_PAGE
    return capfirst(str(model._meta.verbose_name_plural))  # noqa: SLF001


def _place(right: Permission) -> tuple[bool, str, int, str]:
    kind, verb = _kind_of(right), _verb_of(right)
    return kind != OF_NO_PAGE, kind, [*VERBS, None].index(verb), right.name
