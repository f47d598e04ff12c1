"""``jt1078relay simulate superior --ask``: what people type. What it does with a relay: tests/app/test_bridge.py."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

from relay.cli import simulate_ask
from relay.cli.main import main
from relay.cli.simulate_ask import AskError, check, controls, moment, span

NOW = 1_795_000_000.5


def words(*typed: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    simulate_ask.arguments(parser)
    return parser.parse_args(["--plate", "粤B12345", *typed])


def test_times_and_spans() -> None:
    assert moment("7200", NOW) == 1_795_000_000 - 7200
    assert moment("2026-11-29T08:00", NOW) == moment("2026-11-29 08:00:00", NOW) == 1_795_910_400
    assert span(words("--ask", "live"), NOW) == (0, 0)
    assert span(words("--ask", "search"), NOW) == (1_795_000_000 - 86400, 1_795_000_000)
    assert span(words("--ask", "playback", "--from", "5400"), NOW) == (1_795_000_000 - 5400, 1_795_000_000 - 3600)
    assert span(words("--ask", "download", "--from", "600"), NOW) == (1_795_000_000 - 600, 1_795_000_000)
    assert span(words("--ask", "search", "--from", "600", "--to", "60"), NOW) == (1_795_000_000 - 600, 1_795_000_000 - 60)


def test_controls_come_in_the_order_of_time() -> None:
    found = controls(["stop@9", "speed=4@2.5", "seek=2026-11-29T08:00:00@1"], "playback", NOW)
    assert found == [(1.0, "seek", "2026-11-29T08:00:00"), (2.5, "speed", "4"), (9.0, "stop", "")]
    assert controls(["pause@1", "cancel@2"], "download", NOW) == [(1.0, "pause", ""), (2.0, "cancel", "")]


@pytest.mark.parametrize(
    "typed",
    [
        ("--ask", "playback"),
        ("--ask", "playback", "--from", "yesterday"),
        ("--ask", "search", "--from", "60", "--to", "600"),
        ("--ask", "live", "--control", "pause@1"),
        ("--ask", "playback", "--from", "600", "--control", "speed=3@1"),
        ("--ask", "playback", "--from", "600", "--control", "speed@1"),
        ("--ask", "playback", "--from", "600", "--control", "pause=1@1"),
        ("--ask", "playback", "--from", "600", "--control", "seek@1"),
        ("--ask", "playback", "--from", "600", "--control", "pause"),
        ("--ask", "download", "--from", "600", "--control", "stop@1"),
        ("--ask", "live", "--channel", "256"),
        ("--ask", "live", "--plate", ""),
    ],
)
def test_what_cannot_be_asked_is_told_before_anything_listens(typed: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AskError):
        check(words(*typed))
    args: list[Any] = ["simulate", "superior", "--plate", "粤B12345", *typed]
    assert main(args) == 1
    assert capsys.readouterr().err.startswith("jt1078relay simulate: ")
