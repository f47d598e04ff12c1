"""Hex as programs print it."""

from __future__ import annotations

import io
import random
import struct

import pytest

from relay.cli.dump_table import InputError, parse_hex
from relay.cli.hexdump import undump
from relay.cli.main import main
from tests.cli.captures import ethernet, ip, tcp, udp

FRAME = bytes.fromhex("7e0200002611223344556622b8000000010000000200ba7f0e07e4f11c0028003c00001807151010100104000000640202003757 7e".replace(" ", ""))
ASCII = bytes(range(0x30, 0x47)) + b"abcdef0123456789" + FRAME


def shown(data: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in data)


def xxd(data: bytes) -> str:
    return "\n".join(
        f"{at:08x}: {' '.join(data[at + i : min(at + i + 2, at + 16, len(data))].hex() for i in range(0, 16, 2)).rstrip():<39}  {shown(data[at : at + 16])}"
        for at in range(0, len(data), 16)
    )


def hexdump_c(data: bytes) -> str:
    lines = []
    for at in range(0, len(data), 16):
        line = data[at : at + 16]
        lines.append(f"{at:08x}  {line[:8].hex(' '):<23}  {line[8:].hex(' '):<23}  |{shown(line)}|")
    return "\n".join([*lines, f"{len(data):08x}"])


def wireshark(data: bytes, indent: str = "", width: int = 4, text: bool = True) -> str:
    return "\n".join(
        f"{indent}{at:0{width}x}   {data[at : at + 16].hex(' '):<47}" + (f"   {shown(data[at : at + 16])}" if text else "") for at in range(0, len(data), 16)
    )


def tcpdump_x(data: bytes) -> str:
    return "\n".join(
        f"\t0x{at:04x}:  {' '.join(data[at + i : min(at + i + 2, at + 16)].hex() for i in range(0, 16, 2)).strip():<39}  {shown(data[at : at + 16])}"
        for at in range(0, len(data), 16)
    )


def od(data: bytes) -> str:
    return "\n".join([*(f"{at:07o} {data[at : at + 16].hex(' ')}" for at in range(0, len(data), 16)), f"{len(data):07o}"])


@pytest.mark.parametrize("form", [xxd, hexdump_c, wireshark, tcpdump_x, od])
@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 80])
def test_forms_and_sizes(form: object, size: int) -> None:
    chance = random.Random(size)
    for data in (FRAME[:size], ASCII[:size], b"0" * size, b"ab  cd12 34" * 3, bytes(chance.randrange(256) for _ in range(size))):
        assert parse_hex([form(data)]) == data  # type: ignore[operator]


def test_other_spellings() -> None:
    data = ASCII
    upper = "\n".join(f"{at:04X}: {data[at : at + 8].hex(' ').upper()}" for at in range(0, len(data), 8))
    ultra = "\n".join(f"{at:08x}h: {data[at : at + 16].hex(' ')} ; {shown(data[at : at + 16])}" for at in range(0, len(data), 16))
    decimal = "\n".join(f"{at:06d}  {data[at : at + 10].hex(' ')}" for at in range(0, len(data), 10))
    for text in (upper, decimal, "\n\n".join(upper.split("\n")), ultra):
        assert parse_hex([text]) == data


def test_repeated_lines() -> None:
    data = b"x" * 16 + bytes(160) + b"end"
    text = f"{hexdump_c(data[:32]).rsplit(chr(10), 1)[0]}\n*\n000000b0  65 6e 64  |end|\n000000b3"
    assert parse_hex([text]) == data


def test_both_sides_of_a_followed_stream() -> None:
    text = "\n".join((wireshark(FRAME, width=8), wireshark(FRAME[:20], "    ", 8)))
    assert parse_hex([text]) == FRAME + FRAME[:20]


def test_packets_with_their_headers() -> None:
    def checked(packet: bytes) -> bytes:
        total = sum(struct.unpack(">10H", packet[:20]))
        total = (total & 0xFFFF) + (total >> 16)
        return packet[:10] + (total ^ 0xFFFF).to_bytes(2, "big") + packet[12:]

    one = ethernet(checked(ip("10.0.0.7", "10.0.0.1", 6, tcp(1, 2, 3, 4, 16, FRAME))))
    two = checked(ip("10.0.0.7", "10.0.0.1", 17, udp(1, 2, b"\x7e\1\x7e")))
    assert parse_hex([wireshark(one) + "\n\n" + wireshark(two, text=False)]) == FRAME + b"\x7e\1\x7e"
    assert parse_hex([tcpdump_x(two)]) == b"\x7e\1\x7e"
    assert parse_hex([wireshark(one[:-2] + b"\0")]) == one[:-2] + b"\0"  # cut: shown as it is


@pytest.mark.parametrize(
    "text", [FRAME.hex(), FRAME.hex(" "), FRAME[:20].hex() + "\n" + FRAME[20:].hex(), "7e02\n0000\n2611", "0000 0200 7e", "30316364\n81e21088", "", "*", "zz"]
)
def test_plain_hex_is_no_dump(text: str) -> None:
    assert undump(text) is None


def test_a_dump_with_a_line_missing_is_not_guessed_at() -> None:
    lines = xxd(ASCII).split("\n")
    with pytest.raises(InputError):
        parse_hex(["\n".join(lines[:1] + lines[2:])])


def test_any_text_at_all() -> None:
    chance = random.Random(5)
    for _ in range(2000):
        text = "".join(chance.choice("0123456789abcdef  \n:|*.\tx") for _ in range(chance.randrange(60)))
        try:
            parse_hex([text])
        except InputError:
            continue


def test_the_command_reads_dumps(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    good = bytes.fromhex("7e0002000001380013800000072b7e")
    for text in (xxd(good), hexdump_c(good), wireshark(good)):
        monkeypatch.setattr("sys.stdin", io.StringIO(text))
        assert main(["decode", "jt808"]) in (0, 1)
        assert "终端心跳" in capsys.readouterr().out
