"""``jt1078relay decode`` and ``encode``."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from relay.cli.dump_table import InputError, display_width, parse_hex
from relay.cli.main import main
from tests.shared import load_vectors, shared

LOCATION = "7e0200002611223344556622b8000000010000000200ba7f0e07e4f11c0028003c0000180715101010010400000064020200375 77e"
PACKET = "3031636481e2108801123456781001100000016bb392ca7c02800028000500000001 61"


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = main(words)
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def lines(capsys: pytest.CaptureFixture[str], command: str, file: Path) -> list[dict[str, Any]]:
    status, out, err = run(capsys, command, "--jsonl", str(file))
    assert (status, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


# people


def test_a_frame_field_by_field(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "decode", "jt808", LOCATION)
    assert (status, err) == (0, "")
    rows = out.splitlines()
    assert rows[0] == "0x0200 位置信息汇报 Location report (terminal → platform, layout of 2013)"
    latitude = next(row for row in rows if "latitude" in row)
    assert latitude.split() == ["20", "00", "ba", "7f", "0e", "latitude", "纬度", "12222222", "12.222222", "°"]
    assert "emergency button (紧急报警)" in out
    assert next(row for row in rows if "mileage  里程  odometer" in row).endswith("10.0 km")
    assert "2018-07-15 10:10:10" in out
    assert "\x1b[" not in out


def test_columns_stay_aligned_where_chinese_stands(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "decode", "jt808", LOCATION)[1].splitlines()
    values = {"alarm_flags": "1", "status_flags": "2", "altitude": "40", "phone": "112233445566"}
    starts = set()
    for name, value in values.items():
        row = next(row for row in out if f" {name} " in row)
        starts.add(display_width(row[: re.search(rf" {name} .*?  ({value})(  |$)", row).start(1)]))  # type: ignore[union-attr]
    assert len(starts) == 1


@pytest.mark.parametrize("text", ["0x7E 02 00", "7e,02,00", "7e:02\n00", "\\x7e\\x02\\x00", "7E-0200", "[0x7e, 0x02, 0x00]"])
def test_hex_as_people_paste_it(text: str) -> None:
    assert parse_hex([text]) == b"\x7e\x02\x00"


@pytest.mark.parametrize(("words", "problem"), [(["7e0"], "3 hex digits: one is missing"), (["zz"], "'z' is not a hex digit"), ([""], "no hex")])
def test_what_is_no_hex(words: list[str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        parse_hex(words)


def test_hex_from_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(LOCATION.replace("e", "E\n")))
    status, out, _ = run(capsys, "decode", "jt808")
    assert (status, "位置信息汇报" in out) == (0, True)


def test_a_frame_without_flags_is_read_too(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "decode", "jt808", LOCATION[2:-2])
    assert (status, "位置信息汇报" in out) == (0, True)


def test_a_body_alone_and_options_between_the_words(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "decode", "jt808", "--body", "0x8003", "--edition", "2019", "0005 0001 0007")
    assert (status, "重传包ID列表" in out) == (0, True)
    assert run(capsys, "decode", "jt808", "--body", "0x8003", "0005 0001 0007", "--edition", "2013")[0] == 0
    assert run(capsys, "decode", "jt808", "--body", "x", "00")[0] == 2


def test_a_broken_body_shows_what_stands_before_the_fault(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "decode", "jt808", "--body", "0x9206", "0831302e302e302e38001501")
    assert status == 1
    assert err == "jt1078relay decode: FileUpload.username at offset 12: needs 1 byte, 0 left\n"
    assert "10.0.0.8" in out
    assert re.split(r" {2,}", out.splitlines()[3]) == ["11", "01", "username", "用户名", "FTP user", "01", "cannot be read: needs 1 byte, 0 left"]


@pytest.mark.parametrize(
    ("frame", "problem", "shown"),
    [
        ("7e0002000001390000123400011e7e", "checksum: should be 1d, is 1e", "终端心跳"),
        ("7e0002000501390000123400010102037e", "", "终端心跳"),
        ("7e02007d037e", "escape: 0x7D is not followed by 0x01 or 0x02", "cannot be read"),
        ("7e0100002c0123454a7e", "short_header: 7 bytes, a header has at least 12", "cannot be read"),
    ],
)
def test_a_broken_frame_is_shown_and_said(capsys: pytest.CaptureFixture[str], frame: str, problem: str, shown: str) -> None:
    status, out, err = run(capsys, "decode", "jt808", frame)
    assert status == 1
    assert problem in err
    assert len(err.splitlines()) == 1
    assert shown in out


def test_nothing_between_the_flags(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "decode", "jt808", "7e7e") == (1, "", "jt1078relay decode: nothing between the flags\n")


def test_pieces_of_one_message_are_put_together(capsys: pytest.CaptureFixture[str]) -> None:
    vectors = [v for v in load_vectors("jt808") if v["id"].startswith("jt808-1205-2019-f-")]
    if not vectors:
        pytest.skip("the shared vectors are not there")
    status, out, _ = run(capsys, "decode", "jt808", *[v["hex"] for v in vectors])
    assert status == 0
    assert "sub-package 6 of 6, not taken apart alone" in out
    assert "put together from 6 sub-packages: 0x1205" in out
    assert "resources[179]" in out


def test_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "decode", "jt808", "--json", LOCATION)
    one = json.loads(out)
    assert status == 0
    assert one["message"] == {"id": "0x0200", "name": "位置信息汇报", "english": "Location report", "direction": "up"}
    assert one["fields"]["header"]["serial_no"] == 8888
    assert one["fields"]["items"] == [{"id": 1, "mileage": 100}, {"id": 2, "fuel": 55}]
    assert {"offset": 20, "bytes": "00ba7f0e", "name": "latitude"}.items() <= next(r for r in one["rows"] if r["name"] == "latitude").items()


def test_a_message_cannot_drive_somebodys_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    out = run(capsys, "decode", "jt808", "--body", "0x8300", "08" + b"\x1b[31mred\x07".hex())[1]
    assert "\x1b" not in out
    assert "\\x1b[31mred\\x07" in out


def test_an_unknown_message_is_shown_raw(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "decode", "jt808", "--body", "0x5501", "0102")
    assert (status, "layout unknown" in out) == (0, True)


def test_colours_only_for_terminals(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert "\x1b[36m" in run(capsys, "decode", "jt808", LOCATION)[1]
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in run(capsys, "decode", "jt808", LOCATION)[1]


def test_media_packets(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "decode", "jt1078", PACKET, PACKET, "3031")
    assert status == 0
    assert out.count("JT/T 1078 packet, 35 bytes") == 2
    assert "SIM卡号" in out
    assert "video p, atomic" in out
    assert "2 bytes of an unfinished packet at the end" in out
    one = json.loads(run(capsys, "decode", "jt1078", "--json", PACKET)[1])
    assert one["fields"]["seq"] == 4232
    assert run(capsys, "decode", "jt1078", "0102030405")[0] == 1


def test_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "decode")[0] == 2
    assert run(capsys, "decode", "jt909", "00")[0] == 2
    assert run(capsys, "decode", "jt808", "--jsonl", "x")[0] == 2
    assert run(capsys, "decode", "jt808", "--edition", "2015", "00")[0] == 2
    assert run(capsys, "encode")[0] == 2


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, out, err = run(capsys, "decode", "--jsonl", str(tmp_path / "none.jsonl"))
    assert (status, out, len(err.splitlines())) == (1, "", 1)


# vector files


def _without_nulls(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None and name not in ("body_head", "body_sha256")}


@pytest.mark.shared
def test_the_vectors_of_jt808(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.jt808.vectors import differences

    answers = lines(capsys, "decode", shared("vectors/jt808.jsonl"))
    for vector, answer in zip(load_vectors("jt808"), answers, strict=True):
        assert answer["id"] == vector["id"]
        if "error" in vector["fields"]:
            assert (answer["ok"], answer["error"]) == (False, vector["fields"]["error"])
        else:
            assert answer["ok"], answer
            assert differences(vector["fields"], answer["fields"]) == [], vector["id"]


@pytest.mark.shared
def test_the_vectors_of_jt808_back_to_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    answers = lines(capsys, "encode", shared("vectors/jt808.jsonl"))
    padded = ("jt808-0104-2013-b-1", "jt808-8400-2019-f-1")
    for vector, answer in zip(load_vectors("jt808"), answers, strict=True):
        if "error" in vector["fields"] or "serials" in vector["fields"]:
            assert not answer["ok"]
        elif vector["id"] not in padded:
            assert answer == {"id": vector["id"], "ok": True, "hex": vector["hex"]}


@pytest.mark.shared
def test_the_vectors_of_jt1078(capsys: pytest.CaptureFixture[str]) -> None:
    file = shared("vectors/jt1078.jsonl")
    vectors = load_vectors("jt1078")
    answers = lines(capsys, "decode", file)
    for vector, answer in zip(vectors, answers, strict=True):
        if vector["kind"] not in ("packet", "incomplete", "stream", "sps"):
            assert (answer["ok"], "unit tests" in answer["error"]) == (False, True)
            continue
        wanted = _without_nulls(vector["fields"])
        packets = wanted.pop("packets", [])
        got = answer["fields"]
        assert {name: got[name] for name in wanted} == wanted, vector["id"]
        if vector["kind"] == "stream":
            assert [{name: one[name] for name in its} for its, one in zip(packets, got["packets"], strict=True)] == packets
    for vector, answer in zip(vectors, lines(capsys, "encode", file), strict=True):
        if vector["kind"] == "packet" and "body" in vector["fields"]:
            assert answer == {"id": vector["id"], "ok": True, "hex": vector["hex"]}
        else:
            assert not answer["ok"]


def test_odd_objects_get_an_answer_each(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "odd.jsonl"
    objects: list[Any] = [
        {"id": 1, "protocol": "jt808", "kind": "body", "msg_id": "0x9101", "hex": "09"},
        {"id": 2, "protocol": "jt808", "kind": "frame", "hex": "7e0002000001390000123400011d"},
        {"id": 3, "protocol": "jt808", "kind": "dream", "hex": ""},
        {"id": 4, "protocol": "jt909", "kind": "frame", "hex": ""},
        {"id": 5, "protocol": "jt808", "kind": "frame"},
        {"id": 6, "protocol": "jt808", "kind": "frame", "hex": "x"},
        {"id": 7, "protocol": "jt808", "kind": "body", "msg_id": "0x10000", "hex": ""},
        {"id": 8, "protocol": "jt808", "kind": "body", "msg_id": 2, "version": 1999, "hex": ""},
        {"id": 9, "protocol": "jt808", "kind": "body", "msg_id": 2, "version": 2019, "hex": ""},
        {"id": 10, "protocol": "jt1078", "kind": "packet", "hex": "3031"},
        {"id": 11, "protocol": "jt1078", "kind": "packet", "hex": "00"},
        {"id": 12, "protocol": "jt1078", "kind": "sps", "hex": ""},
        {"id": 13, "protocol": "jt808", "kind": "item", "hex": "0104"},
    ]
    text = [json.dumps(one) for one in objects]
    file.write_text("\n".join([*text, "", "[1]", "{", "\ufffd"]), encoding="utf-8")
    status, out, err = run(capsys, "decode", "--jsonl", str(file))
    answers = [json.loads(line) for line in out.splitlines()]
    assert (status, err) == (1, "")
    assert [answer["id"] for answer in answers] == [*range(1, 14), None, None, None]
    assert [answer["id"] for answer in answers if answer["ok"]] == [9]
    assert answers[0]["error"] == "RealtimeAvRequest.server_ip at offset 1: needs 9 bytes, 0 left"
    assert answers[1]["error"] == "incomplete"
    assert answers[9]["error"] == "incomplete"


def test_a_sound_frame_with_a_broken_body_is_answered_with_the_word_body(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from relay.jt808.header import Header

    file = tmp_path / "one.jsonl"
    frame = Header(0x0200, "013900001234", 1).encode(bytes(27))
    file.write_text(json.dumps({"id": "a", "protocol": "jt808", "kind": "frame", "hex": frame.hex()}))
    (answer,) = lines(capsys, "decode", file)
    assert (answer["ok"], answer["error"]) == (False, "body")
    assert "LocationReport.time at offset 22" in answer["detail"]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"fields": None}, "no fields given"),
        ({"fields": {"channel": 1}}, "needs fields.header"),
        ({"fields": {"header": {"phone": "1", "msg_id": 1}}}, "reply_serial: is missing"),
        ({"fields": {"header": {"phone": "x", "msg_id": 1}}}, "header.phone"),
        ({"fields": {"header": {"phone": "1" * 13, "msg_id": 1}}}, "header.phone"),
        ({"fields": {"header": {"phone": "1", "msg_id": 70000}}}, "header.msg_id"),
        ({"fields": {"header": {"phone": "1", "msg_id": 0x5501}, "x": 1}}, "0x5501 is not known"),
        ({"fields": {"header": {"phone": "1", "msg_id": 1, "package_total": 2}, "body": ""}}, "come together"),
        ({"fields": {"header": {"phone": "1", "msg_id": 1}, "body": "x"}}, "hex digits"),
        ({"fields": {"header": {"phone": "1", "msg_id": 0x8300}, "flags": 1, "text": "x" * 1023}}, "sub-packages"),
        ({"protocol": "jt1078", "kind": "packet", "fields": {"body": ""}}, "sim"),
        ({"protocol": "jt1078", "kind": "packet", "fields": {"body": "", "sim": "1", "data_type": 99}}, "data_type"),
        ({"protocol": "jt1078", "kind": "sps"}, "cannot be encoded"),
        ({"protocol": "jt1078", "kind": "stream", "fields": {"packets": [1]}}, "packets"),
        ({"kind": "body", "msg_id": "0x0200", "fields": {"layout": 2012}}, "layout"),
        ({"kind": "body", "msg_id": "0x0002", "fields": {"trailing": "x"}}, "trailing"),
        ({"kind": "body", "msg_id": "0x8300", "fields": {"flags": 1, "text": "a", "words.raw": "61"}}, "no such field"),
        ({"kind": "body", "msg_id": "0x8103", "fields": {"params": [], "params.count": -1}}, "whole number"),
        ({"kind": "body", "msg_id": "0x0704", "fields": {"count": 0, "data_type": 0, "locations": [], "locations.skipped": [1]}}, "pairs"),
    ],
)
def test_fields_that_cannot_be_encoded(capsys: pytest.CaptureFixture[str], tmp_path: Path, change: dict[str, Any], problem: str) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text(json.dumps({"id": "a", "protocol": "jt808", "kind": "frame", "version": "2013", **change}))
    (answer,) = lines(capsys, "encode", file)
    assert not answer["ok"]
    assert problem in answer["error"]


def test_vectors_from_standard_input(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps({"id": "a", "protocol": "jt808", "kind": "item", "hex": "31010c"}) + os.linesep))
    status, out, _ = run(capsys, "decode", "--jsonl", "-")
    assert (status, json.loads(out)) == (0, {"id": "a", "ok": True, "fields": {"id": 0x31, "gnss_satellites": 12}})
