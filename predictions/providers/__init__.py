"""One module per kind of host, behind the interface in `base`."""

from django.conf import settings
from django.views.decorators.debug import sensitive_variables

from predictions.budget import ReadBudget
from predictions.encryption import NotDecrypted
from predictions.models import Provider as ProviderRow
from predictions.providers.base import Provider
from predictions.providers.cog import CogProvider
from predictions.providers.http import HostClient
from predictions.providers.replicate import ReplicateProvider

__all__ = ["Provider", "connect", "connect_to_replicate"]

NOT_ENTERED = (
    "Parley has no API token for {provider}. An admin can enter one at the provider, or whoever hosts Parley set "
    "REPLICATE_API_TOKEN."
)
NOT_READ = "The API token for {provider} cannot be read. {reason} An admin can enter it again at the provider."


def connect(row: ProviderRow) -> Provider:
    """Make the provider that a row of the catalogue describes; close it when done."""
    if row.kind == ProviderRow.Kind.REPLICATE:
        return connect_to_replicate(row)
    return CogProvider(HostClient(row.base_url))


@sensitive_variables()
def connect_to_replicate(row: ProviderRow) -> ReplicateProvider:
    """Make the provider that `row` describes, which is of Replicate's kind; without a token it refuses in words."""
    token, refusal = "", ""
    try:
        token = row.token
        refusal = "" if token else NOT_ENTERED.format(provider=row)
    except NotDecrypted as error:
        refusal = NOT_READ.format(provider=row, reason=error)
    client = HostClient(
        row.base_url,
        headers={"Authorization": f"Bearer {token}"},
        refusal=refusal,
        # A token that was entered for another address goes nowhere else.
        stream_hosts=settings.REPLICATE_STREAM_HOSTS if row.is_replicate_itself else (),
        file_hosts=settings.REPLICATE_FILE_HOSTS if row.is_replicate_itself else (),
    )
    return ReplicateProvider(client, ReadBudget(row))
