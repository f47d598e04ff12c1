"""Messages as people see them: taken apart, without their secrets in rows or in the hex."""

from __future__ import annotations

from relay.app.explaining import STARS, Explainer
from relay.jt808.header import Header
from relay.jt808.messages.general import Authentication
from relay.jt808.messages.parameters import SetParameters

PHONE = "013800138000"
explain = Explainer()


def test_a_message_is_shown_as_decode_shows_it() -> None:
    told = explain("jt808", Header(0x0002, PHONE, 9).encode(b""), "13800138000")
    assert told["message"]["id"] == "0x0002"
    assert [row["name"] for row in told["rows"]] == ["msg_id", "properties", "phone", "serial_no", "checksum"]
    assert (told["problem"], told["raw"][:4]) == ("", "0002")


def test_secrets_are_stars_in_their_rows_and_in_the_hex() -> None:
    body = Authentication.from_fields({"auth_code": "SECRET-CODE"}, 2013).encode(2013)
    told = explain("jt808", Header(Authentication.KEY, PHONE, 9).encode(body), "13800138000")
    assert next(row["value"] for row in told["rows"] if row["name"] == "auth_code") == STARS
    assert b"SECRET-CODE".hex() not in str(told)
    assert "**" * len(b"SECRET-CODE") in told["raw"]
    words = SetParameters.from_fields({"params": [{"id": 0x0012, "value": "dialword"}, {"id": 0x0013, "value": "192.0.2.1"}]}, 2013).encode(2013)
    told = explain("jt808", Header(SetParameters.KEY, PHONE, 9).encode(words), "13800138000")
    assert "dialword" not in str(told)
    assert b"dialword".hex() not in str(told)
    assert "192.0.2.1" in str(told)


def test_what_cannot_be_read_is_said_and_shown() -> None:
    assert "5B and 5D" in explain("jt809", b"nothing", "superior:province")["problem"]
    frame = bytearray(Header(0x0002, PHONE, 9).encode(b""))
    frame[5] ^= 1
    assert explain("jt808", bytes(frame), "")["problem"].startswith("checksum")
