"""Providers, models and versions in the admin."""

from django.contrib import admin
from django.utils import timezone

from predictions.admin.read_only import ReadOnlyAdmin
from predictions.models import Model, Provider, Version


@admin.register(Provider)
class ProviderAdmin(admin.ModelAdmin):
    list_display = ("name", "kind", "base_url", "concurrency", "enabled", "state")
    list_select_related = ("condition",)

    @admin.display(description="how it is")
    def state(self, provider: Provider) -> str:
        """Its trouble, and since when; it ends by itself with the first question that the host takes."""
        condition = getattr(provider, "condition", None)
        if condition is None or not condition.trouble:
            return "well"
        since = timezone.localtime(condition.trouble_since)
        return f"{condition.trouble} (since {since:%d %b, %H:%M})"


@admin.register(Model)
class ModelAdmin(admin.ModelAdmin):
    list_display = ("name", "ref", "provider", "order", "enabled")
    list_editable = ("order", "enabled")
    list_filter = ("provider", "enabled")
    list_select_related = ("provider",)
    search_fields = ("name", "ref")
    readonly_fields = ("is_official",)
    prepopulated_fields = {"slug": ("name",)}


@admin.register(Version)
class VersionAdmin(ReadOnlyAdmin):
    list_display = ("model", "identifier", "created_at")
    list_select_related = ("model",)
    list_filter = ("model",)
