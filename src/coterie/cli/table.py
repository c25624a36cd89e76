"""Text in columns: how wide it stands on a terminal, cutting, wrapping, and one small table.

Widths are those of terminals: East Asian wide characters take two columns, combining marks none.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from coterie.frames import QUOTE, neutralise

ELLIPSIS = "…"
GAP = "  "
TAB = 4
_EMOJI_STYLE = "\ufe0f"  # It widens the character before it on most terminals.
_WEIGHTLESS = ("Mn", "Me", "Cf")


class Column(NamedTuple):
    """A column of a table."""

    title: str
    rank: int
    """What is kept longest when there is no room has 0."""
    least: int = 0
    """The width that it may be cut down to; 0 if it may not."""
    tail: bool = False
    """Cut at the front, as the end of a path says more."""
    right: bool = False


def char_width(char: str) -> int:
    """The columns that one character takes."""
    if char.isascii():
        return 1
    if char == _EMOJI_STYLE:
        return 1
    if unicodedata.category(char) in _WEIGHTLESS:
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def text_width(text: str) -> int:
    """The columns that `text` takes."""
    return len(text) if text.isascii() else sum(map(char_width, text))


def cut(text: str, width: int, *, tail: bool = False) -> str:
    """`text` in at most `width` columns; an ellipsis says that there is more (before it, with `tail`)."""
    if text_width(text) <= width:
        return text
    if tail:
        return ELLIPSIS + _fitting(text[::-1], width - 1)[::-1]
    return _fitting(text, width - 1).rstrip() + ELLIPSIS


def _fitting(text: str, width: int) -> str:
    used = 0
    for index, char in enumerate(text):
        used += char_width(char)
        if used > width:
            return text[:index]
    return text


def quoted(text: str, width: int | None, indent: str = GAP) -> str:
    """A peer's text, neutralised, every line behind the quote: also those that a narrow terminal makes of one."""
    mark = indent + QUOTE
    lines = neutralise(text).expandtabs(TAB).split("\n")
    if width is not None:
        lines = [part for line in lines for part in wrapped(line, max(width - len(mark), TAB))]
    return "\n".join((mark + line).rstrip() for line in lines)


def wrapped(line: str, width: int) -> list[str]:
    """`line` in pieces of at most `width` columns, broken at a space where there is one."""
    pieces = []
    while text_width(line) > width:
        head = _fitting(line, width)
        space = len(head) if line[len(head)] == " " else head.rfind(" ")
        end = space if space > 0 else len(head)
        pieces.append(line[:end])
        line = line[end + 1 :] if space > 0 else line[end:]
    return [*pieces, line]


def flowed(fields: Sequence[str], width: int | None) -> str:
    """Fields beside each other; those for which a line has no room go to the next, indented."""
    if width is None:
        return GAP.join(fields)
    lines: list[str] = []
    for field in fields:
        joined = f"{lines[-1]}{GAP}{field}" if lines else cut(field, width)
        if lines and text_width(joined) > width:
            lines.append(GAP + cut(field, width - len(GAP)))
        else:
            lines[-1:] = [joined]
    return "\n".join(lines)


def table(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The lines of a table, its heading first; within `width` columns, if there is a limit.

    Without room, columns are first cut to their least, then dropped, the least important first.
    """
    natural = [
        max(text_width(text) for text in (column.title, *(row[index] for row in rows)))
        for index, column in enumerate(columns)
    ]
    widths = _allot(columns, natural, width)
    titles = [column.title for column in columns]
    return [_line(columns, cells, widths) for cells in (titles, *rows)]


def _allot(columns: Sequence[Column], natural: list[int], width: int | None) -> dict[int, int]:
    """The width of each column that is shown, by its index."""
    if width is None:
        return dict(enumerate(natural))
    ranked = sorted(range(len(columns)), key=lambda index: columns[index].rank)
    widths = {index: _least(columns[index], natural[index]) for index in ranked}
    while len(ranked) > 1 and _total(widths) > width:
        del widths[ranked.pop()]
    if len(ranked) == 1:
        return {ranked[0]: min(natural[ranked[0]], width)}
    spare = width - _total(widths)
    for index in ranked:
        more = min(natural[index] - widths[index], spare)
        widths[index] += more
        spare -= more
    return widths


def _least(column: Column, natural: int) -> int:
    return min(natural, max(column.least, text_width(column.title))) if column.least else natural


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def _line(columns: Sequence[Column], cells: Sequence[str], widths: dict[int, int]) -> str:
    placed = []
    for index, column in enumerate(columns):
        if index not in widths:
            continue
        text = cut(cells[index], widths[index], tail=column.tail)
        fill = " " * (widths[index] - text_width(text))
        placed.append(fill + text if column.right else text + fill)
    return GAP.join(placed).rstrip()
