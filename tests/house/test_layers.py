"""Who may import whom. A line here that gives way is a decision about the shape of the whole, and looks like one."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "coterie"

ROOTS = {"errors", "limits", "ids", "jsonline", "files", "birth"}
"""Light: loaded by every session."""
NOUNS = {
    "activity",
    "addresses",
    "config",
    "devices",
    "endpoints",
    "envelopes",
    "frames",
    "guards",
    "invitations",
    "links",
    "messages",
    "pairing",
    "peers",
    "policy",
    "snapshots",
    "spelling",
    "tallies",
    "timeline",
    "words",
}
"""The rules, pure: no I/O, no clock, no threads."""

# What each part may import of Coterie, itself included.
MAY: dict[str, set[str]] = {
    "__init__": set(),
    **dict.fromkeys(ROOTS, ROOTS),
    **dict.fromkeys(NOUNS, NOUNS | {"errors", "limits", "ids", "jsonline"}),
    "points": set(),
    "client": ROOTS,
    "agents": {"agents", "errors", "limits", "ids", "jsonline"},
    "carriers": {"carriers", "agents", "errors", "limits", "ids", "jsonline", "files"},
    "installs": {"installs", "agents", "texts"} | ROOTS,
    "mcp": {"mcp", "client", "agents"} | ROOTS,
    "hooks": {"hooks", "client", "agents"} | ROOTS,
    "texts": {"texts"} | ROOTS,
    "settings": {"config", "texts"} | ROOTS,
    "cli": {"cli", "client", "devices", "frames", "spelling", "agents", "installs", "config", "settings", "texts"}
    | ROOTS,
    "store": {"store", "points"} | NOUNS | ROOTS,
    "net": {"net"} | NOUNS | ROOTS,
    "daemon": {"daemon", "store", "net", "agents", "carriers", "client", "points", "settings"} | NOUNS | ROOTS,
    "testing": {
        "testing",
        "daemon",
        "store",
        "net",
        "agents",
        "carriers",
        "installs",
        "mcp",
        "hooks",
        "cli",
        "client",
        "points",
        "settings",
        "texts",
    }
    | NOUNS
    | ROOTS,
}

WITHIN = {"agents.carriers": "carriers", "agents.installs": "installs"}
"""Folders that are parts of their own: heavy, beside light ones."""

OTHERS = {
    "carriers": {"websockets"},
    "cli": {"click", "segno"},
    "daemon": {"psutil"},
    "installs": {"tomlkit"},
    "net": {"cryptography", "spake2"},
}
"""Packages that are not Python's own, and the one part that may load each."""
ANYTHING = {"testing"}

PURE = {"__future__", "collections", "dataclasses", "enum", "functools", "itertools", "math", "re", "typing"} | {
    "unicodedata",
    "difflib",
    "hashlib",
    "hmac",
    "base64",
    "ipaddress",
}
"""All that the rules need of Python. Nothing here reads a file, a clock or a socket, or is different tomorrow."""
ACTING = {"open", "input", "print", "exec", "eval", "compile", "__import__"}
"""Builtins by which a rule could do more than decide."""
ONLY = {"sqlite3": {"store"}}
"""Modules of Python with one owner."""
LEAVES = {"points": {"__future__", "collections", "os", "signal"}}


def files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def part_of(path: Path) -> str:
    """The part that a file belongs to: its folder, or its own name at the root."""
    return part_named(".".join(path.relative_to(SOURCE).with_suffix("").parts))


def part_named(module: str) -> str:
    """The part that a module of ours belongs to, named without `coterie`."""
    within = next((part for start, part in WITHIN.items() if f"{module}.".startswith(f"{start}.")), None)
    return within or module.partition(".")[0]


def imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every module that is imported anywhere in a file, in functions and for type checking too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module
            if node.module in ("coterie", *(f"coterie.{start.rpartition('.')[0]}" for start in WITHIN)):
                for alias in node.names:
                    yield node.lineno, f"{node.module}.{alias.name}"
            else:
                yield node.lineno, node.module


def breach(part: str, module: str) -> str | None:
    """Why `part` may not import `module`, or None if it may."""
    top, _, rest = module.partition(".")
    if top == "coterie":
        other = part_named(rest)
        if other == "__version__" or other in MAY[part]:
            return None
        return f"{part} may not import coterie.{other}"
    if part in ANYTHING or top in OTHERS.get(part, ()):
        return None
    if top not in sys.stdlib_module_names:
        return f"{part} may not load {top}: it is not Python's own"
    if part not in ONLY.get(top, {part}):
        return f"{top} is for {', '.join(ONLY[top])} only, not for {part}"
    allowed = PURE if part in NOUNS else LEAVES.get(part)
    return f"{part} does without {top}" if allowed is not None and top not in allowed else None


def breaches(part: str, source: str) -> list[str]:
    tree = ast.parse(source)
    found = [(line, breach(part, module)) for line, module in imported(tree)]
    if part in NOUNS:
        found += [
            (node.lineno, f"{part} does without {node.func.id}()")
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ACTING
        ]
    return [f"line {line}: {why}" for line, why in found if why]


def test_every_file_has_its_part() -> None:
    assert sorted({part_of(path) for path in files()} - set(MAY)) == [], "new parts need a line in the table"


@pytest.mark.parametrize("path", files(), ids=lambda path: str(path.relative_to(SOURCE)))
def test_nothing_reaches_across_the_layers(path: Path) -> None:
    assert breaches(part_of(path), path.read_text("utf-8")) == []


@pytest.mark.parametrize(
    ("part", "source", "why"),
    [
        ("messages", "import time", "line 1: messages does without time"),
        ("messages", "def f():\n    import os.path", "line 2: messages does without os"),
        ("frames", "print()", "line 1: frames does without print()"),
        ("peers", "from coterie.files import home", "line 1: peers may not import coterie.files"),
        ("policy", "from coterie.store.db import Store", "line 1: policy may not import coterie.store"),
        ("errors", "from coterie import peers", "line 1: errors may not import coterie.peers"),
        ("client", "from coterie import frames", "line 1: client may not import coterie.frames"),
        ("agents", "import coterie.client", "line 1: agents may not import coterie.client"),
        ("agents", "from coterie.agents import carriers", "line 1: agents may not import coterie.carriers"),
        ("mcp", "from coterie.agents.installs import plan", "line 1: mcp may not import coterie.installs"),
        ("cli", "from coterie.peers import Peer", "line 1: cli may not import coterie.peers"),
        ("cli", "import psutil", "line 1: cli may not load psutil: it is not Python's own"),
        ("mcp", "from mcp import types", "line 1: mcp may not load mcp: it is not Python's own"),
        ("hooks", "from coterie.mcp import words", "line 1: hooks may not import coterie.mcp"),
        ("store", "from coterie.daemon import main", "line 1: store may not import coterie.daemon"),
        ("daemon", "from coterie.mcp import words", "line 1: daemon may not import coterie.mcp"),
        ("daemon", "import sqlite3", "line 1: sqlite3 is for store only, not for daemon"),
        (
            "daemon",
            "if TYPE_CHECKING:\n    from sqlite3 import Row",
            "line 2: sqlite3 is for store only, not for daemon",
        ),
        ("points", "import time", "line 1: points does without time"),
    ],
)
def test_a_breach_is_seen(part: str, source: str, why: str) -> None:
    assert breaches(part, source) == [why]


@pytest.mark.parametrize(
    ("part", "source"),
    [
        ("messages", "from collections.abc import Iterable\nfrom coterie.errors import Defect"),
        ("client", "from coterie import __version__, birth\nimport socket"),
        ("cli", "import click\nfrom coterie.cli import say"),
        ("store", "import sqlite3"),
        ("testing", "import mcp, sqlite3\nfrom coterie.daemon import main"),
    ],
)
def test_what_is_allowed_is_none(part: str, source: str) -> None:
    assert breaches(part, source) == []
