"""Every JT/T 809 vector, both ways: fields as expected, and the very bytes again."""

from __future__ import annotations

from typing import Any

import pytest

from relay.errors import DecodeError, FrameError, ProtocolError
from relay.jt809.cipher import CipherKeys
from relay.jt809.envelope import body_from_fields, decode_body
from relay.jt809.framing import Deframer
from relay.jt809.header import Header, decode_frame, encode_frame
from relay.jt809.messages import MESSAGES
from tests.shared import load_vectors

VECTORS = load_vectors("jt809")
pytestmark = pytest.mark.skipif(not VECTORS, reason="shared/vectors/jt809.jsonl is not there")


def of_kind(*kinds: str) -> list[Any]:
    return [pytest.param(vector, id=vector["id"]) for vector in VECTORS if vector["kind"] in kinds]


def keys_of(vector: dict[str, Any]) -> CipherKeys | None:
    return CipherKeys(**vector["crypto"]) if "crypto" in vector else None


def decode(vector: dict[str, Any]) -> dict[str, Any]:
    header, body, crc = decode_frame(bytes.fromhex(vector["hex"]), int(vector["version"]), keys_of(vector))
    business = decode_body(header.msg_id, body, int(vector["version"]))
    return {"header": header.fields(), "body": business.fields(), "crc_code": crc}


@pytest.mark.parametrize("vector", of_kind("frame"))
def test_frame(vector: dict[str, Any]) -> None:
    if vector.get("expect") == "reject":
        with pytest.raises(ProtocolError) as raised:
            decode(vector)
        problem = raised.value
        assert (problem.reason if isinstance(problem, FrameError) else "truncated_item") == vector["fields"]["error"]
        return
    edition = int(vector["version"])
    got = decode(vector)
    assert got == vector["fields"]
    raw = bytes.fromhex(vector["hex"])
    header, body, _ = decode_frame(raw, edition, keys_of(vector))
    business = decode_body(header.msg_id, body, edition)
    assert encode_frame(header, business.encode(), keys_of(vector)) == raw
    if not vector.get("decode_only"):
        again = body_from_fields(header.msg_id, vector["fields"]["body"], edition)
        assert encode_frame(Header.from_fields(vector["fields"]["header"], edition), again.encode(), keys_of(vector)) == raw


@pytest.mark.parametrize("vector", of_kind("body"))
def test_body(vector: dict[str, Any]) -> None:
    raw, msg_id, edition = bytes.fromhex(vector["hex"]), int(vector["msg_id"], 16), int(vector["version"])
    business = decode_body(msg_id, raw, edition)
    assert business.fields() == vector["fields"]
    assert business.encode() == raw
    if not vector.get("decode_only"):
        assert body_from_fields(msg_id, vector["fields"], edition).encode() == raw


@pytest.mark.parametrize("vector", of_kind("subbody"))
def test_data_behind_the_envelope(vector: dict[str, Any]) -> None:
    raw, msg_id, edition = bytes.fromhex(vector["hex"]), int(vector["msg_id"], 16), int(vector["version"])
    cls = MESSAGES.get((msg_id, int(vector["sub_id"] or vector["msg_id"], 16)))
    assert cls is not None
    message = cls.decode(raw, edition)
    assert message.fields() == vector["fields"]
    assert message.trailing == b""
    assert message.encode() == raw
    assert cls.from_fields(vector["fields"], edition).encode() == raw


@pytest.mark.parametrize("vector", of_kind("stream"))
def test_stream(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    expected = [bytes.fromhex(frame) for frame in vector["fields"]["frames"]]

    def whole(frames: list[bytes]) -> list[bytes]:
        sound = []
        for frame in frames:
            try:
                decode_frame(frame, int(vector["version"]))
            except FrameError:
                continue
            sound.append(frame)
        return sound

    assert whole(Deframer().feed(data)) == expected
    deframer = Deframer()
    assert whole([frame for byte in data for frame in deframer.feed(bytes((byte,)))]) == expected
    for cut in range(len(data)):
        deframer = Deframer()
        assert whole(deframer.feed(data[:cut]) + deframer.feed(data[cut:])) == expected


@pytest.mark.parametrize("vector", of_kind("body"))
def test_every_truncation_is_a_named_fault_or_a_shorter_message(vector: dict[str, Any]) -> None:
    raw, msg_id, edition = bytes.fromhex(vector["hex"]), int(vector["msg_id"], 16), int(vector["version"])
    for size in range(len(raw)):
        try:
            business = decode_body(msg_id, raw[:size], edition)
        except (FrameError, DecodeError):
            continue
        assert business.encode() == raw[:size]


def test_an_acknowledgement_announces_no_bytes_that_are_not_there() -> None:
    """Found by fuzzing: envelope A with a data_length was written back with zero."""
    body = bytes.fromhex("d4c142313233343500000000000000000000000000021205920500000011") + b"\x00\x00\x69\x00"
    with pytest.raises(FrameError) as raised:
        decode_body(0x1200, body, 2019)
    assert raised.value.reason == "data_length_mismatch"
    assert decode_body(0x1200, body[:30], 2019).encode() == body[:30]
    assert decode_body(0x1200, body[:30] + bytes(4), 2019).encode() == body[:30] + bytes(4)
