"""Edits of a TOML text that leave every other byte of it as it was. Pure.

Ours is a table of its own, so an edit is a matter of lines: a key's value is replaced, a line is added to a table, or
tables are added at the end. Where somebody wrote the same in another form (an inline table, say), Python's own parser
says that the outcome is no TOML, and the edit is refused.
"""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any, NamedTuple

from coterie.texts import BadText, Path, newline_of

_BOM = "\ufeff"
_TOKEN = re.compile(
    r'"""(?:[^\\]|\\.)*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:\'{0,2})|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*|\n|[^\n"\'#]',
    re.DOTALL,
)
_BLANK = re.compile(r"(?:[ \t\r\n\ufeff]|#[^\n]*)*")
_PART = re.compile(r'[ \t]*("(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+)[ \t]*')
_PLACE = re.compile(r"(.*) \(at line (\d+), column (\d+)\)$", re.DOTALL)
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def parse(text: str) -> dict[str, Any]:
    """The tables of a text. Raises `BadText` with line and column."""
    try:
        return tomllib.loads(text.removeprefix(_BOM))
    except tomllib.TOMLDecodeError as error:
        found = _PLACE.match(str(error))
        if found:
            raise BadText(found[1], int(found[2]), int(found[3])) from None
        raise BadText(str(error)) from None


class Statement(NamedTuple):
    """The header of a table, or a key and its value."""

    is_header: bool
    path: Path
    """With the table that it stands in."""
    start: int
    """Where its line begins."""
    value: int
    end: int
    """Behind the value, before a comment."""


def statements(text: str) -> list[Statement]:
    """All statements of a text that parses."""
    found: list[Statement] = []
    table: Path = ()
    at = _blanks_end(text, 0)
    while at < len(text):
        start = text.rfind("\n", 0, at) + 1
        if text[at] == "[":
            table, inside = _key(text, at + (2 if text.startswith("[[", at) else 1))
            end = inside + (2 if text.startswith("]]", inside) else 1)
            found.append(Statement(True, table, start, at, end))
        else:
            key, equals = _key(text, at)
            end = _value_end(text, equals + 1)
            value = equals + 1 + len(text[equals + 1 : end]) - len(text[equals + 1 : end].lstrip(" \t"))
            found.append(Statement(False, table + key, start, value, end))
        at = _blanks_end(text, end)
    return found


def _blanks_end(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _key(text: str, at: int) -> tuple[Path, int]:
    """A dotted key, and where it ends."""
    parts: list[str | int] = []
    while found := _PART.match(text, at):
        word = found[1]
        parts.append(tomllib.loads(f"k = {word}")["k"] if word[0] in "\"'" else word)
        at = found.end()
        if text[at : at + 1] != ".":
            break
        at += 1
    return tuple(parts), at


def _value_end(text: str, at: int) -> int:
    depth, end = 0, at
    for found in _TOKEN.finditer(text, at):
        token = found[0]
        if depth == 0 and token[0] in "\n#":
            break
        depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(token, 0)
        if token not in (" ", "\t", "\r"):
            end = found.end()
    return end


# --- edits ------------------------------------------------------------------------------------------------------------


def set_value(text: str, path: Path, value: Any) -> str:
    """`text` with this value at `path`; a table that is missing is added at the end."""
    all_of_it = statements(text)
    written = _written(value)
    for statement in all_of_it:
        if not statement.is_header and statement.path == path:
            return text[: statement.value] + written + text[statement.end :]
    eol = newline_of(text)
    line = f"{_quoted(path[-1])} = {written}{eol}"
    last = _last_of_table(all_of_it, path[:-1])
    if last is not None:
        end = _line_end(text, last.end)
        joint = "" if text[:end].endswith("\n") else eol
        return text[:end] + joint + line + text[end:]
    gap = "" if not text.strip(_BOM) else eol if text.endswith("\n") else eol + eol
    return f"{text}{gap}[{'.'.join(map(_quoted, path[:-1]))}]{eol}{line}"


def _last_of_table(all_of_it: list[Statement], table: Path) -> Statement | None:
    """The last statement of a table that has a header."""
    found: Statement | None = None
    inside = False
    for statement in all_of_it:
        if statement.is_header:
            inside = statement.path == table
        if inside:
            found = statement
    return found


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end + 1


def _quoted(name: str | int) -> str:
    return str(name) if _BARE.fullmatch(str(name)) else json.dumps(str(name), ensure_ascii=False)


def _written(value: Any) -> str:
    """Texts, and lists of them, are written in TOML as in JSON."""
    return json.dumps(value, ensure_ascii=False)


def delete(text: str, path: Path) -> str:
    """`text` without the table at `path`, those below it, and keys of theirs that stand elsewhere."""
    cuts: list[tuple[int, int]] = []
    inside = False
    for statement in statements(text):
        mine = statement.path[: len(path)] == path
        if statement.is_header:
            inside = mine
        if not mine:
            continue
        end = _line_end(text, statement.end)
        if inside and not statement.is_header:
            cuts[-1] = (cuts[-1][0], end)
        else:
            cuts.append((_with_blank_line(text, statement) if inside else statement.start, end))
    for start, end in reversed(cuts):
        text = text[:start] + text[end:]
    return text


def _with_blank_line(text: str, header: Statement) -> int:
    """Where a table begins, with the one blank line before it."""
    for blank in ("\r\n", "\n"):
        before = text[: header.start]
        if before.endswith(blank) and (before[: -len(blank)].endswith("\n") or before == blank):
            return header.start - len(blank)
    return header.start
