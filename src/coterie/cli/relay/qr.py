"""A link as a QR code in the terminal: two modules a character, the light ones drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any, cast

from coterie.cli import say

BORDER = 2
"""Modules of quiet around the code. The standard asks for four; readers make do with two, and 80 columns are few."""
WHITE_ON_BLACK = "\x1b[97;40m{}\x1b[0m"
"""So that the light modules are light on a light terminal, too."""
_PARTS = re.compile(r"[0-9A-Z $%*+\-./:]+|[^0-9A-Z $%*+\-./:]+")
"""What a QR code holds in 5.5 bits a character (its alphanumeric mode), and what takes eight."""


def lines(link: str) -> Iterator[str]:
    """The lines of the code. A link is the same in capitals, and takes a third less of them."""
    import segno  # For those who ask for it alone.

    out, parts = io.StringIO(), _PARTS.findall(link.upper())
    code = segno.make(cast(Any, parts), micro=False, error="l")  # Its types know one part alone.
    code.terminal(out=out, compact=True, border=BORDER)
    yield from out.getvalue().splitlines()


def draw(link: str) -> None:
    """Draw it, or say why not."""
    drawn, width = list(lines(link)), say.width()
    if width is not None and len(drawn[0]) > width:
        say.note(f"no QR code: it needs {len(drawn[0])} columns, and this terminal has {width}")
        return
    if not say.can_write(drawn[0]):
        say.note("no QR code: this terminal's encoding has no blocks to draw it with; in UTF-8 it has")
        return
    say.result("")
    for line in drawn:
        say.result(WHITE_ON_BLACK.format(line) if say.styled() else line)
    if not say.styled():
        say.note("to be read off light letters on a dark ground")
