"""One module per kind of host, behind the interface in `base`."""

from django.conf import settings

from predictions.models import Provider as ProviderRow
from predictions.providers.base import Provider
from predictions.providers.cog import CogProvider
from predictions.providers.http import HostClient
from predictions.providers.replicate import ReplicateProvider

__all__ = ["Provider", "connect"]


def connect(row: ProviderRow) -> Provider:
    """Make the provider that a row of the catalogue describes; close it when done."""
    if row.kind == ProviderRow.Kind.REPLICATE:
        return ReplicateProvider(
            HostClient(
                row.base_url,
                headers={"Authorization": f"Bearer {settings.REPLICATE_API_TOKEN}"},
                stream_hosts=settings.REPLICATE_STREAM_HOSTS,
            )
        )
    return CogProvider(HostClient(row.base_url))
