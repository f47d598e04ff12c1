"""Faults as words."""

from __future__ import annotations

import pytest

from relay.sim.faults import FAULTS, FaultError, Faults


def test_every_fault_can_be_named() -> None:
    faults = Faults.parse(FAULTS)
    assert set(faults.values) == set(FAULTS)
    assert faults.get("refuse") == 1
    assert faults.get("no-answer") == 0x9101
    assert "loss" in faults
    assert Faults.parse([]).get("loss") == 0


def test_values() -> None:
    faults = Faults.parse(["loss=2.5", "no-answer=9102", "sim-bytes=6"])
    assert (faults.get("loss"), faults.get("no-answer"), faults.get("sim-bytes")) == (2.5, 0x9102, 6)


@pytest.mark.parametrize("word", ["nonsense", "loss=many", "loss=101", "hisi=1", "refuse=4", "sim-bytes=8", "wrong-sim=1e13"])
def test_what_cannot_be(word: str) -> None:
    with pytest.raises(FaultError):
        Faults.parse([word])
