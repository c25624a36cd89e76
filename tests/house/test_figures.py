"""House figures: files and functions that fit a head, no broad `except` without its reason, nothing put off."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
FILE_MEDIAN, FILE_MAX = 180, 500
FUNCTION_MEDIAN, FUNCTION_MAX = 10, 60
BROAD_MAX = 10

# Put together here, as this file is searched too.
PUT_OFF = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
TEXT_SUFFIXES = {".py", ".md", ".sql", ".toml", ".txt", ".sh", ".json", ".yml", ".js", ".ts"}
REASON = re.compile(r"# noqa: BLE001 \(.{10,}\)")


def sources() -> list[Path]:
    return sorted((ROOT / "src").rglob("*.py"))


def shown(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_files() -> None:
    sizes = {shown(path): len(path.read_text("utf-8").splitlines()) for path in sources()}
    assert {name: size for name, size in sizes.items() if size > FILE_MAX} == {}
    assert median(size for size in sizes.values() if size) <= FILE_MEDIAN


def functions(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every function and its length, from `def` to its last line, docstring included."""
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            assert node.end_lineno
            yield node.name, node.end_lineno - node.lineno + 1


def test_functions() -> None:
    sizes = [
        (size, f"{shown(path)}: {name}")
        for path in sources()
        for name, size in functions(ast.parse(path.read_text("utf-8")))
    ]
    assert [(size, name) for size, name in sizes if size > FUNCTION_MAX] == []
    assert median(size for size, _ in sizes) <= FUNCTION_MEDIAN


def is_broad(kind: ast.expr | None) -> bool:
    if isinstance(kind, ast.Tuple):
        return any(map(is_broad, kind.elts))
    return kind is None or (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))


def keeps_it(handler: ast.ExceptHandler) -> bool:
    """Whether the error is raised again or logged whole: then nothing is swallowed, which is ruff's view too."""
    return any(
        isinstance(node, ast.Raise) or (isinstance(node, ast.Attribute) and node.attr == "exception")
        for node in ast.walk(handler)
    )


def broad(source: str) -> tuple[list[int], int]:
    """Lines with an `except` for everything that swallows it without a reason, and how many give one."""
    lines = source.splitlines()
    bare, reasoned = [], 0
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ExceptHandler) and is_broad(node.type) and not keeps_it(node):
            if REASON.search(lines[node.lineno - 1]):
                reasoned += 1
            else:
                bare.append(node.lineno)
    return bare, reasoned


def test_broad_excepts() -> None:
    found = {shown(path): broad(path.read_text("utf-8")) for path in sources()}
    assert {name: lines for name, (lines, _) in found.items() if lines} == {}, "name what can be raised, or say why"
    assert sum(count for _, count in found.values()) <= BROAD_MAX


def test_a_broad_except_is_seen() -> None:
    swallow = "try:\n    f()\nexcept {}:\n    pass\n"
    for kind in ("Exception", "BaseException", "(OSError, Exception)"):
        assert broad(swallow.format(kind)) == ([3], 0)
    assert broad(swallow.replace(" {}", "")) == ([3], 0)
    assert broad(swallow.format("OSError")) == ([], 0)
    assert broad(swallow.replace("pass", "raise").format("Exception")) == ([], 0)
    assert broad(swallow.replace("pass", "log.exception('whole')").format("Exception")) == ([], 0)
    assert broad(swallow.replace("except {}:", "except Exception:  # noqa: BLE001")) == ([3], 0)
    assert broad(swallow.replace("except {}:", "except Exception:  # noqa: BLE001 (the reason why)")) == ([], 1)


def test_nothing_is_put_off() -> None:
    found = [
        f"{shown(path)}:{number}: {line.strip()}"
        for folder in ("src", "tests", "tools", "docs")
        for path in sorted((ROOT / folder).rglob("*"))
        if path.suffix in TEXT_SUFFIXES and "__pycache__" not in path.parts
        for number, line in enumerate(path.read_text("utf-8").splitlines(), start=1)
        if PUT_OFF.search(line)
    ]
    assert found == []
