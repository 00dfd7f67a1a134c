"""Encrypt all that the database keeps encrypted with the first key, so that the others may go."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.views.decorators.debug import sensitive_variables

from chat.people import second_factors
from predictions.encryption import NotDecrypted
from predictions.models import Condition, Provider


class Command(BaseCommand):
    help = (
        "Encrypt stored tokens and second factors anew with the first key of PARLEY_ENCRYPTION_KEY. Put the new key "
        "first and leave the old one behind it, restart all processes, run this, then take the old key away."
    )

    def handle(self, **options: Any) -> None:
        rows = list(Provider.objects.exclude(encrypted_token=""))
        problems = [problem for row in rows if (problem := rotate(row))]
        problems += second_factors.rotate()
        for condition in Condition.objects.exclude(webhook_secrets=[]):
            rotate_webhook_secrets(condition)
        for problem in problems:
            self.stdout.write(f"✗ {problem}")
        if problems:
            raise CommandError(
                "What is marked with ✗ is as it was. In the admin, enter those tokens again, remove those factors."
            )
        self.stdout.write(f"{len(rows)} token{'' if len(rows) == 1 else 's'} encrypted with the first key.")


def rotate_webhook_secrets(condition: Condition) -> None:
    """Encrypt what the host signs with anew; what cannot be read is asked for again."""
    before = condition.webhook_secrets
    condition.keep_secrets(condition.secrets)
    unchanged = Condition.objects.filter(pk=condition.pk, webhook_secrets=before)
    read_at = condition.secrets_read_at if condition.webhook_secrets else None
    unchanged.update(webhook_secrets=condition.webhook_secrets, secrets_read_at=read_at)


@sensitive_variables()
def rotate(row: Provider) -> str | None:
    """Encrypt the token of `row` anew; return what keeps it from that."""
    before = row.encrypted_token
    try:
        row.keep_token(row.own_token)
    except NotDecrypted as error:
        return f"{row}: its token cannot be read. {error}"
    # Who enters another one meanwhile is not to lose it.
    Provider.objects.filter(pk=row.pk, encrypted_token=before).update(encrypted_token=row.encrypted_token)
    return None
