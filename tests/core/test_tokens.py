"""Signed tokens: what opens what, until when, and every reason for a refusal."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.core.tokens import TOKEN_MAX, Role, Signer, TokenError, stream_name
from relay.errors import UsageError

NOW = 1_795_000_000.0
KEY = "a key of these tests, long enough"


@pytest.fixture
def signer() -> Signer:
    return Signer(KEY, leeway_s=30)


def refused(reason: str, call, *words, **named) -> None:
    with pytest.raises(TokenError) as caught:
        call(*words, **named)
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("pattern", "path", "opens"),
    [
        ("*", "13800138000_1", True),
        ("*", "playback/7f3a", True),
        ("13800138000_1", "13800138000_1", True),
        ("013800138000_1", "13800138000_1", True),
        ("13800138000_1", "00000000013800138000_1", True),
        ("13800138000_1", "13800138000_12", False),
        ("13800138000_1", "13800138000_2", False),
        ("13800138000_*", "13800138000_37", True),
        ("013800138000_*", "13800138000_37", True),
        ("13800138000_*", "13800138001_1", False),
        ("13800138*_1", "13800138999_1", True),
        ("13800138*_1", "13800138999_2", False),
        ("*_1", "13800138000_1", True),
        ("*_1", "playback/x_1", False),
        ("playback/*", "playback/7f3a", True),
        ("playback/*", "13800138000_1", False),
        ("ABC_1", "abc_1", True),
        ("粤B12345_1", "粤b12345_1", True),
        ("/live/13800138000_1.flv", "13800138000_1", True),
        ("13800138000_1", "/live/013800138000_1.live.flv", True),
        ("13800138000_1", "/live/13800138000_1/index.m3u8", True),
        ("/playback/7f3a.mp4", "playback/7f3a", True),
        ("13800138000.1", "13800138000x1", False),
        ("[0-9]_1", "5_1", False),
    ],
)
def test_a_pattern_opens_the_streams_it_names(signer: Signer, pattern: str, path: str, opens: bool) -> None:
    token = signer.media(pattern, 120, NOW)
    if opens:
        assert signer.check_media(token, path, NOW).allows(path)
    else:
        refused("wrong-path", signer.check_media, token, path, NOW)


def test_one_of_several_names_is_enough(signer: Signer) -> None:
    token = signer.media("粤B12345_1", 120, NOW)
    assert signer.check_media(token, ("13800138000_1", "粤B12345_1"), NOW).pattern == "粤b12345_1"
    refused("wrong-path", signer.check_media, token, ("13800138000_1", "粤B12345_2"), NOW)


def test_stream_names_are_compared_without_zeros_prefix_and_ending() -> None:
    assert stream_name("/live/013800138000_1.flv") == "13800138000_1"
    assert stream_name("000") == "0"
    assert stream_name("playback/0012.flv") == "playback/0012"


def test_a_media_token_expires_after_the_leeway(signer: Signer) -> None:
    token = signer.media("*", 120, NOW)
    assert signer.check_media(token, "1_1", NOW + 150).expires == NOW + 120
    refused("expired", signer.check_media, token, "1_1", NOW + 150.5)


def test_viewer_and_address_come_back_and_the_address_binds(signer: Signer) -> None:
    token = signer.media("1_1", 120, NOW, viewer="dispatcher 3", address="10.0.0.7")
    grant = signer.check_media(token, "1_1", NOW, "10.0.0.7")
    assert (grant.viewer, grant.address) == ("dispatcher 3", "10.0.0.7")
    refused("wrong-address", signer.check_media, token, "1_1", NOW, "10.0.0.8")
    refused("wrong-address", signer.check_media, token, "1_1", NOW)
    assert signer.check_media(signer.media("1_1", 120, NOW), "1_1", NOW, "10.0.0.8")


def test_api_tokens_carry_role_and_name(signer: Signer) -> None:
    for word, role in (("viewer", Role.VIEWER), ("operator", Role.OPERATOR), ("admin", Role.ADMIN)):
        grant = signer.check_api(signer.api(word, 60, NOW, "ann"), NOW)
        assert (grant.role, grant.name, grant.expires) == (role, "ann", NOW + 60)
    assert Role.ADMIN > Role.OPERATOR > Role.VIEWER
    refused("expired", signer.check_api, signer.api("admin", 60, NOW), NOW + 91)
    assert signer.api("admin", 60, NOW) != signer.api("admin", 60, NOW), "each has an id of its own"


def test_a_media_token_never_opens_the_api_nor_the_other_way(signer: Signer) -> None:
    refused("wrong-kind", signer.check_api, signer.media("*", 60, NOW, viewer="admin"), NOW)
    refused("wrong-kind", signer.check_media, signer.api("admin", 60, NOW), "*", NOW)


def test_every_changed_character_is_noticed(signer: Signer) -> None:
    token = signer.media("13800138000_1", 120, NOW)
    for at, character in enumerate(token):
        for other in ("A", "b", "-", "."):
            if other != character:
                with pytest.raises(TokenError) as caught:
                    signer.check_media(token[:at] + other + token[at + 1 :], "13800138000_1", NOW)
                assert caught.value.reason in ("bad-signature", "malformed")


def test_every_truncation_is_noticed(signer: Signer) -> None:
    token = signer.api("admin", 120, NOW)
    for end in range(len(token)):
        with pytest.raises(TokenError):
            signer.check_api(token[:end], NOW)


def test_a_longer_expiry_cannot_be_written_in(signer: Signer) -> None:
    body, _, mark = signer.media("*", 120, NOW).partition(".")
    payload = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)).replace(b"1795000120", b"1999999999")
    forged = base64.urlsafe_b64encode(payload).decode().rstrip("=") + "." + mark
    refused("bad-signature", signer.check_media, forged, "1_1", NOW)


def test_keys_rotate_and_the_former_one_is_accepted_until_taken_out(signer: Signer) -> None:
    before = signer.api("viewer", 600, NOW)
    signer.rotate("another key, also long enough", KEY)
    after = signer.api("viewer", 600, NOW)
    assert signer.check_api(before, NOW) and signer.check_api(after, NOW)
    refused("bad-signature", Signer(KEY).check_api, after, NOW)
    signer.rotate("another key, also long enough")
    refused("bad-signature", signer.check_api, before, NOW)
    assert signer.check_api(after, NOW)


def test_tokens_are_url_safe_and_compact(signer: Signer) -> None:
    token = signer.media("13800138000_1", 120, NOW)
    assert all(c.isascii() and (c.isalnum() or c in "-_.") for c in token)
    assert len(token) < 80


def test_what_a_token_cannot_hold_is_a_bug_of_the_caller(signer: Signer) -> None:
    with pytest.raises(UsageError):
        signer.media("1_1", 60, NOW, viewer="a\nb")
    with pytest.raises(UsageError):
        signer.media("1" * TOKEN_MAX, 60, NOW)
    with pytest.raises(UsageError):
        signer.api("root", 60, NOW)
    with pytest.raises(UsageError):
        Signer("")


@given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,30}", fullmatch=True))
def test_any_text_is_refused_with_a_reason(text: str) -> None:
    with pytest.raises(TokenError) as caught:
        Signer(KEY).check_media(text, "1_1", NOW)
    assert caught.value.reason in ("malformed", "bad-signature")


@given(st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60), st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=60))
def test_names_survive_the_way(viewer: str, name: str) -> None:
    signer = Signer(KEY)
    assert signer.check_media(signer.media("*", 60, NOW, viewer), "1_1", NOW).viewer == viewer
    assert signer.check_api(signer.api("admin", 60, NOW, name), NOW).name == name
