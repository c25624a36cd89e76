"""The real agents, measured by what tests them: in a process of its own, as they need the tests' lab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

TESTS = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "tests")


def delays(rounds: int) -> Iterator[dict[str, Any]]:
    """What `clients.delays` tells, line by line. Raises RuntimeError if it fails."""
    command = [sys.executable, "-m", "clients.delays", str(rounds)]
    environ = {**os.environ, "PYTHONPATH": TESTS}
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ, text=True) as running:
        assert running.stdout
        for line in running.stdout:
            yield json.loads(line)
    if running.returncode:
        raise RuntimeError(f"clients.delays ended with {running.returncode}")
