"""Prompts that are kept, and versions side by side, before one of them is promoted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.core.exceptions import PermissionDenied
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html_join
from django.views.decorators.http import require_POST

from predictions import comparisons
from predictions.admin.addresses import key_in
from predictions.admin.comparison_forms import ComparisonForm, SavedPromptForm, VerdictForm
from predictions.models import Case, Comparison, Model, Pin, SavedPrompt, Trial
from predictions.pins import NothingAnswers
from predictions.prompts import Turn
from predictions.receipts import Words, compare_words

NOBODY = "somebody who is gone"


@admin.register(SavedPrompt)
class SavedPromptAdmin(admin.ModelAdmin):
    form = SavedPromptForm
    list_display = ("title", "length", "created_by", "created_at")
    list_select_related = ("created_by",)
    search_fields = ("title",)
    actions = ("compare",)

    def save_model(self, request: HttpRequest, obj: SavedPrompt, form: Any, change: bool) -> None:
        if not change:
            obj.created_by = request.user  # type: ignore[assignment]  # a User: nobody else gets here
        super().save_model(request, obj, form, change)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        prompt = self.get_object(request, object_id)
        earlier: list[Turn] = prompt.as_turns[:-1] if prompt else []
        return super().change_view(request, object_id, form_url, {"earlier": earlier, **(extra_context or {})})

    @admin.display(description="said before the question")
    def length(self, prompt: SavedPrompt) -> str:
        before = len(prompt.turns) - 1
        return {0: "nothing", 1: "one message"}.get(before, f"{before} messages")

    @admin.action(description="Run on several versions", permissions=["view"])
    def compare(self, request: HttpRequest, prompts: QuerySet[SavedPrompt]) -> HttpResponse:
        chosen = "&".join(f"prompts={prompt.pk}" for prompt in prompts[: comparisons.MOST_TRIALS])
        return HttpResponseRedirect(reverse("admin:predictions_comparison_add") + f"?{chosen}")


class ComparisonList(ChangeList):
    """A page of comparisons, each with what came of it."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        shown = [comparison.pk for comparison in self.result_list]
        trials: dict[int, list[Trial]] = {}
        rows = Trial.objects.filter(case__comparison__in=shown).select_related("case", "version__model")
        for trial in rows.defer("version__openapi_schema", "case__turns").order_by("case__position", "pk"):
            assert trial.case is not None  # noqa: S101 - it was looked up by it
            trials.setdefault(trial.case.comparison_id, []).append(trial)
        for comparison in self.result_list:
            comparison.tallies = comparisons.tallies(trials.get(comparison.pk, []))


@dataclass(frozen=True, slots=True)
class Cell:
    """An answer beside the first version's to the same prompt."""

    trial: Trial
    is_first: bool
    words: Sequence[Words] | None = None  # its text in pieces that the other one has or has not


@admin.register(Comparison)
class ComparisonAdmin(admin.ModelAdmin):
    list_display = ("__str__", "contestants", "prompts", "verdicts", "created_by", "created_at")
    list_select_related = ("created_by",)

    def get_changelist(self, request: HttpRequest, **options: Any) -> type[ChangeList]:
        return ComparisonList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Comparison]:
        counted: QuerySet[Comparison] = super().get_queryset(request).annotate(case_count=Count("cases"))
        return counted

    def get_urls(self) -> list[URLPattern]:
        ours = self.admin_site.admin_view
        return [
            path("trial/<int:pk>/judge/", ours(self.judge_view), name="predictions_comparison_judge"),
            path("<int:pk>/stop/", ours(self.stop_view), name="predictions_comparison_stop"),
            path("<int:pk>/again/", ours(self.again_view), name="predictions_comparison_again"),
            *super().get_urls(),
        ]

    # ------------------------------------------------------------ the list

    @admin.display(description="versions")
    def contestants(self, comparison: Comparison) -> str:
        tallies: list[comparisons.Tally] = comparison.tallies  # type: ignore[attr-defined]  # `ComparisonList` puts it there
        told = ((tally.version.model.name, tally.version.short) for tally in tallies)
        return format_html_join(" · ", "{} <code>{}</code>", told)

    @admin.display(description="prompts", ordering="case_count")
    def prompts(self, comparison: Comparison) -> int:
        return int(comparison.case_count)  # type: ignore[attr-defined]  # annotated

    @admin.display(description="verdicts")
    def verdicts(self, comparison: Comparison) -> str:
        tallies: list[comparisons.Tally] = comparison.tallies  # type: ignore[attr-defined]
        told = ((tally.version.short, tally.in_words) for tally in tallies[1:] if tally.in_words)
        return format_html_join(", ", "<code>{}</code> {}", told) or "none yet"

    # ------------------------------------------------------------ a new one

    def add_view(self, request: HttpRequest, form_url: str = "", extra_context: Any = None) -> HttpResponse:
        """Choose prompts and versions; `?model=` is whose versions are offered, `?version=` which one is tried."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        model = _model(request.GET.get("model", ""))
        initial = {
            "prompts": request.GET.getlist("prompts"),
            "version_0": request.GET.get("against"),
            "version_1": request.GET.get("version"),
        }
        form = ComparisonForm(request.POST or None, model=model, initial=initial)
        if request.method == "POST" and form.is_valid():
            try:
                comparison = comparisons.begin(
                    form.chosen_prompts(user=request.user), form.chosen_versions(), user=request.user
                )
            except NothingAnswers as error:
                form.add_error(None, str(error))
            else:
                self.log_addition(request, comparison, [{"added": {}}])
                return HttpResponseRedirect(_address(comparison.pk))
        return self._page(
            request,
            "add",
            title=f"Compare versions of {model}" if model else "Compare versions",
            form=form,
            model=model,
            models=[] if model else list(Model.objects.available()[:50]),
            status=422 if form.is_bound else 200,
        )

    @method_decorator(require_POST)
    def again_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Run the same prompts on the same versions once more."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        before = get_object_or_404(Comparison, pk=pk)
        versions = before.versions
        if any(not version.answers for version in versions):
            messages.error(request, "Nothing was run: one of these versions is gone at its host.")
            return HttpResponseRedirect(_address(pk))
        try:
            comparison = comparisons.begin(list(before.cases.all()), versions, user=request.user)
        except NothingAnswers as error:
            messages.error(request, f"Nothing was run. {error}")
            return HttpResponseRedirect(_address(pk))
        self.log_addition(request, comparison, [{"added": {}}])
        return HttpResponseRedirect(_address(comparison.pk))

    # ------------------------------------------------------------ what came of it

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """Show the answers side by side, so far or whole, or with `?show=differences` what differs."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        comparison = get_object_or_404(Comparison.objects.select_related("created_by"), pk=key_in(object_id))
        trials = list(comparisons.trials_of(comparison))
        with_words = request.GET.get("show") == "differences"
        return self._page(
            request,
            "detail",
            title=str(comparison),
            comparison=comparison,
            results=comparisons.results(trials),
            rows=[(case, _cells(of_case, with_words=with_words)) for case, of_case in _by_case(trials)],
            is_running=any(trial.prediction and not trial.prediction.is_terminal for trial in trials),
            with_words=with_words,
            verdicts=Trial.Verdict.choices,
            environments=Pin.Environment.values,
            may_judge=self.has_change_permission(request),
            may_run=self.has_add_permission(request),
            may_decide=request.user.has_perm("predictions.add_pin"),
        )

    @method_decorator(require_POST)
    def judge_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Note how an answer is against the first version's."""
        if not self.has_change_permission(request):
            raise PermissionDenied
        trial = get_object_or_404(Trial.objects.select_related("case").exclude(case=None), pk=pk)
        assert trial.case is not None  # noqa: S101 - it was looked up by it
        form = VerdictForm(request.POST, instance=trial)
        if form.is_valid():
            trial.judged_by, trial.judged_at = request.user, timezone.now()  # type: ignore[assignment]
            form.save()
        if request.headers.get("Accept", "").startswith("application/json"):
            return JsonResponse({"errors": form.errors}, status=200 if form.is_valid() else 422)
        if not form.is_valid():
            messages.error(
                request, "The verdict was not kept: " + " ".join(map(str, form.errors.get("note", ["it is none."])))
            )
        return HttpResponseRedirect(_address(trial.case.comparison_id) + f"#trial-{trial.pk}")

    @method_decorator(require_POST)
    def stop_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Stop the answers that are still being written."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        comparisons.stop(get_object_or_404(Comparison, pk=pk))
        return HttpResponseRedirect(_address(pk))

    def _page(self, request: HttpRequest, name: str, *, status: int = 200, **context: Any) -> TemplateResponse:
        context |= self.admin_site.each_context(request) | {"opts": self.opts}
        return TemplateResponse(request, f"admin/predictions/comparison/{name}.html", context, status=status)


def _address(pk: int) -> str:
    return reverse("admin:predictions_comparison_change", args=[pk])


def _model(named: str) -> Model | None:
    return Model.objects.filter(pk=key_in(named)).first()


def _by_case(trials: Sequence[Trial]) -> list[tuple[Case, list[Trial]]]:
    rows: dict[Case, list[Trial]] = {}
    for trial in trials:
        assert trial.case is not None  # noqa: S101 - those of a comparison have one
        rows.setdefault(trial.case, []).append(trial)
    return list(rows.items())


def _cells(trials: Sequence[Trial], *, with_words: bool) -> list[Cell]:
    first, *others = trials
    cells = [Cell(first, is_first=True)]
    for trial in others:
        is_shown = with_words and all(each.prediction and each.prediction.is_terminal for each in (first, trial))
        cells.append(Cell(trial, is_first=False, words=_words(first, trial) if is_shown else None))
    return cells


def _words(first: Trial, other: Trial) -> list[Words]:
    texts = [trial.prediction.output if trial.prediction else "" for trial in (first, other)]
    return compare_words(*texts)[1]
