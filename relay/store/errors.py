"""What can go wrong with the store."""

from __future__ import annotations

from relay.errors import RelayError


class StoreError(RelayError):
    """The store cannot do it: file not writable, disk full, locked too long, damaged, made by a newer version."""


class StoreConflictError(RelayError):
    """The row is there already, or its alias belongs to another."""
