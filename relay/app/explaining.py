"""How messages are shown to people who look (``relay.core.inspector``): as ``jt1078relay decode`` shows them, without their secrets.

What a declaration calls secret (authentication codes, passwords) is starred in its row, and its bytes are in the raw hex too. Of media packets the head is
shown and the first bytes of what they carry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from relay.cli import dump_jt808, dump_jt809, dump_jt1078
from relay.cli.dump_table import InputError, row_fields
from relay.errors import FrameError, RelayError
from relay.jt808 import framing as framing808
from relay.jt808.messages import MESSAGES as MESSAGES_808
from relay.jt808.params import PARAMETERS
from relay.jt809 import framing as framing809
from relay.jt809.cipher import CipherKeys
from relay.jt809.messages import MESSAGES as MESSAGES_809
from relay.jt1078.packet import parse_packet
from relay.wire import Row

STARS = "***"
_BODY_SHOWN = 64  #: bytes of a media packet's body
_HEX_SHOWN = 4096  #: of a frame; photos and catalogues are longer


def _secret_fields(classes: Iterable[Any]) -> frozenset[str]:
    return frozenset(name for cls in classes for name, info in cls.wire_fields.items() if info.secret)


_NAMES = _secret_fields([*MESSAGES_808, *MESSAGES_809])
_PARAMETERS = frozenset(cls.LABEL for cls in PARAMETERS.classes.values() if any(info.secret for info in cls.wire_fields.values()))


def is_secret(row: Row) -> bool:
    """Whether a row's value is nobody's business."""
    name = row.name.rpartition(".")[2]
    return name in _NAMES or (name == "value" and row.label in _PARAMETERS)


class Explainer:
    """Callable as the inspector wants it. ``keys_of``: the cipher constants of a superior, by name."""

    def __init__(self, keys_of: Callable[[str], CipherKeys | None] = lambda name: None) -> None:
        self._keys_of = keys_of

    def __call__(self, protocol: str, frame: bytes, subject: str) -> dict[str, Any]:
        try:
            if protocol == "jt1078":
                return self._packet(frame)
            return self._message(protocol, frame, subject)
        except (RelayError, InputError) as problem:
            return {"message": {"id": "", "name": "", "english": ""}, "rows": [], "problem": str(problem), "raw": frame[:_HEX_SHOWN].hex()}

    def _message(self, protocol: str, frame: bytes, subject: str) -> dict[str, Any]:
        if protocol == "jt808":
            one: Any = dump_jt808.explain(frame)[0]
            content = _content(framing808.unescape, frame[1:-1])
        else:
            one = dump_jt809.explain(frame, keys=self._keys_of(subject.removeprefix("superior:")))[0]
            content = _content(framing809.unescape, frame[1:-1])
        told = one.as_json()
        message = told.get("message", {"id": "", "name": "", "english": ""})
        message = {**message, **message.pop("sub", {})}
        hidden = [(row.offset, row.offset + len(row.data)) for row in one.rows if is_secret(row)]
        rows = []
        for row in one.rows:
            shown = row_fields(row)
            if any(begin < row.offset + len(row.data) and row.offset < end for begin, end in hidden):
                shown["bytes"] = ""
                if is_secret(row) or row.kind != "group":
                    shown["value"] = shown["meaning"] = STARS
            rows.append(shown)
        return {"message": message, "rows": rows, "notes": one.notes, "problem": one.problem, "raw": _hex(content[:_HEX_SHOWN], hidden)}

    def _packet(self, frame: bytes) -> dict[str, Any]:
        packet = parse_packet(frame)
        if packet is None:
            raise InputError("an unfinished packet")
        rows = [row_fields(row) for row in dump_jt1078.packet_rows(packet)]
        body = rows[-1]
        body["bytes"] = body["value"] = packet.body[:_BODY_SHOWN].hex()
        if packet.body_len > _BODY_SHOWN:
            body["meaning"] = f"the first {_BODY_SHOWN} of {packet.body_len} bytes"
        kind = next(row["meaning"] for row in rows if row["name"] == "data_type subpackage")
        head = len(frame) - packet.body_len
        which = f"{packet.channel}, packet {packet.seq}, {kind}"
        message = {"id": f"CH{packet.channel}", "name": f"通道 {packet.channel}，包序号 {packet.seq}，{kind}", "english": f"channel {which}"}
        return {"message": message, "rows": rows, "notes": [], "problem": "", "raw": frame[: head + _BODY_SHOWN].hex()}


def _content(unescape: Callable[[bytes], bytes], piece: bytes) -> bytes:
    try:
        return unescape(piece)
    except FrameError:
        return piece


def _hex(content: bytes, hidden: list[tuple[int, int]]) -> str:
    return "".join("**" if any(begin <= at < end for begin, end in hidden) else f"{byte:02x}" for at, byte in enumerate(content))
