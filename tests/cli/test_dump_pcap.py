"""``decode --pcap``: what people and programs get of a capture."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from relay.cli.main import main
from relay.jt808.header import Header
from relay.jt808.messages.general import Heartbeat, PlatformGeneralResponse
from relay.jt809.cipher import CipherKeys
from relay.jt809.envelope import body_from_fields
from relay.jt809.framing import unescape
from relay.jt809.header import Header as Header809
from relay.jt809.header import encode_frame
from relay.jt1078.packet import packetize
from relay.net.recording import Event, Kind, RecordingWriter
from tests.cli.captures import Stamped, Talk, ip, pcap, pcapng, udp
from tests.shared import load_vectors, shared

PHONE = "013800138000"
HEARTBEAT = Header(0x0002, PHONE, 7).encode(Heartbeat().encode(2013))
ANSWER = Header(0x8001, PHONE, 9).encode(PlatformGeneralResponse(reply_serial=7, reply_msg_id=2, result=0).encode(2013))


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = main(words)
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def capture(tmp_path: Path, packets: Stamped) -> str:
    file = tmp_path / "field.pcap"
    file.write_bytes(pcap(sorted(packets, key=lambda one: one[0])))
    return str(file)


def objects(capsys: pytest.CaptureFixture[str], file: str, *words: str) -> list[dict[str, Any]]:
    status, out, err = run(capsys, "decode", "--pcap", file, "--json", *words)
    assert (status, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def messages(found: list[dict[str, Any]]) -> list[tuple[int, str, str]]:
    return [(one["connection"], one["protocol"], one["message"]["id"]) for one in found if "message" in one]


def video(sim: str = PHONE, channel: int = 1, frames: int = 3, seq: int = 0) -> bytes:
    out = b""
    for number in range(frames):
        packets = packetize(bytes(2000), sim=sim, channel=channel, pt=98, data_type=0 if number == 0 else 1, seq=seq, timestamp=1000 + 40 * number)
        seq += len(packets)
        out += b"".join(packets)
    return out


def platform_frames() -> tuple[bytes, bytes]:
    login = body_from_fields(0x1001, {"user_id": 5, "password": "p", "down_link_ip": "10.0.0.9", "down_link_port": 8809}, 2011)
    answer = body_from_fields(0x1002, {"result": 0, "verify_code": 77}, 2011)
    return encode_frame(Header809(0x1001, 0, 44), login.encode()), encode_frame(Header809(0x1002, 0, 44), answer.encode())


def test_messages_in_the_order_of_time_with_their_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    terminal = Talk().open().up(HEARTBEAT[:5]).up(HEARTBEAT[5:]).down(ANSWER).up(HEARTBEAT + HEARTBEAT).close()
    login, answer = platform_frames()
    superior = Talk(("10.0.0.1", 50000), ("192.0.2.1", 10709), 1_795_000_000_100_000_000).open().up(login).down(answer).close()
    found = objects(capsys, capture(tmp_path, terminal.packets + superior.packets))
    assert messages(found) == [
        (2, "jt809", "0x1001"), (1, "jt808", "0x0002"), (2, "jt809", "0x1002"), (1, "jt808", "0x8001"), (1, "jt808", "0x0002"), (1, "jt808", "0x0002"),
    ]  # fmt: skip
    first = found[1]
    assert {k: first[k] for k in ("time", "transport", "from", "to")} == {
        "time": "2026-11-18T19:06:41.000000+08:00", "transport": "tcp", "from": "10.0.0.7:40112", "to": "10.0.0.1:7808",
    }  # fmt: skip
    assert first["fields"]["header"]["phone"] == PHONE
    summaries = {one["connection"]: one["summary"] for one in found if "summary" in one}
    assert summaries[1]["protocol"] == "jt808"
    assert summaries[2] | {"first": "", "last": ""} == {
        "transport": "tcp", "protocol": "jt809", "client": "10.0.0.1:50000", "server": "192.0.2.1:10709", "first": "", "last": "", "packets": 7,
        "bytes": [len(login), len(answer)], "missing": [0, 0], "repeated": [0, 0], "beginning_seen": True, "end_seen": True,
    }  # fmt: skip


def test_tables_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = capture(tmp_path, Talk(time=1_795_000_000_000_000_000).open().up(HEARTBEAT).down(ANSWER).packets)
    status, out, err = run(capsys, "decode", "--pcap", file)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].endswith("#1 10.0.0.7:40112 → 10.0.0.1:7808 tcp")
    assert lines[1].startswith("0x0002 终端心跳")
    assert any(line.split()[:4] == ["10", "00", "07", "serial_no"] for line in lines)
    assert any(line.endswith("#1 10.0.0.1:7808 → 10.0.0.7:40112 tcp") for line in lines)
    assert lines[-2:] == ["connections", f"#1 tcp 10.0.0.7:40112 → 10.0.0.1:7808: jt808, 5 packets, {len(HEARTBEAT)} bytes there, {len(ANSWER)} back"]
    status, out, _ = run(capsys, "decode", "--pcap", file, "--brief")
    assert re.fullmatch(r"0x0002 .*\)  phone \d+, serial_no 7", out.splitlines()[0].partition("tcp  ")[2])
    assert len(out.splitlines()) == 4


def test_a_line_for_a_message_has_its_values_with_their_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    location = bytes(8) + bytes.fromhex("01dcd8a0073ac0a0 0010 02d0 005a 261120153045".replace(" ", ""))
    request = b"\x0810.0.0.1" + bytes.fromhex("0436 0000 01 02 01".replace(" ", ""))
    frames = Header(0x0200, PHONE, 1).encode(location) + Header(0x9101, PHONE, 2).encode(request)
    first, second, *_ = run(capsys, "decode", "--pcap", capture(tmp_path, Talk().open().up(frames).packets), "--brief")[1].splitlines()
    assert first.partition("2013)  ")[2] == (
        f"phone {PHONE}, serial_no 1, alarm_flags 0, status_flags 0, latitude 31.250592 °, longitude 121.290912 °, altitude 16 m, speed 72.0 km/h, "
        "direction 90, time 2026-11-20 15:30:45 GMT+8"
    )
    assert second.partition("2013)  ")[2] == f"phone {PHONE}, serial_no 2, server_ip 10.0.0.1, tcp_port 1078, udp_port 0, channel 1, data_type 2, stream_type 1"


def test_one_connection_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = Talk().open().up(HEARTBEAT)
    two = Talk(("10.0.0.8", 1000)).open().up(HEARTBEAT)
    file = capture(tmp_path, one.packets + two.packets)
    assert messages(objects(capsys, file, "--connection", "2")) == [(2, "jt808", "0x0002")]


def test_media_is_summed_up_unless_all_is_wanted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = video()
    talk = Talk(server=("10.0.0.1", 1078)).open()
    for at in range(0, len(data), 700):
        talk.up(data[at : at + 700])
    del talk.packets[3 + 7]  # one segment of the middle never came
    file = capture(tmp_path, talk.packets)
    found = objects(capsys, file)
    packets = [one for one in found if "fields" in one]
    assert [(one["fields"]["sim"], one["fields"]["seq"]) for one in packets] == [(PHONE, 0)]
    assert [one["gap"] for one in found if "gap" in one] == [700]
    (stream,) = [one["stream"] for one in found if "stream" in one]
    assert (stream["sim"], stream["channel"], stream["media"], stream["payload_types"]) == (PHONE, 1, "video", {"98 h264": stream["packets"]})
    assert (stream["packets"] + stream["lost_packets"], stream["first_timestamp"], stream["last_timestamp"]) == (9, 1000, 1080)
    assert len([one for one in objects(capsys, file, "--full") if "fields" in one]) == stream["packets"]
    out = run(capsys, "decode", "--pcap", file)[1]
    assert f"{PHONE}_1 video (98 h264): {stream['packets']} packets" in out
    assert "stamps over 0.080 s" in out


def test_datagrams_of_signalling_and_media(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packets = packetize(bytes(100), sim=PHONE, channel=2, pt=6, data_type=3, seq=5)
    made = [
        (1, ip("10.0.0.7", "10.0.0.1", 17, udp(5000, 7808, HEARTBEAT))),
        (2, ip("10.0.0.1", "10.0.0.7", 17, udp(7808, 5000, ANSWER))),
        (3, ip("10.0.0.7", "10.0.0.1", 17, udp(5001, 1079, packets[0]))),
        (4, ip("10.0.0.7", "10.0.0.1", 17, udp(5002, 53, b"\x12\x34\1\0"))),
    ]
    found = objects(capsys, capture(tmp_path, made))
    assert messages(found) == [(1, "jt808", "0x0002"), (1, "jt808", "0x8001")]
    assert [one["stream"]["media"] for one in found if "stream" in one] == ["audio"]
    assert [one["summary"]["protocol"] for one in found if "summary" in one] == ["jt808", "jt1078", None]


def test_the_middle_of_connections_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    login, _ = platform_frames()
    one = Talk().up(HEARTBEAT[9:] + HEARTBEAT)
    two = Talk(("10.0.0.8", 1001)).up(login[9:] + login)
    three = Talk(("10.0.0.9", 1002)).up(video()[100:])
    four = Talk(("10.0.0.9", 1003)).up(b"SSH-2.0-x\r\n")
    found = objects(capsys, capture(tmp_path, one.packets + two.packets + three.packets + four.packets))
    assert {one["connection"]: one["summary"]["protocol"] for one in found if "summary" in one} == {1: "jt808", 2: "jt809", 3: "jt1078", 4: None}
    assert messages(found) == [(1, "jt808", "0x0002"), (2, "jt809", "0x1001")]
    assert any(one.get("skipped") for one in found)


def test_a_stream_inside_http(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk(server=("10.0.0.1", 8078)).open().up(b"GET /%E7%B2%A4B1.2.1.0.x HTTP/1.1\r\n\r\n").down(b"HTTP/1.1 200 OK\r\n\r\n").down(video())
    found = objects(capsys, capture(tmp_path, talk.packets))
    assert [one["stream"]["packets"] for one in found if "stream" in one] == [9]


def test_a_port_that_the_user_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = capture(tmp_path, Talk(server=("10.0.0.1", 9999)).open().up(b"garbage" + HEARTBEAT).packets)
    found = objects(capsys, file, "--port", "9999=808")
    assert messages(found) == [(1, "jt808", "0x0002")]
    assert next(one["skipped"] for one in found if "skipped" in one) == 7
    for wrong in ("9999", "x=jt808", "0=jt808", "5=jt810"):
        assert run(capsys, "decode", "--pcap", file, "--port", wrong)[0] == 2


def test_a_message_over_a_hole_is_lost_and_the_next_one_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talk = Talk().open().up(HEARTBEAT).up(HEARTBEAT[:6]).up(HEARTBEAT[6:]).up(HEARTBEAT).close()
    del talk.packets[5]
    found = objects(capsys, capture(tmp_path, talk.packets))
    assert messages(found) == [(1, "jt808", "0x0002")] * 2
    assert [one["gap"] for one in found if "gap" in one] == [len(HEARTBEAT) - 6]
    assert [one["unfinished"] for one in found if "unfinished" in one] == [HEARTBEAT[:6].hex()]


def test_sub_packages_are_put_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = [v for v in load_vectors("jt808") if v["id"].startswith("jt808-1205-2019-f-")]
    if not vectors:
        pytest.skip("the shared vectors are not there")
    talk = Talk().open()
    for vector in vectors:
        talk.up(bytes.fromhex(vector["hex"]))
    found = objects(capsys, capture(tmp_path, talk.packets))
    assert messages(found) == [(1, "jt808", "0x1205")] * (len(vectors) + 1)
    assert len(found[-2]["fields"]["resources"]) > 100


def test_attachments_between_the_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chunk = b"01cd" + b"00_65_6401_0_abc.jpg".ljust(50, b"\0") + (0).to_bytes(4, "big") + (3000).to_bytes(4, "big")
    body = b"\x7e" * 1500 + b"01cd" * 375
    talk = Talk(server=("10.0.0.1", 7200)).open().up(HEARTBEAT + chunk + body[:700]).up(body[700:2000]).up(body[2000:] + HEARTBEAT)
    found = objects(capsys, capture(tmp_path, talk.packets))
    assert messages(found) == [(1, "jt808", "0x0002")] * 2
    assert [one["chunk"] for one in found if "chunk" in one] == [{"file_name": "00_65_6401_0_abc.jpg", "offset": 0, "length": 3000}]
    assert not any("skipped" in one for one in found)


def test_every_809_vector_in_one_capture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two links, one of each edition; frames cut anywhere; encrypted ones with the account's constants."""
    vectors = [v for v in load_vectors("jt809") if v["kind"] == "frame" and not v.get("expect")]
    if not vectors:
        pytest.skip("the shared vectors are not there")
    keys = {"m1": 30000000, "ia1": 20000000, "ic1": 20000000}
    links = {year: Talk(("10.0.0.1", int(year)), ("192.0.2.1", 10709)).open() for year in ("2011", "2019")}
    sent: dict[str, list[dict[str, Any]]] = {"2011": [], "2019": []}
    for vector in vectors:
        if vector.get("crypto") not in (None, keys):
            continue
        raw = bytes.fromhex(vector["hex"])
        links[vector["version"]].up(raw[:20]).up(raw[20:])
        sent[vector["version"]].append(vector["fields"])
    file = capture(tmp_path, links["2011"].packets + links["2019"].packets)
    found = objects(capsys, file, "--m1", "30000000", "--ia1", "20000000", "--ic1", "20000000")
    got: dict[int, list[dict[str, Any]]] = {1: [], 2: []}
    for one in found:
        if "fields" in one:
            got[one["connection"]].append(one["fields"])
    assert got[1] == sent["2011"]
    assert got[2] == sent["2019"]


def test_encrypted_frames_without_constants(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = body_from_fields(0x1002, {"result": 0, "verify_code": 77}, 2011).encode()
    frame = encode_frame(Header809(0x1002, 0, 44, encrypt_flag=1, encrypt_key=9), body, CipherKeys(1, 2, 3))
    found = objects(capsys, capture(tmp_path, Talk().open().down(frame).packets))
    assert found[0]["fields"]["body"] == {"raw": unescape(frame[1:-1])[22:-2].hex()}
    assert any("encrypted" in note for note in found[0]["notes"])


def test_a_capture_that_breaks_off_shows_what_came_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "cut.pcapng"
    file.write_bytes(pcapng(Talk().open().up(HEARTBEAT).up(HEARTBEAT).packets)[:-30])
    status, out, err = run(capsys, "decode", "--pcap", str(file), "--brief")
    assert (status, out.count("0x0002 终端心跳")) == (1, 1)
    assert err == "jt1078relay decode: the capture ends in the middle of packet 5\n"
    file.write_bytes(b"hello, this is text")
    assert run(capsys, "decode", "--pcap", str(file)) == (1, "", "jt1078relay decode: neither pcap nor pcapng\n")
    assert run(capsys, "decode", "--pcap", str(tmp_path / "absent"))[0] == 1
    assert run(capsys, "decode", "--pcap", str(file), "jt808")[0] == 2


def test_a_real_media_stream_is_counted_like_the_index_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = shared("captures/syn-h264-g711a.jt1078").read_bytes()
    talk = Talk(server=("10.0.0.1", 1078)).open()
    for at in range(0, len(data), 1448):
        talk.up(data[at : at + 1448])
    found = objects(capsys, capture(tmp_path, talk.close().packets))
    streams = {one["stream"]["media"]: one["stream"] for one in found if "stream" in one}
    assert set(streams) == {"video", "audio", "data"}
    assert sum(one["lost_packets"] for one in streams.values()) == 0
    assert not any("skipped" in one for one in found)


def test_a_recording_knows_of_a_port_bound_to_every_address(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "udp.jtrec"
    with file.open("wb") as raw:
        writer = RecordingWriter(raw)
        writer.write(Event(Kind.OPEN, 1, 0, info={"protocol": "jt808", "transport": "udp", "peer": "10.0.0.7:40112", "local": "port 7808"}))
        writer.write(Event(Kind.IN, 1, 1, HEARTBEAT))
    assert "10.0.0.7:40112 → relay:7808 udp  0x0002" in run(capsys, "decode", "--pcap", str(file), "--brief")[1]
