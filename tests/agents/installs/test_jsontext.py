"""Edits of JSON texts keep every other byte, whatever the text looks like."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.agents.installs.jsontext import Dialect, delete, parse, set_value
from coterie.texts import APPEND, BadText, Path

JSON = Dialect()
JSONC = Dialect(comments=True, commas=True, bom=True)
OURS = {"command": "/opt/coterie-mcp", "args": ["é", 1]}
NAMES = st.sampled_from(["a", "b", "mcp", "hooks", 'q"uo\\te', "{", "//", "é", ""])
BLANKS = [" ", "\n", "\r\n", "\t", "\n    ", "  "]
COMMENTS = ["// c\n", '/* "}, */', "/* a\n b */", "// ,]\r\n", "/**/"]
SCALARS = st.none() | st.booleans() | st.integers() | st.sampled_from(["", "x", "},{", "//", '"', "\\", "/*", ","])
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)


@st.composite
def texts(draw: st.DrawFn, dialect: Dialect) -> tuple[str, Any]:
    """An object, and one of the many ways to write it."""
    data = draw(st.dictionaries(NAMES, VALUES, max_size=4))
    gaps = st.lists(st.sampled_from(BLANKS + (COMMENTS if dialect.comments else [])), max_size=3).map("".join)

    def written(value: Any) -> str:
        if not isinstance(value, (dict, list)):
            return json.dumps(value, ensure_ascii=draw(st.booleans()))
        items = value.items() if isinstance(value, dict) else ((None, item) for item in value)
        keys = ["" if key is None else json.dumps(key) + draw(gaps) + ":" for key, _ in items]
        inner = value.values() if isinstance(value, dict) else value
        parts = [
            draw(gaps) + key + draw(gaps) + written(item) + draw(gaps) for key, item in zip(keys, inner, strict=True)
        ]
        trail = "," + draw(gaps) if parts and dialect.commas and draw(st.booleans()) else ""
        brackets = "{}" if isinstance(value, dict) else "[]"
        return brackets[0] + (",".join(parts) + trail or draw(gaps)) + brackets[1]

    bom = "\ufeff" if dialect.bom and draw(st.booleans()) else ""
    return bom + draw(gaps) + written(data) + draw(gaps), data


@pytest.mark.parametrize("dialect", [JSON, JSONC], ids=["json", "jsonc"])
@given(data=st.data())
def test_in_and_out_again_gives_back_the_bytes(dialect: Dialect, data: st.DataObject) -> None:
    text, value = data.draw(texts(dialect))
    assert parse(text, dialect) == value
    path = data.draw(st.sampled_from([("ours",), ("new", "ours"), ("a", "ours"), ("mcp", "x", "ours")]))
    holder: Any = value
    for name in path[:-1]:
        if isinstance(holder, dict) and name in holder:
            holder = holder[name]
        else:
            break
    if not isinstance(holder, dict):
        with pytest.raises(BadText):
            set_value(text, path, OURS, dialect)
        return
    inside = set_value(text, path, OURS, dialect)
    expected: Any = json.loads(json.dumps(value))
    place = expected
    for name in path[:-1]:
        place = place.setdefault(name, {})
    place["ours"] = OURS
    assert parse(inside, dialect) == expected
    assert parse(set_value(inside, path, OURS, dialect), dialect) == expected
    made = next((path[:end] for end in range(1, len(path) + 1) if not _has(value, path[:end])), path)
    outside = delete(inside, made, dialect)
    assert parse(outside, dialect) == value
    if holder:  # Of an empty object it is not known how it was written; `coterie init` has its backup for that.
        assert outside == text


def _has(value: Any, path: Path) -> bool:
    for name in path:
        if not isinstance(value, dict) or name not in value:
            return False
        value = value[name]
    return True


@pytest.mark.parametrize("dialect", [JSON, JSONC], ids=["json", "jsonc"])
@given(data=st.data())
def test_taking_out_anything_leaves_the_rest(dialect: Dialect, data: st.DataObject) -> None:
    text, value = data.draw(texts(dialect))
    path = data.draw(st.sampled_from(sorted(_paths(value), key=repr)) if _paths(value) else st.none())
    if path is None:
        return
    holder = value
    for name in path[:-1]:
        holder = holder[name]
    del holder[path[-1]]
    assert parse(delete(text, path, dialect), dialect) == value


def _paths(value: Any) -> list[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path for name, inner in items for path in ((name,), *((name, *below) for below in _paths(inner)))]


@given(data=st.data())
def test_a_list_takes_one_more(data: st.DataObject) -> None:
    text, value = data.draw(texts(JSONC))
    lists = [path for path in _paths(value) if isinstance(_at(value, path), list)]
    if not lists:
        return
    path = data.draw(st.sampled_from(lists))
    _at(value, path).append(OURS)
    assert parse(set_value(text, (*path, APPEND), OURS, JSONC), JSONC) == value


def _at(value: Any, path: Path) -> Any:
    for name in path:
        value = value[name]
    return value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('{"a":1}', '{"a":1,"x":{"y":[2]}}'),
        ('{"a": 1}\n', '{"a": 1, "x": {"y": [2]}}\n'),
        ("{}", '{\n  "x": {\n    "y": [2]\n  }\n}'),
        ('{\n\t"a": 1\n}', '{\n\t"a": 1,\n\t"x": {\n\t\t"y": [2]\n\t}\n}'),
        ('{\r\n "a": 1\r\n}', '{\r\n "a": 1,\r\n "x": {\r\n  "y": [2]\r\n }\r\n}'),
        ('{\n  "a": 1 // one\n}', '{\n  "a": 1, // one\n  "x": {\n    "y": [2]\n  }\n}'),
        ('{\n  "a": 1, // one\n}', '{\n  "a": 1, // one\n  "x": {\n    "y": [2]\n  },\n}'),
    ],
)
def test_it_is_written_as_what_is_around(before: str, after: str) -> None:
    assert set_value(before, ("x",), {"y": [2]}, JSONC) == after
    assert delete(after, ("x",), JSONC) == before


@pytest.mark.parametrize("text", ["", "  \n", "\ufeff", "// only a comment\n"])
def test_an_empty_text_is_an_empty_object(text: str) -> None:
    assert parse(text, JSONC) == {}
    filled = set_value(text, ("a", "b"), 1, JSONC)
    assert filled.startswith(text)
    assert parse(filled, JSONC) == {"a": {"b": 1}}


@pytest.mark.parametrize(
    ("text", "dialect", "says"),
    [
        ('{"a": 1,\n "b" 2}', JSON, "line 2, column 6"),
        ('{"a": 1,}', JSON, "line 1, column 9"),
        ("// c\n{}", JSON, "line 1, column 1"),
        ("\ufeff{}", JSON, "byte order mark"),
        ('{"a": 1, "a": 2}', JSONC, "'a' stands twice"),
        ('{"a": NaN}', JSONC, "NaN"),
        ("[" * 100_000, JSON, "nested"),
        ('{"a": /* }', JSONC, "line 1"),
        ("{} {}", JSONC, "line 1, column 4"),
        ('{"a": "\n"}', JSON, "line 1"),
    ],
)
def test_what_the_client_cannot_read_is_refused_with_its_place(text: str, dialect: Dialect, says: str) -> None:
    with pytest.raises(BadText, match=says):
        parse(text, dialect)


IN_THE_WAY = [('{"a": 1}', ("a", "b")), ('{"a": []}', ("a", "b")), ('{"a": {}}', ("a", APPEND))]


@pytest.mark.parametrize(("text", "path"), IN_THE_WAY)
def test_what_is_in_the_way_is_refused(text: str, path: Path) -> None:
    with pytest.raises(BadText, match="a is not of the kind"):
        set_value(text, path, 1, JSON)


def test_what_is_not_there_cannot_be_taken_out() -> None:
    with pytest.raises(BadText, match=r"there is no a\.b"):
        delete('{"a": {}}', ("a", "b"), JSON)
