"""The exceptions of the project.

``ProtocolError``: the peer did it; the frame, message or link it names is dropped and counted, never a traceback.
``UsageError``: our own code did it; never caught, it is a bug.
``ConfigError``: the operator did it; carries the key so that every fault of a file can be told at once.
``StateError``: what a former process left is damaged or another version's; it is left aside, and said so.
"""

from __future__ import annotations


class RelayError(Exception):
    """Base of all errors of the project."""


class ProtocolError(RelayError):
    """The peer broke the protocol."""


class FrameError(ProtocolError):
    """A frame that cannot be taken apart; ``reason`` is one of the words of the vectors (escape, checksum, length, ...)."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


class DecodeError(ProtocolError):
    """A body whose field cannot be read: message, field and offset are named."""

    def __init__(self, where: str, offset: int, problem: str) -> None:
        super().__init__(f"{where} at offset {offset}: {problem}")
        self.where = where
        self.offset = offset
        self.problem = problem


class SequenceError(ProtocolError):
    """A well-formed message that does not belong in the present state."""


class UsageError(RelayError):
    """Our own code asked for something impossible (a value that does not fit its field, a call in the wrong state)."""


class ConfigError(RelayError):
    """One fault of the configuration; ``path`` is the key, dotted: ``media.live_tcp_port``."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


class StateError(RelayError):
    """What a former process left cannot be taken over; ``where`` is the place in it."""

    def __init__(self, where: str, message: str) -> None:
        super().__init__(f"{where}: {message}")
        self.where = where
        self.message = message
