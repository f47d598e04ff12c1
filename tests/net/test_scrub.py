"""Scrubbing: nobody is to be found in the result, and everything else is as it was."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.errors import FrameError
from relay.jt808.framing import Deframer, checksum, escape
from relay.jt808.header import Header, decode_frame
from relay.jt808.messages import MESSAGES, decode_message
from relay.jt808.messages.general import Authentication, Registration, RegistrationResponse
from relay.jt808.messages.text import TextMessage
from relay.jt809 import framing as framing809
from relay.jt809.cipher import CipherKeys
from relay.jt809.envelope import body_from_fields, decode_body
from relay.jt809.header import Header as Header809
from relay.jt809.header import decode_frame as decode_frame809
from relay.jt809.header import encode_frame as encode_frame809
from relay.jt1078.demux import PacketReader
from relay.jt1078.packet import packetize
from relay.net.aliases import Aliases
from relay.net.recording import Event, Kind, Recording, RecordingWriter
from relay.net.restream import Fields1078, Frames808, Frames809
from relay.net.scrub import Scrubber, scrub_recording
from tests.shared import captures, load_vectors, shared

PHONE = "013800138000"
ALIAS = "010000000001"


def opened(protocol: str, transport: str = "tcp", link: int = 1) -> Event:
    return Event(Kind.OPEN, link, 0, info={"protocol": protocol, "transport": transport, "peer": "10.0.0.7:1", "local": "192.168.1.5:7808"})


def scrub(protocol: str, data: bytes, scrubber: Scrubber | None = None, cuts: int = 0, transport: str = "tcp") -> bytes:
    """One direction's bytes, in ``cuts`` + 1 portions."""
    scrubber = scrubber or Scrubber()
    chance = random.Random(cuts)
    places = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(cuts))})
    events = [opened(protocol, transport)] + [Event(Kind.IN, 1, 1, data[a:b]) for a, b in itertools.pairwise(places)]
    out = [one for event in events for one in scrubber.feed(event)] + list(scrubber.finish(2))
    return b"".join(event.data for event in out if event.kind is Kind.IN)


def messages(data: bytes) -> list[tuple[Header, Any]]:
    found = (decode_frame(piece) for piece in Deframer().feed(data) if isinstance(piece, bytes))
    return [(header, decode_message(header, body)) for header, body in found]


def registration(phone: str = PHONE, plate: str = "粤B12345", edition: int = 2013) -> bytes:
    body = Registration(province_id=44, city_id=300, manufacturer_id="ACME", terminal_model="M1", terminal_id="8613800", plate_color=2, plate_no=plate)
    return Header(0x0100, phone, 3, protocol_version=1 if edition == 2019 else None).encode(body.encode(edition))


# JT/T 808


@pytest.mark.parametrize("edition", [2013, 2019])
def test_registration_and_authentication(edition: int) -> None:
    version = 1 if edition == 2019 else None
    phone = PHONE if edition == 2013 else "00000000013800138000"
    auth = Authentication(auth_code="CODE-7788", imei="860000000000001", software_version="V1") if version else Authentication(auth_code="CODE-7788")
    data = registration(phone, edition=edition) + Header(0x0102, phone, 4, protocol_version=version).encode(auth.encode(edition))
    scrubber = Scrubber()
    out = scrub("jt808", data, scrubber)
    (first, one), (second, two) = messages(out)
    assert first.phone == second.phone == ALIAS.rjust(len(phone), "0")
    assert (one.plate_no, one.terminal_id, one.manufacturer_id) == ("测A00003", "0000002", "ACME")
    assert two.auth_code == "AAAA-0004"
    if version:
        assert (two.imei, two.software_version) == ("000000000000005", "V1")
    assert len(out) == len(data)
    answer = Header(0x8100, phone, 0, protocol_version=version).encode(RegistrationResponse(reply_serial=3, result=0, auth_code="CODE-7788").encode(edition))
    assert messages(scrub("jt808", answer, scrubber))[0][1].auth_code == "AAAA-0004"


def test_the_same_is_the_same_everywhere() -> None:
    scrubber = Scrubber()
    scrub("jt808", registration(), scrubber)
    media = scrub("jt1078", packetize(b"x", sim=PHONE, channel=1, pt=98, data_type=0)[0], scrubber)
    wide = scrub("jt1078", packetize(b"x", sim=PHONE, channel=1, pt=98, data_type=0, sim_bytes=10)[0], scrubber)
    text = scrub("jt808", Header(0x8300, PHONE, 5).encode(TextMessage(flags=8, text="车辆粤B12345请回电13800138000或4008001234。").encode(2013)), scrubber)
    assert media[8:14].hex() == ALIAS
    assert wide[8:18].hex() == ALIAS.rjust(20, "0")
    assert messages(text)[0][1].text == "车辆测A00003请回电10000000001或1000000004。"


def test_a_broken_frame_stays_as_broken_as_it_was() -> None:
    good = registration()
    content = good[1:-1]
    assert b"\x7d" not in content
    wrong = b"\x7e" + content[:-1] + bytes((content[-1] ^ 0x55,)) + b"\x7e"
    out = scrub("jt808", good + wrong)
    first, second = out.split(b"\x7e")[1], out.split(b"\x7e")[3]
    assert checksum(first) == 0
    assert checksum(second) == 0x55
    assert second[:-1] == first[:-1]


@pytest.mark.parametrize(
    "raw",
    [
        b"\x7e\x02\x00\x7d\x03" + bytes.fromhex(PHONE) + b"\x7e",  # a wrong escape
        b"\x7e\x02\x00\x00\x05" + bytes.fromhex(PHONE) + b"\x00\x01\x7e",  # cut
        b"noise 13800138000 " + "粤B12345".encode("gb18030"),
        b"\x7e" + bytes.fromhex(PHONE) * 500,  # no end
    ],
)
def test_numbers_that_are_known_are_found_in_what_cannot_be_read(raw: bytes) -> None:
    scrubber = Scrubber()
    scrub("jt808", registration(), scrubber)
    out = scrub("jt808", raw, scrubber)
    assert len(out) == len(raw)
    assert bytes.fromhex(PHONE) not in out
    assert b"13800138000" not in out
    assert "粤B12345".encode("gb18030") not in out
    assert out.count(bytes.fromhex(ALIAS)) == raw.count(bytes.fromhex(PHONE))


def test_what_needs_escapes_afterwards_gets_them() -> None:
    aliases = Aliases()
    aliases.set_phone(PHONE, "7e7d7e7d7e7d")
    out = scrub("jt808", registration(), Scrubber(aliases))
    assert messages(out)[0][0].phone == "7e7d7e7d7e7d"


def test_parameters_contacts_and_telephones() -> None:
    fields = {"total": 4, "params": [
        {"id": 0x0040, "value": "075512345678"}, {"id": 0x0083, "value": "粤B12345"}, {"id": 0x0012, "value": "secret"}, {"id": 0x0001, "value": 30},
    ]}  # fmt: skip
    message = MESSAGES.get(0x8103)
    assert message is not None
    body = message.from_fields({"params": fields["params"]}, 2013).encode()
    (_, one), = messages(scrub("jt808", Header(0x8103, PHONE, 1).encode(body)))  # fmt: skip
    values = {entry.id: entry.value for entry in one.params}
    assert values == {0x40: "010000000002", 0x83: "测A00003", 0x12: "aaaaae", 0x01: 30}


@pytest.mark.parametrize("name", ["jt808", "jt808-active-safety"])
def test_every_vector_keeps_its_form(name: str) -> None:
    vectors = [v for v in load_vectors(name) if v["kind"] == "frame"]
    if not vectors:
        pytest.skip("the shared vectors are not there")
    for vector in vectors:
        raw = bytes.fromhex(vector["hex"])
        out = scrub("jt808", raw)
        for before, after in zip(Deframer().feed(raw), Deframer().feed(out), strict=True):
            assert isinstance(before, bytes)
            assert isinstance(after, bytes)
            reasons = []
            for piece in (before, after):
                try:
                    header, body = decode_frame(piece)
                    reasons.append(f"0x{header.msg_id:04X} {header.serial}")
                    decode_message(header, body)
                except FrameError as problem:
                    reasons.append(problem.reason)
                except Exception as problem:
                    reasons.append(type(problem).__name__)
            assert reasons[: len(reasons) // 2] == reasons[len(reasons) // 2 :], vector["id"]


def test_attachments_keep_their_bytes() -> None:
    name = b"02_65_6502_3_13800138000.mp4"
    body = b"\x7e13800138000\x7e" * 20
    chunk = b"01cd" + name.ljust(50, b"\0") + bytes(4) + len(body).to_bytes(4, "big") + body
    scrubber = Scrubber()
    for cuts in range(12):
        out = scrub("jt808", registration() + chunk + registration(), scrubber, cuts)
        assert len(messages(out[: len(registration())])) == 1
        head = out[len(registration()) :][:62]
        assert head[4:54].rstrip(b"\0") == b"02_65_6502_3_10000000001.mp4"
        assert out[len(registration()) + 62 :][: len(body)] == body


# JT/T 809

KEYS = CipherKeys(30000000, 20000000, 20000000)


def frame809(msg_id: int, fields: dict[str, Any], edition: int = 2011, keys: CipherKeys | None = None) -> bytes:
    header = Header809(msg_id, 1, 44030001, edition=edition, time=1704067487, encrypt_flag=int(keys is not None), encrypt_key=99)
    return encode_frame809(header, body_from_fields(msg_id, fields, edition).encode(), keys)


def test_platforms_and_their_vehicles() -> None:
    login = frame809(0x1001, {"user_id": 10001, "password": "pass1234", "down_link_ip": "203.0.113.9", "down_link_port": 8809})
    text = {"msg_sequence": 1, "msg_priority": 0, "msg_content": "粤B12345,13912345678"}
    down = frame809(0x9500, {"vehicle_no": "粤B12345", "vehicle_color": 2, "data_type": 0x9503, "data": text})
    info = frame809(0x1600, {"vehicle_no": "粤B12345", "vehicle_color": 2, "data_type": 0x1601, "data": {
        "car_info": "VIN:=粤B12345;OWERS_NAME:=张三;OWERS_TEL:=13912345678"}})  # fmt: skip
    for cuts in (0, 3, 40):
        out = scrub("jt809", login + down + info, cuts=cuts)
        frames = framing809.Deframer().feed(out)
        assert len(frames) == 3
        headers, bodies = [], []
        for frame in frames:
            header, body, _ = decode_frame809(frame, 2011)
            headers.append(header)
            bodies.append(decode_body(header.msg_id, body, 2011).fields())
        assert len({header.msg_gnsscenterid for header in headers}) == 1
        assert headers[0].msg_gnsscenterid != 44030001
        assert bodies[0]["user_id"] != 10001
        assert bodies[0]["password"] not in ("pass1234", "")
        assert (bodies[0]["down_link_ip"], bodies[0]["down_link_port"]) == ("203.0.113.9", 8809)
        plate = bodies[1]["vehicle_no"]
        assert plate.startswith("测A")
        assert bodies[2]["vehicle_no"] == plate
        number = bodies[1]["data"]["msg_content"].partition(",")[2]
        assert bodies[1]["data"]["msg_content"] == f"{plate},{number}"
        assert bodies[2]["data"]["car_info"] == f"VIN:={plate};OWERS_NAME:=某某;OWERS_TEL:={number}"
        assert number not in ("", "13912345678")


def test_encrypted_bodies_with_and_without_the_constants() -> None:
    fields = {"vehicle_no": "粤B12345", "vehicle_color": 2, "data_type": 0x9802, "data": {"channel_id": 1, "avitem_type": 0}}
    raw = frame809(0x9800, fields, 2019, KEYS)
    _, body, _ = decode_frame809(scrub("jt809", raw, Scrubber(keys=KEYS)), 2019, KEYS)
    assert decode_body(0x9800, body, 2019).vehicle_no == "测A00001"
    scrubber = Scrubber()
    out = scrub("jt809", raw, scrubber)
    assert out[40:-3] == raw[40:-3]
    assert scrubber.counts == {"encrypted bodies left as they are": 1}


def test_every_809_vector_keeps_its_form() -> None:
    vectors = [v for v in load_vectors("jt809") if v["kind"] == "frame"]
    if not vectors:
        pytest.skip("the shared vectors are not there")
    for vector in vectors:
        raw, edition = bytes.fromhex(vector["hex"]), int(vector["version"])
        keys = CipherKeys(**vector["crypto"]) if "crypto" in vector else None
        out = scrub("jt809", raw, Scrubber(keys=keys))
        results = []
        for frame in (raw, out):
            try:
                header, body, _ = decode_frame809(frame, edition, keys)
                business = decode_body(header.msg_id, body, edition)
                results.append((header.msg_id, header.msg_sn, header.time, business.data_type, business.form, type(business.data)))
            except FrameError as problem:
                results.append((problem.reason,))  # type: ignore[arg-type]
            except Exception as problem:
                results.append((type(problem).__name__,))  # type: ignore[arg-type]
        assert results[0] == results[1], vector["id"]


# JT/T 1078


def test_every_capture_keeps_its_packets() -> None:
    for entry in captures():
        if not entry["file"].endswith(".jt1078") or entry["bytes"] > 400_000:
            continue
        data = shared(f"captures/{entry['file']}").read_bytes()
        reader, other = PacketReader(), PacketReader()
        before = reader.feed(data) + reader.finish()
        out = scrub("jt1078", data, cuts=200)
        assert len(out) == len(data)
        after = other.feed(out) + other.finish()
        known: dict[str, str] = {}
        assert len(before) == len(after), entry["file"]
        for one, two in zip(before, after, strict=True):
            assert known.setdefault(one.sim, two.sim) == two.sim
            assert one.sim != two.sim or not one.sim.strip("0")
            assert (one.seq, one.channel, one.timestamp, one.body) == (two.seq, two.channel, two.timestamp, two.body)
        assert (reader.garbage_bytes, reader.trailing_bytes) == (other.garbage_bytes, other.trailing_bytes)


def test_datagrams_are_not_joined() -> None:
    scrubber = Scrubber()
    packet = packetize(bytes(20), sim=PHONE, channel=1, pt=98, data_type=0)[0]
    events = [opened("jt1078", "udp"), *(Event(Kind.IN, 1, i, packet[: len(packet) - i]) for i in range(4))]
    out = [one.data for event in events for one in scrubber.feed(event) if one.kind is Kind.IN]
    assert [len(data) for data in out] == [len(packet) - i for i in range(4)]
    assert all(data[8:14].hex() == ALIAS for data in out)


# streams


def changed(marks: list[bytes]) -> Callable[[bytes], bytes]:
    def change(piece: bytes) -> bytes:
        marks.append(piece)
        return piece

    return change


@pytest.mark.parametrize("kind", [Frames808, Frames809, Fields1078])
def test_streams_lose_nothing_whatever_comes(kind: Any) -> None:
    chance = random.Random(11)
    alphabet = [b"\x7e", b"\x7d\x02", b"[", b"]", b"01cd", b"01", b"\x81\x62", b"\x00", b"abc", bytes(60), escape(b"\x7e\x7d")]
    alphabet += packetize(b"x", sim="1", channel=1, pt=98, data_type=0)
    for _ in range(400):
        data = b"".join(chance.choice(alphabet) for _ in range(chance.randrange(30)))
        for cuts in (0, 5, len(data)):
            def same(piece: bytes) -> bytes:
                return piece

            stream = kind(same) if kind is Fields1078 else kind(same, same)
            places = sorted({0, len(data), *(chance.randrange(len(data) + 1) for _ in range(cuts))})
            out = b"".join(stream.feed(data[a:b]) for a, b in itertools.pairwise(places)) + stream.flush()
            assert out == data


def test_a_whole_recording(tmp_path: Path) -> None:
    with (tmp_path / "a.jtrec").open("wb") as file:
        writer = RecordingWriter(file)
        for event in (opened("jt808"), Event(Kind.IN, 1, 1, registration()), Event(Kind.OUT, 1, 2, b"\x7e"), Event(Kind.CLOSE, 1, 3, info={"reason": "x"})):
            writer.write(event)
    scrub_recording(Recording(tmp_path / "a.jtrec"), tmp_path / "b.jtrec", Scrubber())
    events = list(Recording(tmp_path / "b.jtrec"))
    assert [event.kind.name for event in events] == ["NOTE", "OPEN", "IN", "OUT", "CLOSE"]
    assert events[0].info == {"scrubbed": True}
    assert (events[1].info["peer"], events[1].info["local"]) == ("192.0.2.1:1", "192.0.2.2:7808")
    with pytest.raises(FileExistsError):
        scrub_recording(Recording(tmp_path / "a.jtrec"), tmp_path / "b.jtrec", Scrubber())


def test_aliases() -> None:
    aliases = Aliases()
    assert aliases.phone("013800138000") == "010000000001" == aliases.phone("013800138000")
    assert aliases.phone("13800138000") == "10000000001"
    assert aliases.phone("000000000000") == "000000000000"
    assert aliases.phone("00000a3f1c22")[:5] == "00000"
    assert aliases.plate("") == ""
    assert aliases.plate("粤BD12345") == aliases.plate("粤BD12345") == "测A000003"
    assert aliases.text("张三") != "张三"
    assert aliases.number(0) == 0
    assert aliases.number(44030001) == aliases.number(44030001) != 44030001
    assert 0 < aliases.number(4294967295) < 2**32
    many = {aliases.phone(f"{number:012d}") for number in range(1, 3000)}
    assert len(many) > 2900
