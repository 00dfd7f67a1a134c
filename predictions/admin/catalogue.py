"""Providers, models and versions in the admin."""

import asyncio
import re
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode, urlsplit

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.admin.helpers import AdminErrorList, AdminForm
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.loader import render_to_string
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_POST

from predictions import catalogue, comparisons, pins, providers, validation
from predictions.admin import adding
from predictions.admin.addresses import key_in
from predictions.admin.boxes import BOXES
from predictions.admin.hosts import PATIENCE
from predictions.admin.model_page import TryForm, context_for, fieldsets_of, trial_context
from predictions.admin.parameters import ModelForm, form_for
from predictions.admin.read_only import ReadOnlyAdmin
from predictions.encryption import NotDecrypted
from predictions.models import Model, Prediction, Provider, Trial, Version
from predictions.standing import Standing, standings

SEARCH_LENGTH = 200  # characters
NAMES_TOLD = 5  # in a message
NOT_SAFE = "An API token goes out over https alone. Write an address that begins with https://."
ENTER_ONE = "Enter the API token for this address. The one of REPLICATE_API_TOKEN goes to PARLEY_REPLICATE_URL alone."
ENTER_AGAIN = "The address was changed, and a token is good for one address alone. Enter the token again."
NONE_TAKEN = "A Cog server takes no API token. Leave this empty."
ODD = "This is no API token: it has spaces or characters that no token has."
TOKEN = re.compile(r"[!-~]{1,500}")  # printable ASCII: it stands in a header
LOOPBACK = {"127.0.0.1", "localhost", "::1"}
REFERENCE_LENGTH = 500  # characters
FOLLOWS = "predictions.view_comparison"  # the right without which nobody is told how a trial goes on


class ProviderForm(forms.ModelForm):
    """A provider, at an address that may also be a name within the machine’s own network."""

    base_url = forms.CharField(label="Address", max_length=500, widget=AdminTextInputWidget)
    token = forms.CharField(
        label="API token",
        max_length=500,
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off", "class": "vTextField", "spellcheck": "false"}),
    )
    forgets_token = forms.BooleanField(label="Remove the API token", required=False)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fields["token"].help_text = _state_of_token(self.instance)

    def clean_token(self) -> str:
        token: str = self.cleaned_data["token"].strip()
        if token and not TOKEN.fullmatch(token):
            raise forms.ValidationError(ODD)
        return token

    def clean_base_url(self) -> str:
        try:
            return adding.server_address(self.cleaned_data["base_url"])
        except adding.NotAdded as problem:
            raise forms.ValidationError(str(problem)) from problem

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        address = cleaned.get("base_url", self.instance.base_url)
        if cleaned.get("kind", self.instance.kind) == Provider.Kind.COG:
            if cleaned.get("token"):
                self.add_error("token", NONE_TAKEN)
        elif address and "token" in cleaned:
            self._check_way_in(address, cleaned)
        return cleaned

    def _check_way_in(self, address: str, cleaned: dict[str, Any]) -> None:
        """Refuse an address to which no token may go, or for which there is none."""
        is_of_settings = address == settings.REPLICATE_BASE_URL.rstrip("/")
        parts = urlsplit(address)
        if not is_of_settings and parts.scheme != "https" and parts.hostname not in LOOPBACK:
            self.add_error("base_url", NOT_SAFE)
        was, has_one = self.initial.get("base_url", address), bool(self.instance.encrypted_token)
        if cleaned["token"] or (cleaned.get("forgets_token") and is_of_settings):
            return
        if has_one and was != address:
            self.add_error("token", ENTER_AGAIN)
        elif not is_of_settings and (not has_one or cleaned.get("forgets_token")):
            self.add_error("token", ENTER_ONE)

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # the stubs leave it out
        if self.errors:
            return
        try:
            if token := self.cleaned_data.get("token"):
                self.instance.keep_token(token)
            elif self.cleaned_data.get("forgets_token"):
                self.instance.encrypted_token = ""
        except NotDecrypted as error:
            self.add_error("token", str(error))

    def _get_validation_exclusions(self) -> set[str]:
        """Leave the address to `clean_base_url`: the model’s own check knows only names with a dot."""
        return {*super()._get_validation_exclusions(), "base_url"}  # type: ignore[misc]  # the stubs leave it out


@admin.register(Provider)
class ProviderAdmin(admin.ModelAdmin):
    form = ProviderForm
    list_display = ("name", "kind", "address", "concurrency", "enabled", "state")
    list_select_related = ("condition",)
    search_fields = ("name", "base_url")
    prepopulated_fields = {"slug": ("name",)}

    @method_decorator(sensitive_post_parameters("token"))
    def changeform_view(self, request: HttpRequest, *arguments: Any, **options: Any) -> Any:
        return super().changeform_view(request, *arguments, **options)

    def get_fields(self, request: HttpRequest, obj: Provider | None = None) -> Any:
        """Show what concerns a token where there may be one, and to those alone who may change it."""
        may_change = obj is None or self.has_change_permission(request, obj)
        is_fixed = obj is not None and (obj.from_environment or not may_change)
        fields = ["name", "slug", "kind", "address" if is_fixed else "base_url"]
        if may_change and (obj is None or obj.takes_token):
            fields += ["token"]
        if may_change and obj is not None and obj.encrypted_token:
            fields += ["forgets_token"]
        return [*fields, "concurrency", "enabled"]

    def get_readonly_fields(self, request: HttpRequest, obj: Provider | None = None) -> tuple[str, ...]:
        """The environment decides where its providers are; a host does not become one of another kind."""
        if obj is None:
            return ()
        # `base_url` is shown as `address`, but the form has it unless it is named here.
        return ("kind", "slug", "address", *(["base_url"] if obj.from_environment else []))

    def get_prepopulated_fields(self, request: HttpRequest, obj: Provider | None = None) -> dict[str, Any]:
        return {} if obj else self.prepopulated_fields

    @admin.display(description="address", ordering="base_url")
    def address(self, provider: Provider) -> str:
        """Its text alone: a host is not visited by a click, and a click would tell it of the admin."""
        return provider.base_url

    @admin.display(description="how it is")
    def state(self, provider: Provider) -> str:
        """Its trouble, and since when; it ends by itself with the first question that the host takes."""
        condition = getattr(provider, "condition", None)
        if condition is None or not condition.trouble:
            return "well"
        since = timezone.localtime(condition.trouble_since)
        return f"{condition.trouble} (since {since:%d %b, %H:%M})"


def _state_of_token(provider: Provider) -> str:
    """Tell whether there is a token, and nothing of it."""
    if provider.token_of_environment:
        stored = " One that was entered is kept here besides." if provider.encrypted_token else ""
        return f"REPLICATE_API_TOKEN is set where Parley runs, and is used instead of what is entered here.{stored}"
    if not provider.encrypted_token:
        return "Replicate asks for one. It is kept encrypted and never shown again."
    try:
        _ = provider.own_token
    except NotDecrypted as error:
        return f"A token is set, but it cannot be read. {error} Enter the token again."
    return "A token is set. It is never shown; type another one to replace it."


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
    formfield_overrides = BOXES
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
        own = self.admin_site.admin_view
        stop = "<int:pk>/try/<int:trial_pk>/stop/"
        return [
            path("look/", own(self.look_view), name="predictions_model_look"),
            path("<int:pk>/try/", own(self.try_view), name="predictions_model_try"),
            path("<int:pk>/try/<int:trial_pk>/", own(self.trial_view), name="predictions_model_trial"),
            path(stop, own(self.trial_stop_view), name="predictions_model_trial_stop"),
            *super().get_urls(),
        ]

    # ------------------------------------------------------------ the list

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        return super().changelist_view(
            request, {"may_look": self.has_change_permission(request), **(extra_context or {})}
        )

    @admin.display(description="name and reference", ordering="name")
    def titled(self, model: Model) -> str:
        icon = format_html('<span class="model-icon" aria-hidden="true">{}</span> ', model.icon) if model.icon else ""
        badge = format_html(' <span class="badge">{}</span>', "titles") if model.makes_titles else ""
        return format_html('{}{} <span class="reference">{}</span>{}', icon, model.name, model.ref, badge)

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

    @method_decorator(require_POST)
    def look_view(self, request: HttpRequest) -> HttpResponse:
        """Look for new versions of the model `model`, or of all."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        named = key_in(request.POST.get("model"))
        if not named:
            self._look(request, Model.objects.all())
            return HttpResponseRedirect(reverse("admin:predictions_model_changelist"))
        self._look(request, Model.objects.filter(pk=named))
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
            options["form"] = _form_of(request, obj)
        return super().get_form(request, obj, change, **options)

    def get_changelist_form(self, request: HttpRequest, **options: Any) -> Any:
        return super().get_changelist_form(request, **{"form": forms.ModelForm, **options})

    def get_fieldsets(self, request: HttpRequest, obj: Model | None = None) -> Any:
        form = ModelForm
        if obj is not None and self.has_change_permission(request, obj):
            form = _form_of(request, obj)
        return fieldsets_of(form)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        model = self.get_object(request, object_id)
        context = extra_context or {}
        if model is not None and self.has_view_or_change_permission(request, model):
            context |= self._page(request, model, request.GET.get("part", ""))
            if "try_prompt" in request.POST:
                context["asked"] = TryForm(initial=request.POST.dict())  # what is typed outlives a fault elsewhere
        return super().change_view(request, object_id, form_url, context)

    def _page(self, request: HttpRequest, model: Model, part: str = "") -> dict[str, Any]:
        """Return what the templates of a model's page name beside its form."""
        return context_for(model, part) | {
            "title": model.name,
            "subtitle": None,
            "show_save_and_add_another": False,
            "may_decide": request.user.has_perm("predictions.add_pin"),
            "may_look_at_pins": request.user.has_perm("predictions.view_pin")
            or request.user.has_perm("predictions.add_pin"),
            "may_follow": request.user.has_perm(FOLLOWS),
        }

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        if obj.makes_titles:
            Model.objects.exclude(pk=obj.pk).filter(makes_titles=True).update(makes_titles=False)
        super().save_model(request, obj, form, change)
        names = validation.unknown(getattr(form, "inputs", {}), obj.default_input)
        if names:
            listed = ", ".join(names[:NAMES_TOLD])
            messages.warning(request, f"The version that answers here knows nothing of these parameters: {listed}.")

    # ------------------------------------------------------------ trying it out

    @method_decorator(require_POST)
    def try_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ask the version that answers by the form as it is, without saving that."""
        model = self._tried(request, pk)
        form = self.get_form(request, model, change=True)(request.POST, instance=model)
        asked = TryForm(request.POST)
        if not (asked.is_valid() & form.is_valid()) or form.version is None:
            return self._try_refused(request, pk, form, asked)
        try:
            trial = comparisons.try_out(
                form.instance, form.version, asked.cleaned_data["try_prompt"], user=request.user
            )
        except pins.NothingAnswers as error:
            asked.add_error("try_prompt", str(error))
            return self._try_refused(request, pk, form, asked)
        if _wants_json(request):
            html = render_to_string("admin/predictions/model/_trial.html", trial_context(trial), request)
            return JsonResponse({"html": html})
        return self._typed_page(request, pk, form, asked, trial)

    def _tried(self, request: HttpRequest, pk: int) -> Model:
        """Load a model that may be tried, as it is saved: a form changes the one that it is given."""
        model: Model | None = self.get_object(request, str(pk))
        if model is None:
            raise Http404
        if not self.has_change_permission(request, model) or not request.user.has_perm(FOLLOWS):
            raise PermissionDenied
        return model

    def _try_refused(self, request: HttpRequest, pk: int, form: ModelForm, asked: TryForm) -> HttpResponse:
        if form.version is None:
            asked.add_error("try_prompt", "Nothing answers here, so there is nothing to try.")
        if _wants_json(request):
            return JsonResponse({"errors": {**form.errors, **asked.errors}}, status=422)
        return self._typed_page(request, pk, form, asked)

    def _typed_page(
        self, request: HttpRequest, pk: int, form: ModelForm, asked: TryForm, trial: Trial | None = None
    ) -> HttpResponse:
        """Show the model's page with its form as it was typed, for browsers without scripts."""
        model = self._tried(request, pk)
        shown = AdminForm(form, list(self.get_fieldsets(request, model)), {}, model_admin=self)
        context = {
            **self.admin_site.each_context(request),
            **self._page(request, model),
            "adminform": shown,
            "errors": AdminErrorList(form, []),
            "media": self.media + shown.media,
            "inline_admin_formsets": [],
            "object_id": str(pk),
            "original": model,
            "is_popup": False,
            "to_field": None,
            "preserved_filters": self.get_preserved_filters(request),
            "asked": asked,
            **(trial_context(trial) if trial else {}),
        }
        address = reverse("admin:predictions_model_change", args=[pk])
        answer = self.render_change_form(request, context, change=True, obj=model, form_url=address)
        answer.status_code = 200 if trial else 422
        return answer

    def trial_view(self, request: HttpRequest, pk: int, trial_pk: int) -> HttpResponse:
        """Show a try on a page of its own, which browsers without scripts load again."""
        model = self._tried(request, pk)
        context = {
            **self.admin_site.each_context(request),
            **trial_context(_trial_of(model, trial_pk)),
            "title": f"A try of {model}",
            "opts": self.opts,
            "original": model,
        }
        return TemplateResponse(request, "admin/predictions/model/trial.html", context)

    @method_decorator(require_POST)
    def trial_stop_view(self, request: HttpRequest, pk: int, trial_pk: int) -> HttpResponse:
        """Stop a try; what is there of its answer stays."""
        trial = _trial_of(self._tried(request, pk), trial_pk)
        if trial.prediction is not None:
            trial.prediction.request_cancel()
        if _wants_json(request):
            return JsonResponse({})
        return HttpResponseRedirect(reverse("admin:predictions_model_trial", args=[pk, trial_pk]))


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


def _form_of(request: HttpRequest, model: Model) -> type[ModelForm]:
    """Return the form of the model that `request` is about. It looks at the pins, so a page makes it once."""
    made: dict[int, type[ModelForm]] = vars(request).setdefault("model_forms", {})
    if model.pk not in made:
        made[model.pk] = form_for(model, pins.version_for(model))
    return made[model.pk]


def _trial_of(model: Model, pk: int) -> Trial:
    tries = Trial.objects.filter(case=None, version__model=model).defer("version__openapi_schema")
    return get_object_or_404(tries.select_related("prediction", "version"), pk=pk)


def _wants_json(request: HttpRequest) -> bool:
    return request.headers.get("Accept", "").startswith("application/json")


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
