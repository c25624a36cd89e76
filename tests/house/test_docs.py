"""What the documents say of the code, compared with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from coterie.cli.config import shown
from coterie.config import KEYS, Key

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `\w+\.\w+` \|.*$", re.MULTILINE)


def row(key: Key) -> str:
    """The line of the table of settings on one key."""
    bounds = re.sub(r"^a (whole )?number from ", "", key.wanted)
    return f"| `{key.name}` | {shown(key.default)} | {bounds} | {key.meaning.removesuffix('.')} |"


@pytest.mark.promise("C4")
def test_the_readme_says_of_each_setting_what_the_code_says() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    assert ROW.findall(readme) == [row(key) for key in KEYS.values()]
