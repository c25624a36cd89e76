"""Changes of a configuration, made twice: in its text, which keeps every other byte, and in its data. An edit counts
only if the text that came out says just what the data say. Pure.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from coterie.agents.installs import jsontext
from coterie.agents.installs.jsontext import Dialect
from coterie.texts import APPEND, BadText, Path, misshapen, tomltext


class Change(NamedTuple):
    """One value that is set, or taken out."""

    path: Path
    value: Any = None
    out: bool = False


class Format(Protocol):
    """How a configuration is written."""

    def parse(self, text: str) -> Any:
        """The data of a text. Raises `BadText`."""

    def apply(self, text: str, change: Change) -> str:
        """The text with a change. Raises `BadText`."""


class Json:
    """JSON, as far as one client reads it."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect

    def parse(self, text: str) -> Any:
        """The data of a text."""
        data = jsontext.parse(text, self._dialect)
        if not isinstance(data, dict):
            raise BadText("it is not an object", 1, 1)
        return data

    def apply(self, text: str, change: Change) -> str:
        """The text with a change."""
        if change.out:
            return jsontext.delete(text, change.path, self._dialect)
        return jsontext.set_value(text, change.path, change.value, self._dialect)


class Toml:
    """TOML."""

    def parse(self, text: str) -> Any:
        """The data of a text. A table without anything in it is none: whether it has a header says nothing."""
        return _without_empty(tomltext.parse(text))

    def apply(self, text: str, change: Change) -> str:
        """The text with a change."""
        if change.out:
            return tomltext.delete(text, change.path)
        return tomltext.set_value(text, change.path, change.value)


def _without_empty(table: dict[str, Any]) -> dict[str, Any]:
    filled = {name: _without_empty(value) if isinstance(value, dict) else value for name, value in table.items()}
    return {name: value for name, value in filled.items() if value != {}}


def changed(text: str, changes: Iterable[Change], form: Format) -> str:
    """`text` with all changes. Raises `BadText` if the outcome says anything else than was meant."""
    data = copy.deepcopy(form.parse(text))
    for change in changes:
        text = form.apply(text, change)
        (_take_out if change.out else _put_in)(data, change)
    if form.parse(text) != (_without_empty(data) if isinstance(form, Toml) else data):
        raise BadText("it is written in a form that cannot be edited safely")
    return text


def value_at(data: Any, path: Sequence[str | int]) -> Any:
    """What stands at a path, or None."""
    for name in path:
        if isinstance(data, dict):
            data = data.get(name)
        elif isinstance(data, list) and isinstance(name, int) and 0 <= name < len(data):
            data = data[name]
        else:
            return None
    return data


def _put_in(data: Any, change: Change) -> None:
    *way, last = change.path
    for name in way:
        data = data.setdefault(name, {}) if isinstance(data, dict) else value_at(data, (name,))
    value = copy.deepcopy(change.value)
    if isinstance(data, list) and last == APPEND:
        data.append(value)
    elif isinstance(data, dict) and isinstance(last, str):
        data[last] = value
    else:
        raise misshapen(change.path[:-1])


def _take_out(data: Any, change: Change) -> None:
    holder = value_at(data, change.path[:-1])
    if holder is None or value_at(data, change.path) is None:
        raise BadText(f"there is no {'.'.join(map(str, change.path))}")
    del holder[change.path[-1]]


def with_emptied(data: Any, changes: Sequence[Change], kept: Iterable[Path]) -> list[Change]:
    """Removals, each followed by those of the containers that it leaves empty; `kept` were there, and empty, before."""
    data, spared = copy.deepcopy(data), set(kept)
    found: list[Change] = []
    for change in changes:
        path = change.path
        while path and path not in spared:
            found.append(Change(path, out=True))
            _take_out(data, found[-1])
            path = path[:-1]
            if not path or value_at(data, path) not in ({}, []):
                break
    return found


def empty_before(data: Any, changes: Iterable[Change]) -> set[Path]:
    """The containers on the way of changes that are there and empty."""
    ways = {change.path[:length] for change in changes for length in range(1, len(change.path))}
    return {way for way in ways if value_at(data, way) in ({}, [])}
