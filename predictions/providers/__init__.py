"""One module per kind of host, behind the interface in `base`."""

from django.conf import settings

from predictions.budget import ReadBudget
from predictions.models import Provider as ProviderRow
from predictions.providers.base import Provider
from predictions.providers.cog import CogProvider
from predictions.providers.http import HostClient
from predictions.providers.replicate import ReplicateProvider

__all__ = ["Provider", "connect", "connect_to_replicate"]


def connect(row: ProviderRow) -> Provider:
    """Make the provider that a row of the catalogue describes; close it when done."""
    if row.kind == ProviderRow.Kind.REPLICATE:
        return connect_to_replicate(row)
    return CogProvider(HostClient(row.base_url))


def connect_to_replicate(row: ProviderRow) -> ReplicateProvider:
    """Make the provider that `row` describes, which is of Replicate's kind."""
    client = HostClient(
        row.base_url,
        headers={"Authorization": f"Bearer {settings.REPLICATE_API_TOKEN}"},
        stream_hosts=settings.REPLICATE_STREAM_HOSTS,
        file_hosts=settings.REPLICATE_FILE_HOSTS,
    )
    return ReplicateProvider(client, ReadBudget(row))
