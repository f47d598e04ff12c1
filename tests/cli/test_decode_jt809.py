"""``decode`` and ``encode`` for JT/T 809: vector files, and frames as people paste them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from relay.cli import dump_jt809
from relay.cli.dump_jt809_pieces import cut
from relay.cli.dump_jt809_values import utc_text
from relay.cli.dump_table import InputError
from relay.cli.main import main
from relay.jt809 import editions
from relay.jt809.cipher import CipherKeys
from relay.jt809.envelope import body_from_fields
from relay.jt809.framing import crc16, unescape, wrap
from relay.jt809.header import Header, encode_frame
from tests.shared import load_vectors, shared

VECTORS = load_vectors("jt809")
FRAMES = [vector for vector in VECTORS if vector["kind"] == "frame"]
KEEP_ALIVE = "5b0000001a0000000110050000276601000000000000007b845d"
LIVE_REQUEST = {
    "vehicle_no": "粤B12345",
    "vehicle_color": 2,
    "data_type": 0x9801,
    "data": {"channel_id": 1, "avitem_type": 2, "authorize_code": "Aa0" * 21 + "Z"},
}


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = main(words)
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def live_request(edition: int = 2011, time: int = 0, keys: CipherKeys | None = None, **changes: Any) -> bytes:
    fields = {**LIVE_REQUEST, **changes}
    header = Header(0x9800, 7, 44030001, edition=edition, time=time, encrypt_flag=int(keys is not None), encrypt_key=256178 if keys else 0)
    return encode_frame(header, body_from_fields(0x9800, fields, edition).encode(), keys)


def reseal(frame: bytes, **changes: bytes) -> bytes:
    """The frame with bytes changed at ``at123=…`` of its content, and a right CRC."""
    content = bytearray(unescape(frame[1:-1])[:-2])
    for place, new in changes.items():
        at = int(place[2:])
        content[at : at + len(new)] = new
    return wrap(bytes(content))


# vector files


def answers(capsys: pytest.CaptureFixture[str], command: str, file: Path) -> list[dict[str, Any]]:
    status, out, err = run(capsys, command, "--jsonl", str(file))
    assert (status, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def test_every_vector_is_decoded_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    found = answers(capsys, "decode", shared("vectors/jt809.jsonl"))
    for vector, answer in zip(VECTORS, found, strict=True):
        if vector.get("expect") == "reject":
            assert (answer["ok"], answer["error"]) == (False, vector["fields"]["error"]), vector["id"]
        else:
            assert answer == {"id": vector["id"], "ok": True, "fields": vector["fields"]}


def test_every_vector_is_encoded_by_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    found = answers(capsys, "encode", shared("vectors/jt809.jsonl"))
    for vector, answer in zip(VECTORS, found, strict=True):
        # streams name their whole frames only, not what was broken between them
        if not vector.get("expect") and not vector.get("decode_only") and vector["kind"] != "stream":
            assert answer == {"id": vector["id"], "ok": True, "hex": vector["hex"].lower()}


@pytest.mark.parametrize(
    ("vector", "error"),
    [
        ({"kind": "frame", "hex": KEEP_ALIVE, "version": "2013"}, "version '2013' is neither 2011 nor 2019"),
        ({"kind": "photo", "hex": "00"}, "kind 'photo' is not known for jt809"),
        ({"kind": "body", "hex": "00", "msg_id": "x"}, "msg_id 'x' is no message id"),
        ({"kind": "subbody", "hex": "00", "msg_id": "0x1200", "sub_id": "0x9999"}, "sub-business 0x9999 of 0x1200 is not known"),
        ({"kind": "frame", "hex": KEEP_ALIVE, "crypto": {"m1": 1}}, "crypto needs the numbers m1, ia1, ic1"),
        ({"kind": "body", "hex": "", "msg_id": "0x1001"}, "body"),
    ],
)
def test_objects_that_cannot_be_decoded(capsys: pytest.CaptureFixture[str], tmp_path: Path, vector: dict[str, Any], error: str) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps({"id": "x", "protocol": "jt809", **vector}))
    assert [(a["ok"], a["error"]) for a in answers(capsys, "decode", file)] == [(False, error)]


# people


def test_a_frame_field_by_field(capsys: pytest.CaptureFixture[str]) -> None:
    frame = live_request(2019, 1704067487, data={**LIVE_REQUEST["data"], "gnss_data": "00" * 36})  # type: ignore[dict-item]
    status, out, err = run(capsys, "decode", "jt809", frame.hex(" "))
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "0x9800/0x9801 实时音视频请求 Live request DOWN_REALVIDEO_MSG_STARTUP (superior → subordinate, layout of 2019)"
    assert lines[1] == "edition 2019, guessed from the bytes (--edition sets it)"

    def line(name: str) -> list[str]:
        return next(line.split() for line in lines if f" {name} " in line)

    assert line("msg_length")[:10] == ["0", "00", "00", "00", "a4", "msg_length", "数据长度", "frame", "length", "164"]
    assert line("time")[-6:] == ["2024-01-01", "00:04:47", "UTC", "(01-01", "08:04:47", "UTC+8)"]
    assert line("vehicle_no")[:1] == ["30"]
    assert line("vehicle_color")[-2:] == ["yellow", "(黄)"]
    assert line("data_length")[0] == "54"
    assert line("avitem_type")[-2:] == ["2", "video"]
    assert line("gnss_data")[-3:] == ["zeros:", "none", "given"]
    assert line("crc_code")[-1] == "ok"


def test_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "decode", "jt809", "--json", live_request().hex())
    one = json.loads(out)
    assert status == 0
    assert (one["protocol"], one["edition"]) == ("jt809", 2011)
    assert one["message"]["id"] == "0x9800"
    assert one["message"]["sub"] == {
        "id": "0x9801", "name": "实时音视频请求", "english": "Live request", "constant": "DOWN_REALVIDEO_MSG_STARTUP", "direction": "down",
    }  # fmt: skip
    assert one["fields"]["header"]["msg_gnsscenterid"] == 44030001
    assert one["fields"]["body"]["data"] == LIVE_REQUEST["data"]
    assert one["fields"]["crc_code"] == int(live_request().hex()[-6:-2], 16)
    assert {"offset": 50, "bytes": "01", "name": "channel_id"}.items() <= next(r for r in one["rows"] if r["name"] == "channel_id").items()


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["id"]) for v in FRAMES if not v.get("expect")])
def test_every_vector_is_explained_to_its_last_byte(vector: dict[str, Any]) -> None:
    raw = bytes.fromhex(vector["hex"])
    keys = CipherKeys(**vector["crypto"]) if "crypto" in vector else None
    (one,) = dump_jt809.explain(raw, None, keys)
    assert one.edition == int(vector["version"])
    assert one.problem == ""
    assert one.fields == vector["fields"]
    content = unescape(raw[1:-1])
    seen = bytearray(len(content))
    for row in one.rows:
        seen[row.offset : row.offset + len(row.data)] = b"\1" * len(row.data)
        if keys is None:
            assert content[row.offset : row.offset + len(row.data)] == row.data
    assert all(seen)


@pytest.mark.parametrize("vector", [pytest.param(v, id=v["id"]) for v in FRAMES if v.get("expect")])
def test_a_broken_frame_is_shown_and_its_fault_named(vector: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "decode", "jt809", vector["hex"])
    word = vector["fields"]["error"]
    assert status == 1
    assert len(err.splitlines()) == 1
    assert word in err or (word == "truncated_item" and "item_list[0]" in err)
    assert "! " in out
    if word not in ("truncated_envelope",) and len(vector["hex"]) > 60:
        assert "msg_gnsscenterid" in out


def test_the_edition_is_guessed_for_every_vector() -> None:
    for vector in FRAMES:
        if not vector.get("expect"):
            content = unescape(bytes.fromhex(vector["hex"])[1:-1])[:-2]
            assert editions.guess(content) == int(vector["version"]), vector["id"]


def test_the_login_tells_its_edition_by_its_length(capsys: pytest.CaptureFixture[str]) -> None:
    fields = {"user_id": 1, "password": "x", "down_link_ip": "10.0.0.1", "down_link_port": 809}
    old = encode_frame(Header(0x1001, time=0), body_from_fields(0x1001, fields, 2011).encode())
    new = encode_frame(Header(0x1001, edition=2019), body_from_fields(0x1001, {**fields, "msg_gnsscenterid": 5}, 2019).encode())
    assert [dump_jt809.explain(frame)[0].edition for frame in (old, new)] == [2011, 2019]
    assert "layout of 2019" in run(capsys, "decode", "jt809", "--edition", "2019", old.hex())[1]
    assert run(capsys, "decode", "jt809", "--edition", "2013", old.hex())[0] == 2


def test_a_frame_that_tells_nothing_is_taken_for_what_the_others_are() -> None:
    silent = wrap(b"\0\0\0\x24" + bytes(4) + b"\x77\x77" + bytes(4) + b"\1\0\0\0" + bytes(14))
    sure = live_request(2019, 1704067487)
    assert editions.guess(unescape(silent[1:-1])[:-2]) in (0, 2011)
    assert [one.edition for one in dump_jt809.explain(sure + sure)] == [2019, 2019]


def test_a_body_of_one_edition_behind_the_header_of_another() -> None:
    content = unescape(live_request(2011)[1:-1])[:-2]
    body = body_from_fields(0x9400, {"vehicle_no": "粤B1", "vehicle_color": 1, "data_type": 0x9401, "data": {
        "warn_src": 1, "warn_type": 1, "warn_time": 1, "supervision_id": 9, "supervision_endtime": 2, "supervision_level": 0, "supervisor": "a",
        "supervisor_tel": "1", "supervisor_email": "b"}}, 2011).encode()  # fmt: skip
    assert content[8:10] == b"\x98\x00"
    one = dump_jt809.explain(encode_frame(Header(0x9400, edition=2019, time=1704067487), body))[0]
    assert one.problem == ""
    assert one.fields["body"]["data"]["supervision_id"] == 9


def test_encrypted_bodies(capsys: pytest.CaptureFixture[str]) -> None:
    keys = CipherKeys(30000000, 20000000, 20000000)
    frame = live_request(keys=keys).hex()
    status, out, _ = run(capsys, "decode", "jt809", frame)
    assert (status, "cipher text" in out, "粤B12345" in out) == (0, True, False)
    assert "--m1 N --ia1 N --ic1 N" in out
    status, out, _ = run(capsys, "decode", "jt809", "--m1", "30000000", "--ia1", "20000000", "--ic1", "20000000", frame)
    assert (status, "粤B12345" in out, "decrypted" in out) == (0, True, True)
    assert run(capsys, "decode", "jt809", "--m1", "1", frame)[0] == 2


def test_a_dump_that_is_already_unescaped_is_recognised(capsys: pytest.CaptureFixture[str]) -> None:
    frame = live_request(vehicle_color=94)
    assert b"\x5e\x02" in frame
    plain = b"\x5b" + unescape(frame[1:-1]) + b"\x5d"
    status, out, err = run(capsys, "decode", "jt809", (plain + frame).hex())
    assert (status, err) == (0, "")
    assert out.count("already unescaped: not what was on the wire") == 1
    assert out.count("gradient green") == 2
    # flags inside: on a wire this would be three pieces
    inside = live_request(data={**LIVE_REQUEST["data"], "authorize_code": "[x]" * 21 + "^"})  # type: ignore[dict-item]
    plain = b"\x5b" + unescape(inside[1:-1]) + b"\x5d"
    (one,) = dump_jt809.explain(plain)
    assert one.problem == ""
    assert one.fields["body"]["data"]["authorize_code"] == "[x]" * 21 + "^"


def test_an_unescaped_dump_with_a_wrong_crc_is_still_one_frame() -> None:
    frame = live_request(vehicle_color=94)
    plain = bytearray(b"\x5b" + unescape(frame[1:-1]) + b"\x5d")
    plain[-2] ^= 1
    (one,) = dump_jt809.explain(bytes(plain))
    assert one.problem.startswith("bad_crc")
    assert one.fields["body"]["vehicle_color"] == 94


def test_several_frames_and_what_stands_between_them(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "decode", "jt809", KEEP_ALIVE, "aabb", live_request().hex(), KEEP_ALIVE)
    assert (status, err) == (0, "")
    assert out.count("主链路连接保持请求") == 4  # two titles, two header rows
    assert out.count("0x9800/0x9801") == 1
    assert "2 bytes outside frames" in out


def test_a_frame_that_another_one_cuts(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "decode", "jt809", KEEP_ALIVE[:-12], KEEP_ALIVE)
    assert status == 1
    assert "another frame begins before its end flag" in err
    assert out.count("主链路连接保持请求") == 3


@pytest.mark.parametrize("text", [KEEP_ALIVE[2:-2], KEEP_ALIVE[2:]])
def test_a_frame_without_its_flags(capsys: pytest.CaptureFixture[str], text: str) -> None:
    status, out, _ = run(capsys, "decode", "jt809", text)
    assert (status, "the flags are missing" in out, "主链路连接保持请求" in out) == (0, True, True)


def test_nothing_that_is_a_frame(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "decode", "jt809", "0102") == (1, "", "jt1078relay decode: no frame of JT/T 809: nothing between 5B and 5D\n")
    assert run(capsys, "decode", "jt809", "5b5d" + KEEP_ALIVE)[0] == 0


def test_a_lying_data_length_is_marked_and_the_rest_is_read() -> None:
    (one,) = dump_jt809.explain(reseal(live_request(), at46=b"\0\0\0\x07"))
    assert one.problem == "data_length_mismatch: data_length at offset 46 says 7, 66 bytes follow"
    row = next(row for row in one.rows if row.name == "data_length")
    assert (row.kind, row.meaning) == ("error", "wrong: 66 bytes follow")
    assert one.fields["body"]["data"]["channel_id"] == 1


def test_a_list_that_is_cut_is_shown_as_far_as_it_goes() -> None:
    item = {"channel_id": 3, "start_time": 1, "end_time": 2, "alarm_type": 1 << 33, "avitem_type": 0, "stream_type": 1, "mem_type": 1, "file_size": 9}
    body = body_from_fields(0x1900, {"vehicle_no": "粤B1", "vehicle_color": 1, "data_type": 0x1902, "data": {"result": 0, "item_list": [item, item]}}, 2011)
    raw = body.encode()[:-10]
    raw = raw[:24] + (len(raw) - 28).to_bytes(4, "big") + raw[28:]
    (one,) = dump_jt809.explain(encode_frame(Header(0x1900), raw))
    assert one.problem == "CatalogueAnswer.item_list[1].alarm_type at offset 104: needs 8 bytes, 5 left"
    assert one.rows[-2].kind == "error"
    assert next(row for row in one.rows if row.name == "item_list[0].alarm_type").meaning == "video signal occlusion (视频信号遮挡报警)"


def test_positions_are_taken_apart_beneath_their_bytes() -> None:
    block = bytes((0, 20, 11)) + (2026).to_bytes(2, "big") + bytes((15, 30, 45)) + bytes(12) + bytes(8) + b"\0\0\0\3" + b"\0\0\0\1"
    assert len(block) == 36
    (one,) = dump_jt809.explain(live_request(data={**LIVE_REQUEST["data"], "gnss_data": block.hex()}))  # type: ignore[dict-item]
    rows = {row.name: row for row in one.rows}
    assert (rows["gnss_data.year"].value, rows["gnss_data.year"].offset) == ("2026", 119)
    assert rows["gnss_data.state"].meaning.startswith("ACC on, located")
    assert rows["gnss_data.alarm"].meaning == "emergency button (紧急报警)"


def location2019(gnss_data: bytes) -> bytes:
    gnss = {"data_length": len(gnss_data), "gnss_data": gnss_data.hex(), "platform_id1": "1", "alarm1": 1, "platform_id2": "", "alarm2": 0,
            "platform_id3": "", "alarm3": 0}  # fmt: skip
    fields = {"vehicle_no": "粤B1", "vehicle_color": 1, "data_type": 0x1202, "data": {"gnss": gnss}}
    return encode_frame(Header(0x1200, edition=2019, time=1704067487), body_from_fields(0x1200, fields, 2019).encode())


def test_the_808_location_of_2019() -> None:
    body = bytes(8) + (22_543_096).to_bytes(4, "big") + (113_946_521).to_bytes(4, "big") + bytes(6) + bytes.fromhex("240601083015") + b"\1\4\0\1\x86\xa0"
    (one,) = dump_jt809.explain(location2019(body))
    rows = {row.name: row for row in one.rows}
    assert rows["gnss.gnss_data.latitude"].meaning == "22.543096 °"
    assert rows["gnss.gnss_data.items[0].mileage"].meaning == "10000.0 km"
    assert rows["gnss.gnss_data.latitude"].depth == rows["gnss.gnss_data"].depth + 1
    assert rows["gnss.alarm1"].meaning == "emergency button (紧急报警)"
    assert one.problem == ""


def test_the_tail_of_a_2011_block_in_a_2019_one() -> None:
    tail = bytes((20, 11)) + (2026).to_bytes(2, "big") + bytes(31)
    (one,) = dump_jt809.explain(location2019(tail))
    rows = {row.name: row for row in one.rows}
    assert rows["gnss.gnss_data.year"].value == "2026"
    assert rows["gnss.gnss_data.day"].offset == rows["gnss.gnss_data"].offset


def test_a_short_location_does_not_make_the_frame_wrong() -> None:
    (one,) = dump_jt809.explain(location2019(bytes(9) + b"\1"))
    assert one.problem == ""
    assert any(row.kind == "rest" and "cannot be read" in row.meaning for row in one.rows)


def test_bodies_alone(capsys: pytest.CaptureFixture[str]) -> None:
    body = unescape(live_request()[1:-1])[22:-2].hex()
    assert "粤B12345" in run(capsys, "decode", "jt809", "--body", "0x9800", body)[1]
    status, out, _ = run(capsys, "decode", "jt809", "--body", "0x9802", "0102")
    assert (status, "Live stop request" in out) == (0, True)
    assert run(capsys, "decode", "jt809", "--body", "0x5555", "01") == (
        1, "", "jt1078relay decode: 0x5555 is neither a message nor a sub-business of JT/T 809\n"
    )  # fmt: skip
    assert run(capsys, "decode", "jt809", "--body", "0x1002", "00")[0] == 1
    with pytest.raises(InputError):
        dump_jt809.explain(b"", body_id=0x5555)


def test_unknown_messages_and_sub_businesses_are_shown_raw() -> None:
    (one,) = dump_jt809.explain(wrap((28).to_bytes(4, "big") + bytes(4) + b"\x77\x77" + bytes(4) + b"\1\0\0\0" + bytes(4) + b"\1\2"))
    assert [row.meaning for row in one.rows if row.kind == "rest"] == ["message unknown"]
    (one,) = dump_jt809.explain(reseal(live_request(), at44=b"\x98\xee"))
    assert [row.meaning for row in one.rows if row.kind == "rest"] == ["sub-business unknown"]
    assert one.problem == ""


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0: none"),
        (1704067200, "2024-01-01 00:00:00 UTC (01-01 08:00:00 UTC+8)"),
        (1704067200000, "2024-01-01 00:00:00 UTC (01-01 08:00:00 UTC+8), in milliseconds"),
        (2**64 - 1, "no time that a calendar has"),
    ],
)
def test_times(value: int, text: str) -> None:
    assert utc_text(value) == text


def test_anything_can_be_pasted() -> None:
    """Mutated frames: always rows or a one-line fault, all bytes accounted for by the pieces."""
    chance = random.Random(809)
    material = [bytes.fromhex(vector["hex"]) for vector in FRAMES] or [live_request()]
    for _ in range(400):
        raw = bytearray(chance.choice(material) + chance.choice(material))
        for _ in range(chance.randrange(6)):
            at = chance.randrange(len(raw))
            raw[at : at + chance.randrange(2)] = bytes(chance.choice((0x5B, 0x5D, 0x5A, 0x5E, 0, 1, 255)) for _ in range(chance.randrange(3)))
        data = bytes(raw)
        assert b"".join(piece.data for piece in cut(data)) == data
        try:
            for one in dump_jt809.explain(data):
                json.dumps(one.as_json())
        except InputError:
            continue
    assert crc16(b"123456789") == 0x29B1
