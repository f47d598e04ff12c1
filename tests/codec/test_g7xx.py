"""G.711, G.726, ADPCM and the HiSilicon header against the shared vectors, and what only the bytes can tell."""

from __future__ import annotations

import hashlib
import random
import shutil
import subprocess
from typing import Any

import pytest

from relay.codec import adpcm, g711, g726, hisi, pcm
from relay.errors import DecodeError, UsageError
from tests.shared import load_vectors

VECTORS = load_vectors("jt1078")


def of_kind(*kinds: str) -> list[Any]:
    return [pytest.param(v, id=v["id"]) for v in VECTORS if v["kind"] in kinds]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("vector", of_kind("g711a", "g711u"))
def test_g711_tables(vector: dict[str, Any]) -> None:
    codes = bytes.fromhex(vector["hex"])
    a_law = vector["kind"] == "g711a"
    sound = g711.decode_a(codes) if a_law else g711.decode_u(codes)
    assert list(pcm.samples(sound)) == vector["fields"]["pcm"]
    back = g711.encode_a(sound) if a_law else g711.encode_u(sound)
    # µ-law has two zeros, and 0 is encoded as the positive one
    assert back == (codes if a_law else codes.replace(b"\x7f", b"\xff"))


def test_g711_encodes_into_the_interval_that_holds_the_sample() -> None:
    for encode, values, finest in ((g711.encode_a, g711.A_VALUES, 16), (g711.encode_u, g711.U_VALUES, 8)):
        last = -32768
        for sample in [*range(-32768, 32768, 77), 32767]:
            code = encode((sample & 0xFFFF).to_bytes(2, "little"))[0]
            segment = (code ^ (0x55 if finest == 16 else 0xFF)) >> 4 & 7
            interval = finest << (max(segment - 1, 0) if finest == 16 else segment)
            assert abs(values[code] - sample) <= interval // 2 + 4 or abs(sample) > 32000, sample  # 13, 14 bits; overload
            assert values[code] >= last
            last = values[code]


def test_g711_silence_and_short_samples() -> None:
    assert set(g711.encode_a(bytes(8))) == set(g711.SILENCE["g711a"])
    assert set(g711.encode_u(bytes(8))) == set(g711.SILENCE["g711u"])
    codes = bytes(range(256))
    for law, values in (("g711a", g711.A_VALUES), ("g711u", g711.U_VALUES)):
        shift = g711.WASTED[law]
        assert [s << shift for s in g711.decode_short(law, codes)] == list(values)


@pytest.mark.parametrize("vector", of_kind("hisi_header"))
def test_hisi_header(vector: dict[str, Any]) -> None:
    data = bytes.fromhex(vector["hex"])
    assert hisi.has_header(data) is vector["fields"]["strip"]
    payload = hisi.strip(data)
    assert len(payload) == vector["fields"]["payload_len"]
    if vector["fields"]["strip"]:
        assert hisi.add_header(payload) == data


def test_hisi_header_is_only_what_fits_its_length() -> None:
    assert hisi.strip(b"\x00\x01\x03\x00" + bytes(4)) == b"\x00\x01\x03\x00" + bytes(4)
    assert hisi.strip(b"\x00\x01\x00") == b"\x00\x01\x00"
    assert hisi.strip(b"") == b""
    long = bytes(range(256)) * 4
    assert hisi.add_header(long)[:4] == b"\x00\x01\x00\x02"
    assert hisi.strip(hisi.add_header(long)) == long
    with pytest.raises(UsageError):
        hisi.add_header(b"\x00")


@pytest.mark.parametrize("vector", of_kind("adpcm"))
def test_adpcm_layout_and_sound(vector: dict[str, Any]) -> None:
    fields = vector["fields"]
    data = bytes.fromhex(vector["hex"])
    assert hisi.has_header(data) is fields["hisi_header"]
    frame = hisi.strip(data)
    layout = adpcm.detect([frame])
    assert layout == fields.get("layout", "hisi")
    sound = adpcm.Decoder(layout).decode(frame)
    assert adpcm.sample_count(layout, len(frame)) == fields["samples"] == len(sound) // 2
    assert list(pcm.samples(sound))[:12] == fields["pcm_head"]
    assert sha256(sound) == fields["pcm_s16le_sha256"]


def test_adpcm_without_state_runs_on_and_big_endian_state_is_known() -> None:
    vector = next((v for v in VECTORS if v["kind"] == "adpcm"), None)
    if vector is None:
        pytest.skip("no vectors")
    frame = hisi.strip(bytes.fromhex(vector["hex"]))
    assert frame[:4] == bytes(4)  # predictor 0, index 0: what a decoder without state starts from
    whole = adpcm.Decoder("hisi").decode(frame)
    raw = adpcm.Decoder("raw-dvi4")
    assert raw.decode(frame[4:84]) + raw.decode(frame[84:]) == whole
    assert adpcm.detect([frame[4:84], frame[84:]]) == "raw-dvi4"
    raw.reset()
    assert raw.decode(frame[4:]) == whole
    state = b"\x12\x34\x05\x00"
    swapped = b"\x34\x12\x05\x00"
    assert adpcm.Decoder("rtp-dvi4").decode(state + frame[4:]) == adpcm.Decoder("hisi").decode(swapped + frame[4:])


def test_adpcm_noise_is_decoded_or_a_decode_error() -> None:
    chance = random.Random(26)
    for _ in range(300):
        frame = chance.randbytes(chance.randrange(90))
        for layout in adpcm.LAYOUTS:
            try:
                assert len(adpcm.Decoder(layout).samples(frame)) == adpcm.sample_count(layout, len(frame))
            except DecodeError:
                assert layout != "raw-dvi4"
        adpcm.detect([frame])
    assert adpcm.detect([]) == "raw-dvi4"


@pytest.mark.parametrize("vector", of_kind("g726"))
def test_g726_detected_and_decoded_exactly(vector: dict[str, Any]) -> None:
    fields = vector["fields"]
    data, size = bytes.fromhex(vector["hex"]), fields["frame_bytes"]
    frames = [data[i : i + size] for i in range(0, len(data), size)]
    guess = g726.detect(frames, 40)
    assert (guess.bits, guess.layout) == (fields["bits"], fields["packing"])
    assert guess.sure
    assert g726.RATES[guess.bits] == fields["bitrate"]
    decoder = g726.Decoder(guess.bits, guess.layout)
    sound = b"".join(decoder.decode(frame) for frame in frames)
    assert list(pcm.samples(sound))[:12] == fields["pcm_head"]
    assert sha256(sound) == fields["pcm_s16le_sha256"]


def test_g726_rate_by_size_and_step() -> None:
    assert [g726.detect_bits(size) for size in (80, 120, 160, 200, 40, 60, 100)] == [2, 3, 4, 5, 2, 3, 5]
    assert g726.detect_bits(80, 20) == 4
    assert g726.detect_bits(80, 40) == 2
    assert g726.detect_bits(80, 39) == 2
    assert g726.detect_bits(120, 1000) == 3  # the step is a gap, not a frame
    assert g726.detect_bits(7, 0) == 4


@pytest.mark.parametrize("bits", [2, 3, 4, 5])
@pytest.mark.parametrize("layout", ["le", "be"])
def test_g726_any_bytes_are_sound_and_blocks_join(bits: int, layout: str) -> None:
    data = random.Random(bits).randbytes(bits * 60)
    whole = g726.Decoder(bits, layout).samples(data)
    assert len(whole) == 480
    parts = g726.Decoder(bits, layout)
    joined = parts.samples(data[: bits * 7])
    joined.extend(parts.samples(data[bits * 7 :]))
    assert joined == whole
    parts.reset()
    assert parts.samples(data) == whole
    assert len(g726.unpack(data[: bits + 1], bits, layout)) == 8 * (bits + 1) // bits
    for pattern in (b"\x00", b"\xff", b"\x77", b"\x11"):  # drives the predictor to its bounds
        g726.Decoder(bits, layout).samples(pattern * 2000)


def test_g726_bit_orders_are_each_other_s_mirror() -> None:
    codes = [5, 1, 7, 0, 3, 6, 2, 4]
    little = sum(code << 3 * i for i, code in enumerate(codes)).to_bytes(3, "little")
    big = sum(code << 3 * (7 - i) for i, code in enumerate(codes)).to_bytes(3, "big")
    assert g726.unpack(little, 3, "le") == g726.unpack(big, 3, "be") == codes


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="ffmpeg makes the sounds")
@pytest.mark.parametrize("bits", [2, 3, 4, 5])
@pytest.mark.parametrize("layout", ["le", "be"])
@pytest.mark.parametrize(
    "sound",
    [
        "anoisesrc=c=brown:r=8000:d=1:a=0.5:seed=7",
        "aevalsrc='0.4*sin(2*PI*3000*t)':s=8000:d=1",
        "aevalsrc='(sin(2*PI*130*t)+0.7*sin(2*PI*260*t)+0.5*sin(2*PI*650*t)+0.3*sin(2*PI*1080*t))*(0.1+0.1*sin(2*PI*3*t))':s=8000:d=1",
    ],
    ids=["rumble", "whistle", "voice"],
)
def test_g726_order_of_other_sounds(sound: str, bits: int, layout: str) -> None:
    name = "g726le" if layout == "le" else "g726"
    command = ["ffmpeg", "-v", "error", "-f", "lavfi", "-i", sound, "-c:a", name, "-code_size", str(bits), "-f", name, "-"]
    data = subprocess.run(command, capture_output=True, check=True).stdout
    frames = [data[i : i + 40 * bits] for i in range(0, len(data), 40 * bits)]
    assert g726.detect(frames, 40)[:2] == (bits, layout)
    command = ["ffmpeg", "-v", "error", "-f", name, "-code_size", str(bits), "-i", "-", "-f", "s16le", "-"]
    judged = subprocess.run(command, capture_output=True, check=True, input=data).stdout
    assert g726.Decoder(bits, layout).decode(data)[: len(judged)] == judged


def test_g726_a_look_that_begins_in_silence_becomes_sure_later() -> None:
    vector = next((v for v in VECTORS if v["kind"] == "g726" and v["fields"]["bits"] == 4), None)
    if vector is None:
        pytest.skip("no vectors")
    size = vector["fields"]["frame_bytes"]
    data = bytes.fromhex(vector["hex"])
    sound = [data[i : i + size] for i in range(0, len(data), size)]
    silence = [b"\xff" * size] * 20
    assert not g726.detect(silence, 40).sure
    guess = g726.detect(silence + sound * 4, 40)
    assert guess.sure
    assert guess.layout == vector["fields"]["packing"]


def test_wav_file() -> None:
    file = pcm.wav(b"\x01\x02\x03\x04", 8000, 2)
    assert len(file) == 48
    assert file.hex() == (
        "52494646" "28000000" "57415645" "666d7420" "10000000" "0100" "0200" "401f0000" "007d0000" "0400" "1000" "64617461" "04000000" "01020304"
    )  # fmt: skip
    with pytest.raises(UsageError):
        pcm.wav_header(1 << 32, 8000, 1)


def test_pcm_bytes_and_numbers() -> None:
    assert list(pcm.samples(b"\x01\x00\xff\xff\x07")) == [1, -1]
    assert pcm.to_bytes(pcm.samples(b"\x01\x00\xff\xff")) == b"\x01\x00\xff\xff"
    assert pcm.swap(b"\x01\x02\x03\x04\x05") == b"\x02\x01\x04\x03"
