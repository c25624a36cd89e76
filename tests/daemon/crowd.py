"""A crowd that connects at once: light processes, forked before the start is given.

usage: python crowd.py ROUNDS STARTERS METHOD [PARAMS]

In each round the starters connect at the same instant, each as a client of its own, call METHOD and report the pid
of the daemon that answered, or the error. The word NUMBER in PARAMS stands for the number of the starter. A line of
JSON tells of each round:

    {"pids": [...], "errors": [...], "daemons": [...], "s": 0.3}

``daemons`` are the pids of all processes that serve the home, or try to, once everybody had an answer. Between rounds
the daemon is killed. With the round's start a line "go" is expected on stdin, so that a test can get things ready.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from typing import Any

from coterie import client
from coterie.errors import CoterieError
from coterie.files import Home, home


def start(place: Home, gate: int, tell: int, method: str, params: str) -> None:
    """One of the crowd: wait for the gate to open, connect, report, end."""
    os.read(gate, 1)
    try:
        connection = client.connect("test", at=place)
        connection.call(method, json.loads(params))
        said = {"pid": connection.hello["pid"]}
    except CoterieError as error:
        said = {"error": f"{type(error).__name__}: {error}"}
    os.write(tell, json.dumps(said).encode() + b"\n")


def gather(place: Home, count: int, method: str, params: str) -> dict[str, Any]:
    """One round."""
    gate, opener = os.pipe()
    listen, tell = os.pipe()
    children = []
    for number in range(count):
        child = os.fork()
        if child == 0:
            os.close(opener)
            try:
                start(place, gate, tell, method, params.replace("NUMBER", str(number)))
            finally:
                os._exit(0)
        children.append(child)
    os.close(tell)
    sys.stdin.readline()
    began = time.monotonic()
    os.close(opener)
    with open(listen) as reports:
        said = [json.loads(line) for line in reports]
    took = time.monotonic() - began
    os.close(gate)
    for child in children:
        os.waitpid(child, 0)
    return {
        "pids": [report["pid"] for report in said if "pid" in report],
        "errors": [report["error"] for report in said if "error" in report],
        "daemons": daemons(place),
        "s": took,
    }


def daemons(place: Home) -> list[int]:
    """The processes that serve this home, or are about to."""
    found = []
    mark = f"COTERIE_HOME={place.folder}".encode()
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as command, open(f"/proc/{pid}/environ", "rb") as environ:
                if b"coterie.daemon" in command.read() and mark in environ.read().split(b"\0"):
                    found.append(int(pid))
        except OSError:
            continue
    return found


def main() -> None:
    rounds, count, method = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    params = sys.argv[4] if sys.argv[4:] else "{}"
    place = home()
    for number in range(rounds):
        told = gather(place, count, method, params)
        print(json.dumps(told), flush=True)
        if number < rounds - 1:
            os.kill(told["pids"][0], signal.SIGKILL)


if __name__ == "__main__":
    main()
