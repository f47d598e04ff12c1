"""Every vector of JT/T 808: fields, bytes again, rejections, truncations, split points, explanations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from relay.errors import DecodeError, FrameError, ProtocolError
from relay.jt808.framing import Deframer
from relay.jt808.header import decode_frame
from relay.jt808.messages import MESSAGES, decode_body
from relay.wire import Fault, dump
from tests.jt808.vectors import SOUND, VECTORS, decode, differences, encode, family, fields

pytestmark = pytest.mark.shared

if not VECTORS:
    pytest.skip("the shared vectors are not there", allow_module_level=True)

#: NULs at the end of a text, which the fields do not show
PADDED = ("jt808-0104-2013-b-1", "jt808-8400-2019-f-1")


def each(vectors: list[dict[str, Any]], check: Callable[[dict[str, Any]], Iterator[str]]) -> None:
    """Run ``check`` over all vectors and tell every complaint, not only the first."""
    assert vectors
    complaints = []
    for vector in vectors:
        try:
            complaints += [f"{vector['id']}: {complaint}" for complaint in check(vector)]
        except Exception as problem:
            complaints.append(f"{vector['id']}: {type(problem).__name__}: {problem}")
    assert not complaints, "\n".join(complaints)


def test_fields() -> None:
    each(SOUND, lambda vector: iter(differences(vector["fields"], fields(vector))))


def test_the_same_bytes_again() -> None:
    def check(vector: dict[str, Any]) -> Iterator[str]:
        again = encode(vector, *decode(vector)).hex()
        if again != vector["hex"]:
            yield again

    each(SOUND, check)


def test_rejected_with_the_reason_of_the_first_failing_check() -> None:
    def check(vector: dict[str, Any]) -> Iterator[str]:
        try:
            decode_frame(bytes.fromhex(vector["hex"])[1:-1])
        except FrameError as problem:
            if problem.reason != vector["fields"]["error"]:
                yield problem.reason
        else:
            yield "accepted"

    each([v for v in VECTORS if "error" in v["fields"]], check)


def test_streams_at_all_split_points() -> None:
    def check(vector: dict[str, Any]) -> Iterator[str]:
        raw = bytes.fromhex(vector["hex"])
        for split in range(len(raw) + 1):
            deframer = Deframer()
            serials = []
            for piece in deframer.feed(raw[:split]) + deframer.feed(raw[split:]):
                try:
                    serials.append(decode_frame(piece)[0].serial)
                except FrameError:
                    continue
            if serials != vector["fields"]["serials"]:
                yield f"split at {split}: {serials}"

    each([v for v in VECTORS if "serials" in v["fields"]], check)


def test_the_same_bytes_from_the_fields_alone() -> None:
    def check(vector: dict[str, Any]) -> Iterator[str]:
        message = decode(vector)[1]
        cls = MESSAGES.get(message.msg_id)
        wanted = {key: value for key, value in vector["fields"].items() if key != "header"}
        if cls is None or "body" in wanted or vector["id"] in PADDED:
            return
        again = cls.from_fields(wanted, int(vector["version"]))
        if again.encode() != message.encode():
            yield again.encode().hex()
        yield from differences(wanted, again.fields())

    each([v for v in SOUND if v["kind"] in ("frame", "body")], check)


def test_cut_at_every_length_it_is_read_or_refused() -> None:
    def check(vector: dict[str, Any]) -> Iterator[str]:
        raw = bytes.fromhex(vector["hex"])
        edition = int(vector["version"])
        if vector["kind"] in ("item", "param"):
            for cut in range(len(raw)):
                try:
                    family(vector).decode(raw[:cut], edition)
                except Fault:
                    continue
                yield f"cut at {cut} was taken for whole"
            return
        body, msg_id = raw, int(vector["msg_id"], 16)
        if vector["kind"] == "frame":
            header, body = decode_frame(raw[1:-1])
            msg_id, edition = header.msg_id, header.edition
        cls = MESSAGES.get(msg_id)
        for cut in range(len(body)):
            part = body[:cut]
            try:
                message = decode_body(msg_id, part, edition)
            except DecodeError as problem:
                if not 0 <= problem.offset <= cut:
                    yield f"cut at {cut}: {problem}"
            else:
                if message.encode() != part:
                    yield f"cut at {cut}: {message.encode().hex()}"
            if cls is not None and cut % 3 == 0 and b"".join(row.data for row in dump(cls, part, edition).rows) != part:
                yield f"cut at {cut}: the rows do not cover it"

    each(SOUND, check)


def test_a_cut_frame_is_refused() -> None:
    def check(vector: dict[str, Any]) -> Iterator[str]:
        raw = bytes.fromhex(vector["hex"])
        for cut in range(1, min(len(raw) - 1, 80)):
            try:
                decode_frame(raw[1:cut])
            except ProtocolError:
                continue
            yield f"cut at {cut} was taken for a frame"

    each([v for v in SOUND if v["kind"] == "frame"], check)


def test_the_explanation_covers_every_byte_once() -> None:
    def check(vector: dict[str, Any]) -> Iterator[str]:
        message = decode(vector)[1]
        cls = MESSAGES.get(message.msg_id)
        if cls is None or "body" in vector["fields"]:
            return
        body = message.encode()
        taken = dump(cls, body, message.edition)
        at = 0
        for row in taken.rows:
            if row.offset != at:
                yield f"{row.name} is at {row.offset}, not {at}"
            at = row.offset + len(row.data)
        if at != len(body) or taken.error is not None or taken.record.fields() != message.fields() or taken.record.encode() != body:
            yield f"{at} of {len(body)} bytes, {taken.error}"

    each([v for v in SOUND if v["kind"] in ("frame", "body")], check)
