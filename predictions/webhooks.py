"""Webhooks: a host's signed word that something happened. It makes the worker look, and changes nothing itself.

Replicate signs after https://www.standardwebhooks.com: HMAC-SHA256 over `id.timestamp.body`, several signatures during
a rotation, five minutes of tolerance. Each prediction has an address of its own that nobody can guess.
"""

import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.crypto import constant_time_compare, salted_hmac
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook, WebhookVerificationError

from predictions.bus import bus
from predictions.models import Condition, Prediction, WebhookDelivery

ID, TIMESTAMP, SIGNATURE = "webhook-id", "webhook-timestamp", "webhook-signature"
GOOD_SIGNATURE = re.compile(r"v1,[A-Za-z0-9+/]+={0,2}")
ID_LENGTH = 200  # characters of a delivery's or a prediction's id


def address_for(prediction: Prediction) -> str:
    """Return the address that `prediction`'s webhook goes to; "" where hosts cannot reach this site."""
    public_url: str = settings.PUBLIC_URL
    if not public_url:
        return ""
    return public_url + reverse("webhook", args=[prediction.pk, _token(prediction.pk)])


def is_token_of(prediction_id: Any, token: str) -> bool:  # a UUID
    return constant_time_compare(_token(prediction_id), token)


def is_genuine(condition: Condition, body: bytes, headers: Mapping[str, str]) -> bool:
    """Whether a delivery was signed, within five minutes of now, with a secret that the host has told."""
    # The library stops at the first signature that is not `version,base64`, even where a good one follows.
    signatures = [part for part in headers.get(SIGNATURE, "").split() if GOOD_SIGNATURE.fullmatch(part)]
    signed = {ID: headers.get(ID, ""), TIMESTAMP: headers.get(TIMESTAMP, ""), SIGNATURE: " ".join(signatures)}
    for secret in condition.secrets:
        try:
            Webhook(secret).verify(body, signed, json_parse=False)
        except (WebhookVerificationError, EmptyWebhookSecretError, ValueError):
            continue
        return True
    return False


@transaction.atomic
def take_in(prediction: Prediction, delivery_id: str, provider_id: str) -> None:
    """Have `prediction` looked at by whoever runs it; the same delivery again changes nothing."""
    _, is_new = WebhookDelivery.objects.get_or_create(
        delivery_id=delivery_id[:ID_LENGTH], defaults={"prediction": prediction}
    )
    if not is_new or prediction.is_terminal:
        return
    # Perhaps the answer to the create has not arrived yet, or never will.
    unknown = Prediction.objects.filter(pk=prediction.pk, provider_id="")
    unknown.update(hinted_id=provider_id[:ID_LENGTH])
    transaction.on_commit(lambda: bus.publish(("work", {"look": str(prediction.pk)})))


def _token(prediction_id: Any) -> str:  # a UUID
    return salted_hmac("predictions.webhooks", str(prediction_id), algorithm="sha256").hexdigest()[:43]
