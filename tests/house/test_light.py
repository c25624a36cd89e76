"""What runs in every session loads next to nothing: each module below costs milliseconds and megabytes per session."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "coterie"
LIGHT_FILES = ["errors.py", "limits.py", "ids.py", "jsonline.py", "files.py", "birth.py", "client.py"]
LIGHT_FOLDERS = ["agents", "mcp", "hooks"]
HEAVY_WITHIN = {"carriers", "installs"}
"""Folders in there that no session loads."""

HEAVY = {
    "dataclasses",
    "typing",
    "inspect",
    "pathlib",
    "tempfile",
    "subprocess",
    "logging",
    "argparse",
    "hashlib",
    "hmac",
    "secrets",
    "uuid",
    "ssl",
    "importlib.metadata",
    "asyncio",
    "sqlite3",
    "psutil",
    "click",
}

# -S: a .pth file of the environment could have loaded some already, and hide what we load. -I: nor may the folder or
# the variables of whoever runs the tests.
BARE = [sys.executable, "-I", "-S", "-B", "-c"]
PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
__import__(sys.argv[2])
print(*sorted(set(sys.modules) - before))
"""


def light_modules() -> list[str]:
    paths = [SOURCE / name for name in LIGHT_FILES]
    paths += [path for folder in LIGHT_FOLDERS for path in sorted((SOURCE / folder).rglob("*.py"))]
    paths = [path for path in paths if not HEAVY_WITHIN & set(path.parts)]
    parts = [path.relative_to(SOURCE.parent).with_suffix("").parts for path in paths]
    return [".".join(names).removesuffix(".__init__") for names in parts]


def loaded_by(module: str) -> set[str]:
    done = subprocess.run([*BARE, PROGRAM, str(SOURCE.parent), module], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


@pytest.mark.parametrize("module", light_modules())
def test_loads_nothing_heavy(module: str) -> None:
    loaded = loaded_by(module)
    assert module in loaded
    assert sorted(loaded & HEAVY) == []


def test_a_heavy_module_is_seen() -> None:
    assert {"dataclasses", "inspect"} <= loaded_by("coterie.peers") & HEAVY


@pytest.mark.parametrize("module", light_modules())
def test_loads_nothing_heavy_later(module: str) -> None:
    """An import inside a function would be paid for by the session all the same."""
    path = SOURCE.parent / module.replace(".", "/")
    tree = ast.parse((path / "__init__.py" if path.is_dir() else path.with_suffix(".py")).read_text("utf-8"))
    assert sorted(set(imported_at_run_time(tree)) & HEAVY) == []


def imported_at_run_time(node: ast.AST) -> list[str]:
    """Every module that is imported below `node`, but for what only the type checker reads."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return [name for child in node.orelse for name in imported_at_run_time(child)]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
    return [name for child in ast.iter_child_nodes(node) for name in imported_at_run_time(child)]


def test_a_late_import_is_seen() -> None:
    source = "if TYPE_CHECKING:\n    import typing\ndef f():\n    import uuid\n    from importlib import metadata\n"
    assert imported_at_run_time(ast.parse(source)) == ["uuid", "importlib", "importlib.metadata"]
