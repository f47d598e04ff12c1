"""Wrong passwords are slowed down, per account and per address."""

from __future__ import annotations

from relay.core.guessing import FREE, NAMES_MAX, WAIT_MAX_S, WAIT_S, Guessing


def test_a_few_wrong_ones_cost_nothing_then_each_doubles_the_wait() -> None:
    guessing = Guessing()
    for _ in range(FREE - 1):
        guessing.wrong(0.0, "account a", "address x")
    assert guessing.wait_s(0.0, "account a", "address x") == 0
    guessing.wrong(0.0, "account a", "address x")
    assert guessing.wait_s(0.0, "account a") == WAIT_S
    assert guessing.wait_s(0.0, "account b", "address x") == WAIT_S, "another account from the same address waits as well"
    assert guessing.wait_s(0.0, "account b", "address y") == 0, "another address is not disturbed"
    guessing.wrong(5.0, "account a")
    assert guessing.wait_s(5.0, "account a") == 2 * WAIT_S
    assert guessing.refused == 3


def test_the_wait_has_an_end_and_is_forgotten() -> None:
    guessing = Guessing()
    for _ in range(FREE + 40):
        guessing.wrong(0.0, "account a")
    assert guessing.wait_s(0.0, "account a") == WAIT_MAX_S
    guessing.wrong(WAIT_MAX_S + 61, "account a")
    assert guessing.wait_s(WAIT_MAX_S + 61, "account a") == 0, "one wrong one after a quiet time begins anew"


def test_a_right_one_clears_the_account() -> None:
    guessing = Guessing()
    for _ in range(FREE):
        guessing.wrong(0.0, "account a")
    guessing.right("account a")
    assert guessing.wait_s(0.0, "account a") == 0


def test_names_that_are_made_up_do_not_grow_the_table() -> None:
    guessing = Guessing()
    for number in range(NAMES_MAX + 100):
        guessing.wrong(0.0, f"account {number}")
    assert len(guessing._tries) == NAMES_MAX
