"""A peer's text on one line: its beginning, or the place where something was found."""

from __future__ import annotations

from collections.abc import Sequence

from coterie.cli import say
from coterie.cli.table import ELLIPSIS, cut, text_width
from coterie.frames import neutralise

MARK = "  | "
BEFORE_HIT = 24
"""Characters shown before what was found, where it does not stand at the beginning."""
Hits = Sequence[Sequence[int]]


def first_line(text: str, columns: int | None) -> str:
    """The first line that says something; an ellipsis if there is more."""
    lines = [line for line in neutralise(text).split("\n") if line.strip()]
    first = " ".join(lines[0].split()) if lines else ""
    shown = first if columns is None else cut(first, columns - len(MARK) - 2)
    return f"{MARK}{shown}{' …' if len(lines) > 1 and not shown.endswith('…') else ''}"


def hit_line(text: str, hits: Hits, columns: int | None) -> str:
    """The line in which the first hit stands, with every hit on it marked."""
    if not hits:
        return first_line(text, columns)
    first = hits[0][0]
    start = text.rfind("\n", 0, first) + 1
    end = text.find("\n", first)
    end = len(text) if end < 0 else end
    before = f"{ELLIPSIS} " if text[:start].strip() else ""
    if first - start > BEFORE_HIT and columns is not None:
        start, before = first - BEFORE_HIT, ELLIPSIS
    room = None if columns is None else columns - len(MARK)
    after = f" {ELLIPSIS}" if text[end:].strip() else ""
    return MARK + _within(_pieces(text, start, end, hits), before, after, room)


def _pieces(text: str, start: int, end: int, hits: Hits) -> list[tuple[str, bool]]:
    """The text between two places, neutralised, in pieces that are hits or are not."""
    pieces, at = [], start
    for low, high in hits:
        if low >= end:
            break
        pieces += [(_plain(text[at:low]), False), (_plain(text[low : min(high, end)]), True)]
        at = min(high, end)
    return [piece for piece in [*pieces, (_plain(text[at:end]), False)] if piece[0]]


def _plain(text: str) -> str:
    """Neutralised, on one line, blanks at its ends kept as one."""
    return say.plain(f".{text}.")[1:-1]


def _within(pieces: list[tuple[str, bool]], before: str, after: str, room: int | None) -> str:
    """The pieces, as many as there is room for, with what stands before and after them."""
    shown, left = before, None if room is None else room - len(before) - len(after)
    for piece, is_hit in pieces:
        marks = 0 if say.styled() or not is_hit else 2
        if left is not None and text_width(piece) + marks > left:
            part = cut(piece, max(left - marks, 1)) if left > marks else ""
            return shown + (say.marked(part) if is_hit and part else part)
        shown += say.marked(piece) if is_hit else piece
        left = None if left is None else left - text_width(piece) - marks
    return shown + after
