"""Amounts as people read them."""

from __future__ import annotations

from coterie.limits import KIB, MIB

NONE = "-"


def memory(size: int | None) -> str:
    """Bytes in the unit that fits: ``12M``, ``1.4G``."""
    if size is None:
        return NONE
    if size >= KIB * MIB:
        return f"{size / KIB / MIB:.1f}G"
    return f"{size / MIB:.0f}M" if size >= MIB else f"{size / KIB:.0f}K"


def percent(share: float | None) -> str:
    """A share of one core; ``-`` where it is not known yet."""
    return NONE if share is None else f"{share:.0f}%"
