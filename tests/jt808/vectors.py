"""The vectors of JT/T 808, and what one of them is for the codec."""

from __future__ import annotations

from typing import Any

from relay.jt808.header import Header, decode_frame
from relay.jt808.items import ITEMS
from relay.jt808.messages import decode_body, decode_message
from relay.jt808.params import PARAMETERS
from relay.wire import Entry
from tests.shared import load_vectors

VECTORS = load_vectors("jt808")
SOUND = [v for v in VECTORS if "error" not in v["fields"] and "frames" not in v["fields"]]
SAFETY = load_vectors("jt808-active-safety")
#: active-safety items and parameters: this file has them raw, a decoder that knows them puts named fields beside
ACTIVE_SAFETY = {0x64, 0x65, 0x66, 0x67, 0x68, 0x70, 0x71, 0xF364, 0xF365, 0xF366, 0xF367, 0xF370}


def name(vector: dict[str, Any]) -> str:
    return str(vector["id"])


def family(vector: dict[str, Any]) -> Any:
    return ITEMS if vector["kind"] == "item" else PARAMETERS


def decode(vector: dict[str, Any]) -> tuple[Header | None, Any]:
    raw = bytes.fromhex(vector["hex"])
    edition = int(vector["version"])
    if vector["kind"] == "frame":
        header, body = decode_frame(raw[1:-1])
        return header, decode_message(header, body, edition)
    if vector["kind"] == "body":
        return None, decode_body(int(vector["msg_id"], 16), raw, edition)
    return None, family(vector).decode(raw, edition)


def fields(vector: dict[str, Any]) -> dict[str, Any]:
    header, message = decode(vector)
    named = message.fields()
    return {"header": header.fields(), **named} if header else named


def encode(vector: dict[str, Any], header: Header | None, message: Any) -> bytes:
    if isinstance(message, Entry):
        out = bytearray()
        family(vector).write(message, out, int(vector["version"]))
        return bytes(out)
    return header.encode(message.encode()) if header else message.encode()


def differences(want: Any, got: Any, path: str = "") -> list[str]:
    """Where ``got`` is not what ``want`` says. Beside the ``raw`` of an active-safety entry named fields may stand."""
    if isinstance(want, dict) and isinstance(got, dict):
        beside = "raw" in want and want.get("id") in ACTIVE_SAFETY
        more = set() if beside else set(got) - set(want) - {"peripherals", "peripheral_ids"}
        found = [f"{path}.{key} is not wanted" for key in sorted(more)]
        for key, value in want.items():
            found += differences(value, got[key], f"{path}.{key}") if key in got else [f"{path}.{key} is missing"]
        return found
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [one for place, pair in enumerate(zip(want, got, strict=True)) for one in differences(*pair, f"{path}[{place}]")]
    return [] if want == got and type(want) is type(got) else [f"{path}: wanted {want!r}, got {got!r}"]
