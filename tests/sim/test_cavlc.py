"""The tables of CAVLC are complete codes, and ffmpeg reads what is written with them (``test_tiles`` has the pictures)."""

from __future__ import annotations

from fractions import Fraction

import pytest

from relay.errors import UsageError
from relay.sim.cavlc import CHROMA_DC, COEFF_TOKEN, RUN_BEFORE, TOTAL_ZEROS, TOTAL_ZEROS_DC, coeff_token, residual, se, to_bytes, ue


def codes() -> list[tuple[str, tuple[str, ...]]]:
    named = [(f"coeff_token {i}", tuple(code for row in table for code in row if code)) for i, table in enumerate(COEFF_TOKEN)]
    named += [(f"total_zeros {i + 1}", row) for i, row in enumerate(TOTAL_ZEROS)]
    named += [(f"total_zeros chroma DC {i + 1}", row) for i, row in enumerate(TOTAL_ZEROS_DC)]
    named += [(f"run_before {i + 1}", row) for i, row in enumerate(RUN_BEFORE)]
    return named


@pytest.mark.parametrize(("name", "table"), codes())
def test_no_code_is_the_beginning_of_another(name: str, table: tuple[str, ...]) -> None:
    for code in table:
        assert [other for other in table if other.startswith(code)] == [code]
    assert sum(Fraction(1, 2 ** len(code)) for code in table) <= 1


def test_the_tables_have_the_standards_sizes() -> None:
    assert [[len(row) for row in table] for table in COEFF_TOKEN] == [[17] * 4] * 3 + [[5] * 4]
    assert [len(row) for row in TOTAL_ZEROS] == [17 - total for total in range(1, 16)]
    assert [len(row) for row in RUN_BEFORE] == [2, 3, 4, 5, 6, 7, 15]


@pytest.mark.parametrize(("value", "bits"), [(0, "1"), (1, "010"), (2, "011"), (3, "00100"), (6, "00111"), (7, "0001000"), (255, "00000000100000000")])
def test_unsigned_exp_golomb(value: int, bits: str) -> None:
    assert ue(value) == bits


@pytest.mark.parametrize(("value", "same"), [(0, 0), (1, 1), (-1, 2), (2, 3), (-2, 4)])
def test_signed_exp_golomb_is_the_unsigned_one_of_table_9_3(value: int, same: int) -> None:
    assert se(value) == ue(same)


def test_a_block_worked_by_hand() -> None:
    # 0, 3, 0, 1, -1, -1, 0, 1, 0 …: five coefficients, three of them trailing ones, three zeros between them
    assert residual([0, 3, 0, 1, -1, -1, 0, 1] + [0] * 8, 0) == "0000100" "011" "1" "0010" "111" "10" "1" "1" "01"


def test_contexts_choose_the_table() -> None:
    assert [coeff_token(n, 0, 0) for n in (0, 1, 2, 3, 4, 7, 8, 16, CHROMA_DC)] == ["1", "1", "11", "11", "1111", "1111", "000011", "000011", "01"]
    assert coeff_token(8, 1, 1) == "000001"
    assert coeff_token(9, 3, 16) == "111111"


def test_a_coefficient_beyond_baseline_is_our_own_mistake() -> None:
    with pytest.raises(UsageError):
        residual([100000] + [0] * 15, 0)


def test_the_stop_bit_and_the_filling() -> None:
    assert to_bytes("") == b"\x80"
    assert to_bytes("1010101") == b"\xab"
    assert to_bytes("10101010") == b"\xaa\x80"
