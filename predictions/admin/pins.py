"""Pins in the admin: what answers, what another version would change, and who decided what and why."""

from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from predictions import schema_diff
from predictions.admin import version_figures
from predictions.admin.addresses import key_in
from predictions.admin.pin_forms import LATEST, DecisionForm, DiffForm, RollbackForm
from predictions.models import Comparison, Model, Pin, PinChanged, Version
from predictions.schema_diff import Change, Weight
from predictions.standing import (
    Standing,
    answering,
    differences,
    standings,
    version_of,
)

MODELS_SHOWN = 50  # on a page
VERSIONS_SHOWN = 20
DECISIONS_SHOWN = 30
WEIGHTS = {
    Weight.BREAKING: "Breaking: what worked may fail",
    Weight.NOTABLE: "Worth knowing: everything works on, answers may differ",
    Weight.HARMLESS: "Harmless",
}


@admin.register(Pin)
class PinAdmin(admin.ModelAdmin):
    """Pins are history: a new one takes the place of the last, none is changed."""

    def get_urls(self) -> list[URLPattern]:
        ours = self.admin_site.admin_view
        return [
            path("<int:pk>/change/", ours(self.pin_view), name="predictions_pin_change"),
            path("<int:pk>/restore/", ours(self.restore_view), name="predictions_pin_restore"),
            path("model/<int:model_id>/", ours(self.model_view), name="predictions_pin_model"),
            path("model/<int:model_id>/diff/", ours(self.diff_view), name="predictions_pin_diff"),
            path("model/<int:model_id>/figures/", ours(self.figures_view), name="predictions_pin_figures"),
            path("model/<int:model_id>/<str:environment>/", ours(self.decide_view), name="predictions_pin_decide"),
            *super().get_urls(),
        ]

    # ------------------------------------------------------------ rights

    def has_view_permission(self, request: HttpRequest, obj: Pin | None = None) -> bool:
        return super().has_view_permission(request, obj) or self.has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Pin | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Pin | None = None) -> bool:
        return False

    # ------------------------------------------------------------ pages

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """Show each model with what answers for it in each environment."""
        self._check_may_look(request)
        words = request.GET.get("q", "").strip()[:200]
        found = Model.objects.select_related("provider").filter(Q(name__icontains=words) | Q(ref__icontains=words))
        page = Paginator(found, MODELS_SHOWN).get_page(request.GET.get("page"))
        standing = standings(list(page))
        rows = [(model, list(standing[model.pk].values())) for model in page]
        return self._page(
            request, "overview", title="Pins", page=page, rows=rows, words=words, environments=_environments()
        )

    def add_view(self, request: HttpRequest, *arguments: Any, **options: Any) -> HttpResponse:
        """A pin begins with the version to be pinned: show the models."""
        return HttpResponseRedirect(reverse("admin:predictions_pin_changelist"))

    def pin_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Show a pin in the history of its model."""
        self._check_may_look(request)
        pin = get_object_or_404(Pin, pk=pk)
        return HttpResponseRedirect(_address(pin.model_id, pin.environment) + f"#pin-{pin.pk}")

    def model_view(self, request: HttpRequest, model_id: int) -> HttpResponse:
        """Show what answers for a model, its versions and its history."""
        self._check_may_look(request)
        model = get_object_or_404(Model.objects.select_related("provider"), pk=model_id)
        environment = _environment(request.GET.get("environment"))
        standing = standings([model], with_schemas=True)[model.pk]
        now = standing[environment]
        page = Paginator(model.versions.newest_first(), VERSIONS_SHOWN).get_page(request.GET.get("page"))
        history = _history(model, environment, before=request.GET.get("before"))
        return self._page(
            request,
            "model",
            title=model.name,
            model=model,
            standings=standing.values(),
            now=now,
            environment=environment,
            page=page,
            versions=_rows(model, page, now.version),
            history=[_entry(pin, now) for pin in history[:DECISIONS_SHOWN]],
            older=history[DECISIONS_SHOWN - 1].pk if len(history) > DECISIONS_SHOWN else None,
        )

    def diff_view(self, request: HttpRequest, model_id: int) -> HttpResponse:
        """Show what changes from one version of a model to another."""
        self._check_may_look(request)
        model = get_object_or_404(Model.objects.select_related("provider"), pk=model_id)
        standing = standings([model], with_schemas=True)[model.pk]
        here = standing[_environment(None)]
        old = _version(model, request.GET.get("from")) or here.version
        new = _version(model, request.GET.get("to")) or here.latest
        chosen = {"from": old.pk if old else None, "to": new.pk if new else None}
        return self._page(
            request,
            "diff",
            folder="version",
            title=f"What changes in {model.name}",
            model=model,
            old=old,
            new=new,
            changes=_by_weight(_changes(model, old, new)),
            standings=standing.values(),
            form=DiffForm(model=model, initial=chosen, versions=[each for each in (old, new) if each]),
        )

    def figures_view(self, request: HttpRequest, model_id: int) -> HttpResponse:
        """Show how the versions of a model do, side by side."""
        self._check_may_look(request)
        model = get_object_or_404(Model.objects.select_related("provider"), pk=model_id)
        environment = _environment(request.GET.get("environment"))
        standing = standings([model])[model.pk]
        now = standing[environment]
        before = version_figures.way_back(now)
        return self._page(
            request,
            "figures",
            title="Figures of its versions",
            model=model,
            standings=standing.values(),
            now=now,
            environment=environment,
            table=version_figures.table_of(model, now),
            before=before,
            reason=before and _reason_to_restore(before),
        )

    # ------------------------------------------------------------ decisions

    def decide_view(self, request: HttpRequest, model_id: int, environment: str) -> HttpResponse:
        """Pin `?version=…` (a key, or "latest"); show first what that changes."""
        self._check_may_decide(request)
        model = get_object_or_404(Model.objects.select_related("provider"), pk=model_id)
        now = standings([model], with_schemas=True)[model.pk][_environment(environment, or_404=True)]
        draft = Pin(model=model, environment=environment, version=_version(model, request.GET.get("version")))
        draft.comparison = _comparison(request)
        form = DecisionForm(request.POST or None, instance=draft, now=now.pin, latest=now.latest)
        is_overtaken = False
        if request.method == "POST" and form.is_valid():
            try:
                pin = self._decide(request, draft, now.pin, seen=form.cleaned_data["seen"], reason=draft.reason)
            except PinChanged:
                is_overtaken = True
                now = standings([model], with_schemas=True)[model.pk][environment]
                form = form.renewed(now=now.pin, latest=now.latest)
            else:
                decided = f"pinned to {version_of(pin)}" if pin.version else "on the latest version"
                messages.success(request, f"In {environment}, {model.name} is {decided} now.")
                return HttpResponseRedirect(_address(model.pk, environment))
        new = draft.version or now.latest
        return self._page(
            request,
            "decide",
            status=409 if is_overtaken else 200,
            title=f"Pin {version_of(draft)} in {environment}" if draft.version else f"Track latest in {environment}",
            model=model,
            now=now,
            draft=draft,
            old=now.version,
            new=new,
            changes=_by_weight(_changes(model, now.version, new)),
            form=form,
            is_overtaken=is_overtaken,
        )

    def restore_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Roll back to an earlier pin at once."""
        self._check_may_decide(request)
        earlier = get_object_or_404(Pin.objects.select_related("model", "version", "fallback", "candidate"), pk=pk)
        back = HttpResponseRedirect(_address(earlier.model_id, earlier.environment))
        form = RollbackForm(request.POST)
        if request.method != "POST" or not form.is_valid():
            messages.error(request, "Nothing was rolled back. Press “Roll back to this” in the history once more.")
            return back
        if answering(earlier, earlier.model.versions.answering().first)[0] is None:
            messages.error(
                request, "Nothing was rolled back: the version of that pin is gone, and nothing would answer."
            )
            return back
        newest = Pin.objects.newest(earlier.model, earlier.environment)
        try:
            self._check_is_seen(form.cleaned_data["seen"], newest)
            restored = earlier.restore(by=request.user, reason=form.cleaned_data["reason"], replaces=newest)
            self.log_addition(request, restored, [{"added": {}}])
        except PinChanged:
            messages.error(
                request,
                "Nothing was rolled back: somebody has decided in the meantime. This page shows what counts now.",
            )
        else:
            messages.success(request, f"Rolled back to {version_of(earlier)} in {earlier.environment}.")
        return back

    def _decide(self, request: HttpRequest, decided: Pin, newest: Pin | None, *, seen: int | None, reason: str) -> Pin:
        """Decide as `decided` does in place of the pin that the page showed; raise PinChanged."""
        self._check_is_seen(seen, newest)
        beside = {"comparison": decided.comparison, "moves_conversations": decided.moves_conversations}
        pin = decided.repeat(**beside, replaces=newest, reason=reason, created_by=request.user)
        self.log_addition(request, pin, [{"added": {}}])
        return pin

    @staticmethod
    def _check_is_seen(seen: int | None, newest: Pin | None) -> None:
        if seen != (newest.pk if newest else None):
            raise PinChanged

    # ------------------------------------------------------------ what all pages need

    def _check_may_look(self, request: HttpRequest) -> None:
        if not self.has_view_permission(request):
            raise PermissionDenied

    def _check_may_decide(self, request: HttpRequest) -> None:
        if not self.has_add_permission(request):
            raise PermissionDenied

    def _page(
        self, request: HttpRequest, name: str, *, folder: str = "pin", status: int = 200, **context: Any
    ) -> TemplateResponse:
        context |= self.admin_site.each_context(request)
        context |= {"opts": self.opts, "may_decide": self.has_add_permission(request)}
        return TemplateResponse(request, f"admin/predictions/{folder}/{name}.html", context, status=status)


def _address(model_id: int, environment: str) -> str:
    return reverse("admin:predictions_pin_model", args=[model_id]) + f"?environment={environment}"


def _environments() -> list[tuple[str, bool]]:
    return [(environment, environment == settings.ENVIRONMENT) for environment in Pin.Environment.values]


def _environment(named: str | None, *, or_404: bool = False) -> str:
    if named in Pin.Environment.values:
        return str(named)
    if or_404:
        raise Http404
    known = settings.ENVIRONMENT in Pin.Environment.values
    return str(settings.ENVIRONMENT) if known else Pin.Environment.PRODUCTION.value


def _version(model: Model, named: str | None) -> Version | None:
    """Return the version of `model` that an address names, or None for the latest."""
    if named in {None, "", LATEST}:
        return None
    return get_object_or_404(model.versions, pk=key_in(named))


def _comparison(request: HttpRequest) -> Comparison | None:
    """Return the comparison that an address names as what was looked at before deciding."""
    if not request.user.has_perm("predictions.view_comparison"):
        return None
    return Comparison.objects.filter(pk=key_in(request.GET.get("comparison"))).first()


def _changes(model: Model, old: Version | None, new: Version | None) -> list[Change]:
    if old is None or new is None or old == new:
        return []
    return schema_diff.compare(old.openapi_schema, new.openapi_schema, used=model.default_input)


def _by_weight(changes: list[Change]) -> list[tuple[Weight, str, list[Change]]]:
    grouped = [
        (weight, words, [each for each in changes if each.weight == weight]) for weight, words in WEIGHTS.items()
    ]
    return [group for group in grouped if group[2]]


def _rows(model: Model, versions: Iterable[Version], now: Version | None) -> list[dict[str, Any]]:
    """Each version with what changes from the one that answers now."""
    rows = []
    for version in versions:
        changes = _changes(model, now, version)
        rows.append({
            "version": version,
            "is_newer": now is not None and version.came_at > now.came_at,
            "breaking": sum(change.weight == Weight.BREAKING for change in changes),
            "hits": len({change.input for change in changes if change.hit}),
            "changes": len(changes),
        })  # fmt: skip
    return rows


def _history(model: Model, environment: str, *, before: str | None) -> list[Pin]:
    """The newest decisions and one more, which tells that there are older ones."""
    pins = Pin.objects.filter(model=model, environment=environment)
    if older_than := key_in(before):
        pins = pins.filter(pk__lt=older_than)
    people = ("candidate_group", "created_by", "comparison", "replaces__candidate_group")
    return list(pins.select_related(*people).with_versions("replaces__")[: DECISIONS_SHOWN + 1])


def _entry(pin: Pin, now: Standing) -> dict[str, Any]:
    return {
        "pin": pin,
        "from": version_of(pin.replaces),
        "to": version_of(pin),
        "else": differences(pin.replaces, pin),
        "is_now": pin == now.pin,
        "can_return": pin != now.pin and answering(pin, lambda: now.latest)[0] is not None,
        "reason": _reason_to_restore(pin),
    }


def _reason_to_restore(pin: Pin) -> str:
    return f"Rolled back to the decision of {pin.created_at:%d %b %Y, %H:%M} UTC."
