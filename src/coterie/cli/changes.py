"""Changes of files as a person reads them: the lines that go, the lines that come, and a few around them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from coterie.agents.installs.targets import Edit
from coterie.frames import neutralise

AROUND = 1
"""Lines shown around a change. Few, as a neighbour may hold a secret."""
LINE_CHARS_MAX = 400
"""A longer line (a file that is one line, say) is not shown whole: what changes in it is named instead."""


def shown(edit: Edit, path: str) -> str:
    """One edit: the file, what is done, and the lines."""
    verb = "new file" if edit.before is None else "remove file" if edit.after is None else "change"
    head = [f"  {verb} {neutralise(path)}", *(f"    {what}" for what in edit.what)]
    if edit.source:
        count = len(_lines(edit.after if edit.before is None else edit.before))
        lines = [f"{count} lines, from {neutralise(edit.source)}"]
    else:
        lines = list(_difference(_lines(edit.before), _lines(edit.after)))
    return "\n".join(head + [f"    {line}" for line in lines])


def _lines(content: bytes | None) -> list[str]:
    return (content or b"").decode("utf-8", "replace").removeprefix("\ufeff").splitlines()


def _difference(before: list[str], after: list[str]) -> Iterator[str]:
    """The lines of a unified difference. What both begin and end with is left out first: a state file may be long."""
    start = _common(before, after)
    left, right = before[start:], after[start:]
    end = _common(left[::-1], right[::-1])
    low, high = max(start - AROUND, 0), end - min(end, AROUND)
    cut = difflib.unified_diff(before[low : len(before) - high], after[low : len(after) - high], n=AROUND, lineterm="")
    for number, line in enumerate(cut):
        if number < 2:  # The names of the files, which stand above.
            continue
        if line.startswith("@@"):
            yield f"at line {low + int(line.split()[2].split(',')[0].lstrip('+'))}:"
        elif len(line) > LINE_CHARS_MAX:
            yield f"{line[0]} (a line of {len(line) - 1} characters)"
        else:
            yield neutralise(line.expandtabs(4))


def _common(left: list[str], right: list[str]) -> int:
    for number, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            return number
    return min(len(left), len(right))
