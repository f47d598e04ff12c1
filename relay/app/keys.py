"""The signing key: from the configuration, or made at the first start and kept beside the store.

The file ``signing.key`` holds the key in its first line and may hold the former one in its second, so that keys rotate without the
configuration: put the new one above the old one and send SIGHUP. Mode 0600; whoever reads it can sign tokens.
"""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path

from relay.core.tokens import Signer
from relay.errors import RelayError
from relay.settings import Settings
from relay.store.postgres import is_postgres
from relay.store.sqlite import path_of

NAME = "signing.key"


def data_directory(settings: Settings) -> Path:
    """Where files go that belong to the store: the configured place, else beside the SQLite file."""
    store = settings.store
    if store.directory or is_postgres(store.url):
        return Path(store.directory)
    return path_of(store.url).parent


def signing_keys(settings: Settings) -> tuple[str, str]:
    """The key and the former key; makes the file when there is neither key nor file."""
    if settings.auth.signing_key:
        return settings.auth.signing_key, settings.auth.signing_key_old
    path = data_directory(settings) / NAME
    try:
        lines = _lines(path) or _make(path)
    except OSError as problem:
        raise RelayError(f"the signing key {path} cannot be used: {problem.strerror}") from None
    return lines[0], lines[1] if len(lines) > 1 else ""


def signer(settings: Settings) -> Signer:
    """What makes and checks tokens under these settings."""
    key, old = signing_keys(settings)
    return Signer(key, old, settings.auth.leeway_s)


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return []


def _make(path: Path) -> list[str]:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, fresh = tempfile.mkstemp(prefix=NAME, dir=path.parent)  # 0600
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
        # whole or not at all; a relay and a command that start at once agree on the one that was first
        try:
            os.link(fresh, path)
        except FileExistsError:
            pass
    finally:
        os.unlink(fresh)
    return _lines(path)
