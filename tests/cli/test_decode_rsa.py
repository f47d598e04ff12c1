"""``jt1078relay decode jt808 --rsa-n --rsa-d``: bodies encrypted here by another library."""

from __future__ import annotations

import json

import pytest
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from relay.cli.main import main
from relay.jt808.header import Header

MADE = rsa.generate_private_key(public_exponent=65537, key_size=1024)
NUMBERS = MADE.private_numbers()
N = f"{NUMBERS.public_numbers.n:x}"
D = f"{NUMBERS.d:x}"

LOCATION = bytes.fromhex("000000010000000200ba7f0e07e4f11c0028003c000018071510101001040000006402020037")


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    try:
        status = main(words)
    except SystemExit as leaving:
        status = int(leaving.code or 0)
    out, err = capsys.readouterr()
    return status, out, err


def encrypted(body: bytes) -> bytes:
    return b"".join(MADE.public_key().encrypt(body[at : at + 117], padding.PKCS1v15()) for at in range(0, len(body), 117))


def frame(body: bytes, total: int | None = None, index: int | None = None, encryption: int = 1) -> str:
    header = Header(0x0200, "112233445566", 184, encryption=encryption, package_total=total, package_index=index)
    return header.encode(body).hex()


def objects(capsys: pytest.CaptureFixture[str], *words: str) -> list[dict[str, object]]:
    status, out, err = run(capsys, "decode", "jt808", "--json", "--rsa-n", N, "--rsa-d", D, *words)
    assert (status, err) == (0, "")
    return [json.loads(line) for line in out.splitlines()]


def plain(capsys: pytest.CaptureFixture[str]) -> object:
    return objects(capsys, "--body", "0x0200", encrypted(LOCATION).hex())[0]["fields"]


def test_the_frame_and_then_what_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "decode", "jt808", "--rsa-n", N, "--rsa-d", D, frame(encrypted(LOCATION)))
    assert (status, err) == (0, "")
    first, second = out.split("\n\n")
    assert "cipher text" in first and "body 128 bytes, RSA" in first
    assert second.startswith("decrypted: 0x0200 位置信息汇报 Location report (terminal → platform, layout of 2013)\n")
    assert "12.222222" in second and "10.0 km" in second


def test_without_a_key_it_stays_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "decode", "jt808", frame(encrypted(LOCATION)))
    assert (status, err) == (0, "")
    assert "cipher text" in out and "decrypted" not in out


def test_other_encryptions_stay_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert len(objects(capsys, frame(encrypted(LOCATION), encryption=2))) == 1


def test_subpackages_encrypted_before_and_after_they_were_cut(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = plain(capsys)
    assert isinstance(wanted, dict) and wanted["latitude"] == 12222222
    whole = encrypted(LOCATION)
    before = frame(whole[:100], 2, 1) + frame(whole[100:], 2, 2)
    after = frame(encrypted(LOCATION[:20]), 2, 1) + frame(encrypted(LOCATION[20:]), 2, 2)
    for text in (before, after):
        found = objects(capsys, text)
        assert len(found) == 3
        assert found[2]["fields"] == wanted


def test_blocks_without_filling_are_shown_whole(capsys: pytest.CaptureFixture[str]) -> None:
    block = pow(int.from_bytes(LOCATION, "big"), 65537, NUMBERS.public_numbers.n).to_bytes(128, "big")
    status, out, err = run(capsys, "decode", "jt808", "--rsa-n", N, "--rsa-d", D, frame(block))
    assert (status, err) == (0, "")
    assert "no PKCS#1 filling" in out


def test_a_body_that_the_key_cannot_have_encrypted(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run(capsys, "decode", "jt808", "--rsa-n", N, "--rsa-d", D, frame(LOCATION))
    assert status == 1
    assert "0x0200, not decrypted" in out
    assert err == f"jt1078relay decode: rsa: {len(LOCATION)} bytes are no whole blocks of 128\n"


def test_the_key_as_openssl_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    printed = "00:" + ":".join(f"{byte:02x}" for byte in bytes.fromhex(N))
    status, out, _ = run(capsys, "decode", "jt808", "--rsa-n", printed, "--rsa-d", "0x" + D, frame(encrypted(LOCATION)))
    assert status == 0 and "decrypted: " in out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("jt808", "--rsa-n", N), "--rsa-d is missing"),
        (("jt808", "--rsa-d", D), "--rsa-n is missing"),
        (("jt808", "--rsa-n", N, "--rsa-d", "x" + D), "--rsa-d is not a string of hex digits"),
        (("jt808", "--rsa-n", "ff", "--rsa-d", D), "--rsa-n: must be an odd number of 128 bytes"),
        (("jt808", "--rsa-n", N, "--rsa-d", N), "--rsa-d: must be greater than 1"),
        (("jt809", "--rsa-n", N, "--rsa-d", D), "go with jt808"),
        (("--jsonl", "x", "--rsa-n", N, "--rsa-d", D), "go with jt808"),
    ],
)
def test_wrong_usage(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str) -> None:
    status, out, err = run(capsys, "decode", *words, *([] if words[0] == "--jsonl" else [frame(LOCATION)]))
    assert (status, out) == (2, "")
    assert said in err
    assert D not in err.replace("x" + D, "")
