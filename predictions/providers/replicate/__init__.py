"""Replicate's predictions API: `provider` leads in, `stream` reads its events, `reading` its JSON, `words` its errors.

`catalogue` looks things up: models, versions, deployments, collections, the account.
"""

from predictions.providers.replicate.catalogue import ReplicateCatalogue
from predictions.providers.replicate.provider import ReplicateProvider

__all__ = ["ReplicateCatalogue", "ReplicateProvider"]
