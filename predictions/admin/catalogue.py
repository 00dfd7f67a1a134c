"""Providers, models and versions in the admin."""

import asyncio
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.html import format_html

from predictions import catalogue, pins, providers, validation
from predictions.admin import adding
from predictions.admin.hosts import PATIENCE
from predictions.admin.model_page import context_for
from predictions.admin.parameters import ModelForm, form_for
from predictions.admin.read_only import ReadOnlyAdmin
from predictions.models import Model, Prediction, Provider, Version
from predictions.standing import Standing, standings

SEARCH_LENGTH = 200  # characters
NAMES_TOLD = 5  # in a message
ELSEWHERE = "The token for Replicate goes to PARLEY_REPLICATE_URL alone, which is a setting. Write that address."
REFERENCE_LENGTH = 500  # characters


class ProviderForm(forms.ModelForm):
    """A provider, at an address that may also be a name within the machine’s own network."""

    base_url = forms.CharField(label="Address", max_length=500, widget=AdminTextInputWidget)

    def clean_base_url(self) -> str:
        try:
            return adding.server_address(self.cleaned_data["base_url"])
        except adding.NotAdded as problem:
            raise forms.ValidationError(str(problem)) from problem

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        kind = cleaned.get("kind", self.instance.kind)
        address = cleaned.get("base_url")
        if kind == Provider.Kind.REPLICATE and address and address != settings.REPLICATE_BASE_URL.rstrip("/"):
            self.add_error("base_url", ELSEWHERE)
        return cleaned

    def _get_validation_exclusions(self) -> set[str]:
        """Leave the address to `clean_base_url`: the model’s own check knows only names with a dot."""
        return {*super()._get_validation_exclusions(), "base_url"}  # type: ignore[misc]  # the stubs leave it out


@admin.register(Provider)
class ProviderAdmin(admin.ModelAdmin):
    form = ProviderForm
    list_display = ("name", "kind", "base_url", "concurrency", "enabled", "state")
    list_select_related = ("condition",)
    search_fields = ("name", "base_url")
    prepopulated_fields = {"slug": ("name",)}

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> tuple[str, ...]:
        """The environment decides where its providers are; a host does not become one of another kind."""
        if obj is None:
            return ()
        return ("kind", "slug", "base_url") if obj.from_environment else ("kind", "slug")

    def get_prepopulated_fields(self, request: HttpRequest, obj: Provider | None = None) -> dict[str, Any]:
        return {} if obj else self.prepopulated_fields

    @admin.display(description="how it is")
    def state(self, provider: Provider) -> str:
        """Its trouble, and since when; it ends by itself with the first question that the host takes."""
        condition = getattr(provider, "condition", None)
        if condition is None or not condition.trouble:
            return "well"
        since = timezone.localtime(condition.trouble_since)
        return f"{condition.trouble} (since {since:%d %b, %H:%M})"


class ModelList(ChangeList):
    """A page of models, each with how it stands here."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        standing = standings(list(self.result_list))
        for model in self.result_list:
            model.standing = standing[model.pk][settings.ENVIRONMENT]


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin):
    form = ModelForm
    list_display = ("order", "titled", "provider", "answering", "enabled")
    list_display_links = ("titled",)
    list_editable = ("order", "enabled")
    list_filter = ("enabled", "provider", "is_official")
    list_select_related = ("provider",)
    search_fields = ("name", "ref", "description")
    ordering = ("order", "name")
    actions = ("look_now",)

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return ModelList

    def get_urls(self) -> list[URLPattern]:
        look = self.admin_site.admin_view(self.look_view)
        return [path("look/", look, name="predictions_model_look"), *super().get_urls()]

    # ------------------------------------------------------------ the list

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(
            request, {"may_look": self.has_change_permission(request), **(extra_context or {})}
        )

    @admin.display(description="name and reference", ordering="name")
    def titled(self, model: Model) -> str:
        return format_html('{} <span class="reference">{}</span>', model.name, model.ref)

    @admin.display(description="answers here")
    def answering(self, model: Model) -> str:
        standing: Standing = model.standing  # type: ignore[attr-defined]  # `ModelList` has put it there
        if standing.version is None:
            return format_html('<span class="badge badge--danger">{}</span>', "nothing")
        kind, word = {
            Prediction.Chosen.PINNED: (" badge--good", "pinned"),
            Prediction.Chosen.FALLBACK: (" badge--danger", "fallback"),
        }.get(standing.chosen or Prediction.Chosen.LATEST, ("", "latest"))
        return format_html(
            '<code>{}</code> <span class="badge{}">{}</span>{}',
            *(standing.version.short, kind, word, _newer(model, standing.newer)),
        )

    @admin.action(description="Look for new versions now", permissions=["change"])
    def look_now(self, request: HttpRequest, models: QuerySet[Model]) -> None:
        self._look(request, Model.objects.filter(pk__in=list(models.values_list("pk", flat=True))))

    def look_view(self, request: HttpRequest) -> HttpResponse:
        """Look for new versions of the model `model`, or of all."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_change_permission(request):
            raise PermissionDenied
        named = request.POST.get("model", "")
        if not named.isdecimal() or len(named) > 18:
            self._look(request, Model.objects.all())
            return HttpResponseRedirect(reverse("admin:predictions_model_changelist"))
        self._look(request, Model.objects.filter(pk=int(named)))
        return HttpResponseRedirect(reverse("admin:predictions_model_change", args=[named]) + "?part=versions")

    def _look(self, request: HttpRequest, models: QuerySet[Model]) -> None:
        """Ask the hosts for as long as a page may take, and say what came of it."""
        began = timezone.now()
        with suppress(TimeoutError):
            asyncio.run(_look_for_a_while(models))
        asked = models.filter(enabled=True, provider__enabled=True)
        if not asked.exists():
            messages.warning(request, "Nothing was looked at: only models and providers that are enabled are.")
            return
        told = asked.filter(versions__latest_at__gte=began).distinct()
        found = Version.objects.filter(model__in=asked, created_at__gte=began).count()
        new = {0: "No new versions", 1: "One new version"}.get(found, f"{found} new versions")
        silent = asked.exclude(pk__in=told.values("pk"))
        if names := list(silent.values_list("name", flat=True)[: NAMES_TOLD + 1]):
            listed = ", ".join(names[:NAMES_TOLD]) + (" and others" if len(names) > NAMES_TOLD else "")
            text = f"{new}. These could not be looked at just now: {listed}. The worker goes on trying."
            messages.warning(request, text)
        else:
            messages.success(request, f"{new}.")

    # ------------------------------------------------------------ adding

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Take in what is pasted; search for what is no reference."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        text = request.POST.get("reference", "").strip()[:REFERENCE_LENGTH]
        if request.method == "POST" and text and not adding.is_reference(text):
            return HttpResponseRedirect(f"{request.path}?{urlencode({'q': text[:SEARCH_LENGTH]})}")
        context: dict[str, Any] = {"text": text, "address": "", "name": ""}
        try:
            if request.method == "POST":
                return self._add(request, text)
            context |= _found(request)
        except adding.NotAdded as problem:
            is_server = "address" in request.POST
            context |= {"server_problem" if is_server else "problem": str(problem)}
            context |= {"address": request.POST.get("address", ""), "name": request.POST.get("name", "")}
            context["text"] = text or request.GET.get("q", "")
        return self._add_page(request, context)

    def _add(self, request: HttpRequest, text: str) -> HttpResponse:
        if "address" in request.POST:
            model, is_new = adding.add_cog(
                request.POST["address"], request.POST.get("name", "")[: adding.NAME_LENGTH - 5], user=request.user
            )
        else:
            model, is_new = adding.add(text, user=request.user)
        if is_new:
            self.log_addition(request, model, [{"added": {}}])
            messages.success(request, f"{model} is added, and people can ask it now.")
        else:
            messages.info(request, f"{model} was here already. This is what its host tells of it now.")
        if self.has_view_or_change_permission(request, model):
            return HttpResponseRedirect(reverse("admin:predictions_model_change", args=[model.pk]))
        return HttpResponseRedirect(request.path)

    def _add_page(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        context |= self.admin_site.each_context(request) | {
            "title": "Add a model",
            "opts": self.opts,
            "replicate": adding.replicate(),
            "servers": adding.cog_servers_without_model(),
            "may_add_servers": request.user.has_perm("predictions.add_provider"),
        }
        return TemplateResponse(request, "admin/predictions/model/add.html", context)

    # ------------------------------------------------------------ a model's page

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        return super().get_queryset(request).select_related("provider")

    def get_form(self, request: HttpRequest, obj: Model | None = None, change: bool = False, **options: Any) -> Any:
        if obj is not None and self.has_change_permission(request, obj):
            options["form"] = form_for(obj, pins.version_for(obj))
        return super().get_form(request, obj, change, **options)

    def get_changelist_form(self, request: HttpRequest, **options: Any) -> Any:
        return super().get_changelist_form(request, **{"form": forms.ModelForm, **options})

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        parameters: tuple[str, ...] = ("default_input",)
        if obj is not None and self.has_change_permission(request, obj):
            parameters = (*form_for(obj, pins.version_for(obj)).asked, "default_input")
        return (
            ("What people see", {"fields": ("name", "description", "order")}),
            ("Access", {"fields": ("enabled", "groups", "concurrency")}),
            ("How it is asked", {"fields": ("system_prompt", "context_length")}),
            (
                "Default parameters",
                {
                    "fields": parameters,
                    "description": "Sent with every question. What is left empty is the model’s own affair.",
                },
            ),
        )

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        model = self.get_object(request, object_id)
        context = extra_context or {}
        if model is not None and self.has_view_or_change_permission(request, model):
            context |= context_for(model, request.GET.get("part", ""))
            context |= {
                "title": model.name,
                "subtitle": None,
                "show_save_and_add_another": False,
                "may_decide": request.user.has_perm("predictions.add_pin"),
                "may_look_at_pins": request.user.has_perm("predictions.view_pin")
                or request.user.has_perm("predictions.add_pin"),
            }
        return super().change_view(request, object_id, form_url, context)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        super().save_model(request, obj, form, change)
        names = validation.unknown(getattr(form, "inputs", {}), obj.default_input)
        if names:
            listed = ", ".join(names[:NAMES_TOLD])
            messages.warning(request, f"The version that answers here knows nothing of these parameters: {listed}.")


@admin.register(Version)
class VersionAdmin(ReadOnlyAdmin):
    list_display = ("short", "model", "released_at", "state")
    list_select_related = ("model",)
    list_filter = ("model",)
    search_fields = ("identifier",)
    fields = ("model", "identifier", "released_at", "latest_at", "created_at", "gone_at", "gone_because", "schema_hash")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Version]:
        return super().get_queryset(request).defer("openapi_schema")

    @admin.display(description="state")
    def state(self, version: Version) -> str:
        if version.gone_at is not None:
            return "gone"
        return "can answer" if version.is_described else "not described yet"


def _newer(model: Model, count: int) -> str:
    if not count:
        return ""
    address = reverse("admin:predictions_model_change", args=[model.pk]) + "?part=versions"
    return format_html(' <a class="badge badge--warning" href="{}">{} newer</a>', address, count)


async def _look_for_a_while(models: QuerySet[Model]) -> None:
    """Look at the hosts of `models`, each over one connection; raise TimeoutError when it takes too long for a page."""
    connected: dict[int, providers.Provider] = {}

    def connect(row: Provider) -> providers.Provider:
        if row.pk not in connected:
            connected[row.pk] = providers.connect(row)
        return connected[row.pk]

    try:
        async with asyncio.timeout(PATIENCE):
            await catalogue.look(connect, models)
    finally:
        for provider in connected.values():
            await provider.close()


def _found(request: HttpRequest) -> dict[str, Any]:
    """Return what the page is asked to show of Replicate; raise NotAdded."""
    words = request.GET.get("q", "").strip()[:SEARCH_LENGTH]
    collection = request.GET.get("collection", "")[:SEARCH_LENGTH]
    match request.GET.get("browse"):
        case _ if words:
            return {"text": words, "words": words, "cards": adding.search(words)}
        case _ if collection:
            return {"collection": collection, "cards": adding.models_of(collection)}
        case "collections":
            return {"collections": adding.collections()}
        case "deployments":
            return {"deployments": True, "cards": adding.deployments()}
        case _:
            return {}
