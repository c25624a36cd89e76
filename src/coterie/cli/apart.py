"""Work that is done by a process of its own, which tells its outcome as one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from typing import Any

from coterie.cli import say
from coterie.errors import CoterieError, from_wire

QUICK_S = 1.0
"""What takes longer is told of."""


def ask(module: str, *arguments: str, during: str = "", keep: Iterable[int] = ()) -> dict[str, Any]:
    """Run ``python -m module``, and return what it printed. Raises the error that it told. `during` is said if it takes
    long; the descriptors in `keep` stay open in it.
    """
    command = [sys.executable, "-P", "-m", module, *arguments]
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=tuple(keep)
    ) as process:
        try:
            out, err = _waited(process, during)
        except BaseException:
            process.terminate()  # It removes what it had begun.
            raise
    try:
        told = json.loads(out)
    except ValueError:
        last = err.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise CoterieError(f"it could not be done ({last or process.returncode})", "please report it") from None
    if "error" in told:
        raise from_wire(told["error"])
    return dict(told)


def _waited(process: subprocess.Popen[bytes], during: str) -> tuple[bytes, bytes]:
    try:
        return process.communicate(timeout=QUICK_S)
    except subprocess.TimeoutExpired:
        if during:
            say.note(f"{during} ...")
        return process.communicate()
