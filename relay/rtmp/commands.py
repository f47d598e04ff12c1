"""Commands and status messages (RTMP 1.0, 7.2): AMF0 values in messages of type 20, or of type 17 with one byte before them.

::

    command   name, transaction id, object or null, arguments…
    onStatus  name, 0, null, {level: "status" | "error", code: "NetStream.…", description: "…"}
"""

from __future__ import annotations

from typing import NamedTuple

from relay.errors import DecodeError
from relay.mux import amf0
from relay.rtmp.chunks import CHUNK_DEFAULT, COMMAND_AMF3, COMMAND_CSID, DATA, DATA_CSID, Message, write_message
from relay.rtmp.chunks import COMMAND as COMMAND_TYPE

ARGUMENTS_MAX = 32  #: no command has more than five


class Command(NamedTuple):
    """One command of the peer."""

    name: str
    transaction: float  #: 0 = no answer is wanted
    properties: object  #: the command object: a dict, or None
    arguments: list[object]
    stream: int  #: message stream id

    def text(self, at: int) -> str:
        """An argument that is to be a text; ``""`` when it is not there or something else."""
        value = self.arguments[at] if at < len(self.arguments) else None
        return value if isinstance(value, str) else ""

    def number(self, at: int, default: float) -> float:
        """An argument that is to be a number."""
        value = self.arguments[at] if at < len(self.arguments) else None
        return value if isinstance(value, float) and value == value else default

    def word(self, key: str) -> str:
        """A text of the command object."""
        value = self.properties.get(key) if isinstance(self.properties, dict) else None
        return value if isinstance(value, str) else ""


def read_command(message: Message) -> Command:
    """The command in a message of type 20 or 17; DecodeError when there is none."""
    start = 1 if message.type == COMMAND_AMF3 and message.body[:1] == b"\x00" else 0
    reader = amf0.Reader(message.body, start)
    name = reader.value()
    if not isinstance(name, str):
        raise DecodeError("RTMP command", 0, "begins with no name")
    number = reader.value() if reader.left else 0.0
    values: list[object] = []
    while reader.left and len(values) < ARGUMENTS_MAX:
        values.append(reader.value())
    transaction = number if isinstance(number, float) and number == number else 0.0
    return Command(name, transaction, values[0] if values else None, values[1:], message.stream)


def command(name: str, transaction: float, *values: object, stream: int = 0, chunk_size: int = CHUNK_DEFAULT) -> bytes:
    """A command, as chunks."""
    body = b"".join(map(amf0.encode, (name, transaction, *values)))
    return write_message(COMMAND_CSID, COMMAND_TYPE, stream, 0, body, chunk_size)


def status(level: str, code: str, description: str, stream: int, chunk_size: int = CHUNK_DEFAULT) -> bytes:
    """``onStatus`` of a message stream."""
    information = {"level": level, "code": code, "description": description}
    return command("onStatus", 0, None, information, stream=stream, chunk_size=chunk_size)


def data(stream: int, *values: object, chunk_size: int = CHUNK_DEFAULT) -> bytes:
    """A data message, as chunks."""
    return write_message(DATA_CSID, DATA, stream, 0, b"".join(map(amf0.encode, values)), chunk_size)


def information(values: list[object]) -> tuple[str, str, str]:
    """(level, code, description) of an answer: from the last object among the values."""
    for value in reversed(values):
        if isinstance(value, dict):
            words = (value.get("level"), value.get("code"), value.get("description"))
            return tuple(word if isinstance(word, str) else "" for word in words)  # type: ignore[return-value]
    return "", "", ""
