"""The fixtures of the end-to-end tests."""

from tests.e2e.support import relay

__all__ = ["relay"]
