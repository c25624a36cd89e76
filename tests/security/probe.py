"""Tries methods on the daemon as a program of the command line would, and writes what became of each.

usage: python probe.py OUT CALLS [left], CALLS being JSON: a list of [method, params]. "left": the connection is left to
a child, and whoever made it ends.
"""

from __future__ import annotations

import json
import os
import sys
import time

from coterie import client
from coterie.errors import CoterieError


def outcome(connection: client.Client, method: str, params: dict[str, object]) -> str:
    """Either "done", or the kind of the error and its message."""
    try:
        connection.call(method, params)
    except CoterieError as error:
        return f"{type(error).__name__}: {error.message}"
    return "done"


def is_there(pid: int) -> bool:
    """Whether there is such a process, as a zombie too."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def main() -> None:
    out, calls = sys.argv[1], json.loads(sys.argv[2])
    connection = client.connect("cli", start=False)
    if sys.argv[3:] == ["left"]:
        parent = os.getpid()
        if os.fork():
            os._exit(0)
        null = os.open(os.devnull, os.O_RDWR)
        for standard in (0, 1, 2):  # Whoever started it waits for the ends of these.
            os.dup2(null, standard)
        while is_there(parent):
            time.sleep(0.001)
    found = [outcome(connection, method, params) for method, params in calls]
    with open(out + ".new", "w") as file:
        json.dump(found, file)
    os.replace(out + ".new", out)


if __name__ == "__main__":
    main()
