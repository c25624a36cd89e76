"""Amounts as people read them."""

from __future__ import annotations

import pytest

from coterie.cli.sizes import memory, percent
from coterie.limits import KIB, MIB


@pytest.mark.parametrize(
    ("size", "shown"),
    [(None, "-"), (0, "0K"), (900 * KIB, "900K"), (MIB, "1M"), (1023 * MIB, "1023M"), (1536 * MIB, "1.5G")],
)
def test_memory_comes_in_the_unit_that_fits(size: int | None, shown: str) -> None:
    assert memory(size) == shown


def test_a_share_that_is_not_known_is_no_zero() -> None:
    assert [percent(share) for share in (None, 0.0, 12.6, 250.0)] == ["-", "0%", "13%", "250%"]
