"""Push addresses: what goes where, and what is refused without showing it."""

from __future__ import annotations

import pytest

from relay.rtmp.url import PushUrlError, Target, parse_push_url


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("rtmp://Media.Example/live/car", Target("rtmp", "media.example", 1935, "live", "car", "")),
        ("rtmp://media.example:1936/app/instance/car?a=b&c=d/e", Target("rtmp", "media.example", 1936, "app/instance", "car", "a=b&c=d/e")),
        ("rtmps://media.example/live/key#1", Target("rtmps", "media.example", 443, "live", "key#1", "")),
        ("rtmp://[2001:db8::1]/live/x", Target("rtmp", "2001:db8::1", 1935, "live", "x", "")),
    ],
)
def test_parts(url: str, target: Target) -> None:
    assert parse_push_url(url) == target


def test_the_query_goes_behind_the_name_or_the_application() -> None:
    target = parse_push_url("rtmp://media.example/live/car?auth=1")
    assert target.connect() == ("live", "rtmp://media.example:1935/live", "car?auth=1")
    assert target.connect("app") == ("live?auth=1", "rtmp://media.example:1935/live?auth=1", "car")
    assert parse_push_url("rtmp://[::1]/live/x").connect()[1] == "rtmp://[::1]:1935/live"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://h/live/secret", "must begin with rtmp:// or rtmps://"),
        ("file:///etc/secret", "must begin with"),
        ("rtmp://h/secret", "must have an application"),
        ("rtmp://h/live/", "must have an application"),
        ("rtmp:///live/secret", "names no host"),
        ("rtmp://h:99999/live/secret", "no address such as"),
        ("rtmp://[h/live/secret", "no address such as"),
        ("rtmp://user:secret@h/live/x", "user:password@"),
        ("rtmp://h:0/live/secret", "port 0"),
        ("rtmp://h/live/a secret", "blanks"),
        ("rtmp://h/live/" + "x" * 2048, "longer than 2048"),
        ("rtmp://h%00/live/secret", "names no host"),
    ],
)
def test_refused_in_words_that_show_nothing_of_it(url: str, words: str) -> None:
    with pytest.raises(PushUrlError, match=words.replace("?", r"\?")) as caught:
        parse_push_url(url)
    assert "secret" not in str(caught.value)


def test_what_is_shown_holds_no_key() -> None:
    assert parse_push_url("rtmp://h/live/secret?secret").shown() == "rtmp://h:1935/live/…"
