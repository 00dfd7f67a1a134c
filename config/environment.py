"""What is read from the environment; secrets also from a file that it names (`X_FILE`), or made once."""

import base64
import os
import secrets
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import environ
from django.core.exceptions import ImproperlyConfigured

LARGEST_SECRET = 65_536  # bytes of a mounted file
LOOKS, PAUSE = 200, 0.01  # at a file that another process is making, and seconds between them

KINDS = {int: "a whole number", float: "a number", bool: "true or false", dict: "a list of name=value"}
SWITCHES = {*environ.Env.BOOLEAN_TRUE_STRINGS, "false", "off", "no", "n", "0"}


class Environment(environ.Env):
    """Raises ImproperlyConfigured, in words, where a value is of another kind than is asked for.

    A number or switch that is empty, as files of variables leave it, is not set.
    """

    def get_value(
        self, var: str, cast: Any = None, default: Any = environ.Env.NOTSET, parse_default: Any = False
    ) -> Any:
        value = self.ENVIRON.get(var, "").strip()
        if cast in KINDS and not value:
            return default
        try:
            if cast is bool and value.lower() not in SWITCHES:
                raise ValueError
            return super().get_value(var, cast, default, parse_default)
        except ValueError as error:
            raise ImproperlyConfigured(f"{var} is {value!r}; it must be {KINDS[cast]}.") from error


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


def make_folder(path: Path, variable: str) -> None:
    """Have a folder that only its owner may look into, if there is none; raise ImproperlyConfigured."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ImproperlyConfigured(
            f"{variable} is {path}, which cannot be made: {error.strerror}. Name another folder, or run this under the "
            "account that Parley runs under."
        ) from error


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
    except OSError as error:
        raise _not_ours(path, error) from error
    with os.fdopen(descriptor, "w") as file:
        text = make()
        file.write(text)
    return text


def _written(path: Path) -> str:
    """Return what is in the file, for which another process that starts at this moment needs an instant."""
    try:
        for _ in range(LOOKS):
            if text := path.read_text().strip():
                return text
            time.sleep(PAUSE)
    except OSError as error:
        raise _not_ours(path, error) from error
    raise ImproperlyConfigured(
        f"{path} is empty: it was being made when the machine stopped. Delete it and start again."
    )


def _not_ours(path: Path, error: OSError) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"{path} cannot be used: {error.strerror}. Run this under the account that Parley runs under."
    )
