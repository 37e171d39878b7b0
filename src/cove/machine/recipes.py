# SPDX-License-Identifier: Apache-2.0
"""Read the YAML that an image is built of: files, stdin, pages of the web."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import urlparse

from cove.errors import NetworkError, NotFoundError, OfflineError, StorageError, UsageError
from cove.units import MIB

STDIN = "-"
LARGEST = 16 * MIB
"""Bytes of a page above which it is no recipe."""

_SCHEMES = ("http://", "https://")
_DEFAULT_NAME = "moby"
_PATIENCE = 30.0


def is_url(name: str) -> bool:
    """Whether a recipe's name is an address."""
    return name.startswith(_SCHEMES)


def default_name(name: str) -> str:
    """The name of what is built from a recipe, as LinuxKit has it."""
    if name == STDIN:
        return _DEFAULT_NAME
    return Path(urlparse(name).path if is_url(name) else name).stem or _DEFAULT_NAME


def read_recipe(name: str, *, offline: bool = False) -> str:
    """The text of a recipe.

    Args:
        name: a file, :data:`STDIN`, or an address with http or https.
        offline: whether fetching is forbidden.

    Raises:
        NotFoundError: there is no such file.
        OfflineError: it would have to be fetched.
        NetworkError: it cannot be fetched.
        UsageError: it is no text.
        StorageError: it cannot be read.
    """
    if is_url(name) and offline:
        raise OfflineError(f"{name} would have to be fetched")
    try:
        if is_url(name):
            return _fetched(name).decode()
        return (sys.stdin.buffer.read() if name == STDIN else Path(name).read_bytes()).decode()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(f"there is no file {name}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8 text", details=str(error)) from error
    except OSError as error:
        raise StorageError(f"{name} cannot be read: {error.strerror}") from error


def _fetched(url: str) -> bytes:
    import requests

    try:
        with requests.get(url, timeout=_PATIENCE, stream=True) as answer:
            answer.raise_for_status()
            data = b""
            for chunk in answer.iter_content(65536):
                data += chunk
                if len(data) > LARGEST:
                    raise UsageError(f"{url} is too large for a recipe", details=f"more than {LARGEST} bytes")
            return data
    except requests.RequestException as error:
        raise NetworkError(f"{url} cannot be fetched", details=str(error)) from error
