"""Mail to people. It goes out beside the request: how long an answer takes must not tell whether there was any."""

import logging
import smtplib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.conf import settings
from django.core.mail import send_mail
from django.http import HttpRequest
from django.template.loader import render_to_string

logger = logging.getLogger(__name__)

_post = ThreadPoolExecutor(1, thread_name_prefix="mail")


def has_mail() -> bool:
    return bool(settings.EMAIL_URL)


def absolute(request: HttpRequest, path: str) -> str:
    """Return an address of this site as it is read elsewhere."""
    return f"{settings.PUBLIC_URL}{path}" if settings.PUBLIC_URL else request.build_absolute_uri(path)


def send(template: str, to: str, **context: Any) -> None:
    """Send what `people/mail/{template}.txt` says, whose first line is the subject."""
    subject, _, text = render_to_string(f"people/mail/{template}.txt", context).strip().partition("\n")
    _post.submit(_deliver, subject, text.strip() + "\n", to)


def _deliver(subject: str, text: str, to: str) -> None:
    try:
        send_mail(f"[Parley] {subject}", text, None, [to])
    except (OSError, smtplib.SMTPException) as error:
        logger.error("A message could not be sent: %s", type(error).__name__)  # its text may have the address
