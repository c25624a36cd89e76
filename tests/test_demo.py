"""The demonstration, which is the first thing that the README has a newcomer run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[1] / "tools" / "demo.py"


@pytest.mark.promise("M7")
def test_everything_in_it_is_as_told_and_nothing_is_left(tmp_path: Path) -> None:
    environ = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8", "TMPDIR": str(tmp_path)}
    ran = subprocess.run([sys.executable, str(DEMO)], env=environ, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stdout[-3000:] + ran.stderr
    assert "Everything was as told." in ran.stdout
    assert list(tmp_path.iterdir()) == []
