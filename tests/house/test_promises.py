"""Every promise in README.md and SECURITY.md has an id in brackets, such as D1, and a test or a measurement of that id.

A promise without its test fails here, and so does a test whose promise nobody makes any more. The ids are read from the
text, the markers (`@pytest.mark.promise("D1")`) and the rows of measurements (PROMISES in tools/bench.py and
tools/soak.py) from the source, so nothing needs to be run for it.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = ("README.md", "SECURITY.md")
MEASURING = ("tools/bench.py", "tools/soak.py")
ID = re.compile(r"\[([A-Z]\d+)\]")
RULE = re.compile(r"\|[-|: ]+\|")
"""The line below the head of a table."""


def text_of(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


# --- what is promised ------------------------------------------------------------------------------------------------


def promised(text: str) -> list[str]:
    """The ids in a document, in order."""
    return ID.findall(text)


def rows_without_id(text: str) -> list[str]:
    """Rows of tables that hold no id, or more than one; none of a table whose head has the id of the whole."""
    found, lines = [], text.splitlines()
    in_table = False
    for above, line in zip(["", *lines], lines, strict=False):
        if RULE.fullmatch(line.strip()):
            in_table = not ID.search(above)
        elif not line.startswith("|"):
            in_table = False
        elif in_table and len(ID.findall(line)) != 1:
            found.append(line)
    return found


# --- what shows it ---------------------------------------------------------------------------------------------------


def is_promise(node: ast.expr) -> bool:
    """Whether it is `pytest.mark.promise(...)`."""
    return isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.promise"


def ids_of(mark: ast.expr) -> list[str]:
    """The ids in a marker. They must be written out, or nobody finds them."""
    assert isinstance(mark, ast.Call)
    ids = [arg.value for arg in mark.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
    assert len(ids) == len(mark.args) > 0, f"write the ids out: {ast.unparse(mark)}"
    return ids


def marked(source: str) -> Iterator[tuple[str, str]]:
    """Every id that a test is marked with, and the name of the test. Raises AssertionError for a mark on anything else:
    it would show nothing.
    """
    tree = ast.parse(source)
    counted = 0
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for mark in filter(is_promise, node.decorator_list):
                assert node.name.startswith("test_"), f"{node.name} is no test"
                counted += 1
                yield from ((id_, node.name) for id_ in ids_of(mark))
    every = sum(is_promise(node) for node in ast.walk(tree) if isinstance(node, ast.expr))
    assert every == counted, "mark the test itself, one mark a test"


def table_of(source: str) -> ast.expr | None:
    """The table PROMISES of a program that measures."""
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == "PROMISES" for target in targets):
            assert isinstance(node, (ast.Assign, ast.AnnAssign))
            return node.value
    return None


def measured(source: str) -> dict[str, tuple[str, ...]]:
    """The ids that a program measures, each with the names of its rows."""
    table = table_of(source)
    return dict(ast.literal_eval(table)) if table else {}


def rows_not_measured(source: str) -> list[str]:
    """Names of rows in PROMISES that stand nowhere else. One that ends in a size or a name (`send_{size}`) stands there
    by its beginning.
    """
    table = table_of(source)
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    lines = range(table.lineno, (table.end_lineno or 0) + 1) if table else range(0)
    texts = {node.value for node in nodes if isinstance(node.value, str) and node.lineno not in lines}
    starts = tuple(text for text in texts if text.endswith("_"))
    return [
        row for rows in measured(source).values() for row in rows if row not in texts and not row.startswith(starts)
    ]


def shown() -> dict[str, set[str]]:
    """Every id that something shows, and what does."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for id_, test in marked(path.read_text("utf-8")):
            found.setdefault(id_, set()).add(f"{path.relative_to(ROOT)}::{test}")
    for name in MEASURING:
        if (ROOT / name).exists():
            for id_ in measured(text_of(name)):
                found.setdefault(id_, set()).add(name)
    return found


def test_every_promise_is_shown_by_a_test_or_a_measurement() -> None:
    wanted = {id_ for name in DOCUMENTS for id_ in promised(text_of(name))}
    assert sorted(wanted - set(shown())) == [], "mark the tests that show it, or take the promise back"


def test_every_test_of_a_promise_has_its_promise() -> None:
    made = {id_ for name in DOCUMENTS for id_ in promised(text_of(name))}
    assert {id_: by for id_, by in shown().items() if id_ not in made} == {}, "no document promises it"


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_id_stands_once_in_a_document(name: str) -> None:
    """README may repeat in short what SECURITY promises, under the same id."""
    assert [id_ for id_, count in Counter(promised(text_of(name))).items() if count > 1] == []


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_row_of_a_table_has_its_id(name: str) -> None:
    assert rows_without_id(text_of(name)) == []


@pytest.mark.parametrize("name", MEASURING)
def test_every_row_of_a_measurement_that_is_named_is_measured(name: str) -> None:
    assert not (ROOT / name).exists() or rows_not_measured(text_of(name)) == []


def test_the_files_that_security_names_are_there() -> None:
    named = re.findall(r"`(tests/[^`]+)`", text_of("SECURITY.md"))
    assert named
    assert [path for path in named if not (ROOT / path).exists()] == []


# --- that it can fail ------------------------------------------------------------------------------------------------


def test_ids_are_found_and_links_are_none() -> None:
    assert promised("kept [D1]. See [SECURITY.md](SECURITY.md), [1], `[a-z]` and [D12].") == ["D1", "D12"]


def test_a_row_without_its_id_is_seen() -> None:
    table = "| a | b |\n|---|---|\n| [D1] | yes |\n| | no |\n| [D2] | [D3] |\n\n| no table |\n"
    assert rows_without_id(table) == ["| | no |", "| [D2] | [D3] |"]
    assert rows_without_id(table.replace("| a |", "| a [C4] |")) == []


def test_marks_are_read() -> None:
    mark = '@pytest.mark.promise("D1", "D2")\n'
    assert list(marked(f"{mark}@other\ndef test_x():\n    pass\n")) == [("D1", "test_x"), ("D2", "test_x")]
    assert list(marked("def test_x():\n    pass\n")) == []
    for wrong in (f"{mark}def helper():\n    pass\n", 'pytestmark = pytest.mark.promise("D1")\n'):
        with pytest.raises(AssertionError):
            list(marked(wrong))
    for wrong in ("@pytest.mark.promise()\ndef test_x():\n    pass\n", "@pytest.mark.promise(D)\ndef test_x(): ..."):
        with pytest.raises(AssertionError):
            list(marked(wrong))


def test_measurements_are_read() -> None:
    assert measured('PROMISES: dict[str, tuple[str, ...]] = {"B1": ("row",)}') == {"B1": ("row",)}
    assert measured('PROMISES = {"B1": ("row",)}') == {"B1": ("row",)}
    assert measured("rows = {}") == {}
    source = 'PROMISES = {"B1": ("row", "size_2", "none")}\nrow("row")\nrow(f"size_{size}")'
    assert rows_not_measured(source) == ["none"]
