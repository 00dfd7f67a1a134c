"""Secrets: from the environment, from a file that it names (`X_FILE`, as orchestrators mount them), or made once."""

import base64
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

LARGEST_SECRET = 65_536  # bytes of a mounted file
LOOKS, PAUSE = 200, 0.01  # at a file that another process is making, and seconds between them


def secret(name: str, environment: Mapping[str, str] = os.environ) -> str:
    """Return the secret `name`, or what the file holds that `name`_FILE names; "" if there is neither."""
    value, path = environment.get(name, ""), environment.get(f"{name}_FILE", "")
    if value and path:
        raise ImproperlyConfigured(f"{name} and {name}_FILE are both set, and one of them would be ignored. Unset one.")
    return _content(f"{name}_FILE", Path(path)) if path else value


def _content(variable: str, path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST_SECRET + 1)
        text = content.decode().strip()
    except OSError as error:
        raise ImproperlyConfigured(f"{variable} names {path}, which cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise ImproperlyConfigured(f"{variable} names {path}, which is not a text.") from error
    if not text or len(content) > LARGEST_SECRET:
        state = "longer than any secret" if text else "empty"
        raise ImproperlyConfigured(f"{variable} names {path}, which is {state}.")
    return text


def make_secret() -> str:
    return secrets.token_urlsafe(48)


def make_key() -> str:
    """Return a new key as `cryptography.fernet` takes it, without the time it takes to import that."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def read_or_make(path: Path, make: Callable[[], str] = make_secret) -> str:
    """Return the secret kept in `path`; make one on the first start, readable by its owner alone."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return _written(path)
    with os.fdopen(descriptor, "w") as file:
        text = make()
        file.write(text)
    return text


def _written(path: Path) -> str:
    """Return what is in the file, for which another process that starts at this moment needs an instant."""
    for _ in range(LOOKS):
        if text := path.read_text().strip():
            return text
        time.sleep(PAUSE)
    raise ImproperlyConfigured(
        f"{path} is empty: it was being made when the machine stopped. Delete it and start again."
    )
