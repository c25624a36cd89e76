"""A network of its own: loopback, the model, and nothing else.

A small process, the keeper, holds the network namespace, and hands out a listening socket made in it. When its stdin
ends, for whatever reason the test's process is gone, it ends every process of the lab and leaves. So nothing stays.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from clients.processes import LabError, end_all

DEAD_PROXY = {**dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9"), "NO_PROXY": "127.0.0.1"}
"""For programs that look for the internet: it is refused at once, namespace or not."""
START_S = 20
TESTS = Path(__file__).parents[1]
KEEPER = "import sys; sys.path.insert(0, sys.argv[1]); from clients.namespace import keep; keep(*sys.argv[2:])"


class Namespace:
    """The keeper of one lab."""

    def __init__(self, home: Path, log: Path) -> None:
        self._log = log
        user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
        self._keeper, self.listener = self._start(home, ["unshare", "--net", *user])
        self.pid = self._keeper.pid

    def _start(self, home: Path, prefix: list[str]) -> tuple[subprocess.Popen[bytes], socket.socket]:
        ours, theirs = socket.socketpair()
        command = [*prefix, sys.executable, "-P", "-c", KEEPER, str(TESTS), str(home), str(theirs.fileno())]
        with ours, theirs, self._log.open("ab") as log:
            keeper = subprocess.Popen(
                command,
                env={"PATH": os.environ["PATH"]},
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # Ctrl-C is for the tests; this one cleans up after them.
            )
            theirs.close()
            ours.settimeout(START_S)
            descriptors = socket.recv_fds(ours, 8, 1)[1]
        if not descriptors:
            keeper.communicate()
            raise LabError(f"no network namespace: {self._log.read_text().strip()}")
        return keeper, socket.socket(fileno=descriptors[0])

    def inside(self, command: Sequence[str]) -> list[str]:
        """The command that runs a command in here."""
        user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        return ["nsenter", "--target", str(self.pid), "--net", *user, "--", *command]

    def close(self) -> None:
        """End everything of the lab."""
        self._keeper.communicate()


def join(one: Namespace, other: Namespace) -> list[str]:
    """Lay a cable (a veth pair) between two networks; the addresses of its ends. Needs root and Debian's iproute2."""
    ends, addresses = [str(end.pid) for end in (one, other)], ["10.77.0.1", "10.77.0.2"]
    cable = ["type", "veth", "peer", "name", "cable", "netns"]
    subprocess.run(["ip", "link", "add", "cable", "netns", ends[0], *cable, ends[1]], check=True)
    for end, address in zip((one, other), addresses, strict=True):
        for line in (f"addr add {address}/24 dev cable", "link set cable up"):
            subprocess.run(end.inside(["ip", *line.split()]), check=True)
    return addresses


def lacking() -> str:
    """What this machine lacks for a network of one's own, or ""."""
    missing = [name for name in ("unshare", "nsenter", "setsid") if not shutil.which(name)]
    if missing:
        return f"{' and '.join(missing)} (Linux, util-linux)"
    user = [] if os.geteuid() == 0 else ["--user", "--map-current-user", "--keep-caps"]
    tried = subprocess.run(["unshare", "--net", *user, "true"], capture_output=True, check=False)
    return "the right to make network namespaces: root, or user namespaces" if tried.returncode else ""


def keep(home: str, descriptor: str) -> None:
    """The keeper's program."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:  # SIOCSIFFLAGS, IFF_UP | IFF_RUNNING
        fcntl.ioctl(probe, 0x8914, struct.pack("16sh", b"lo", 0x41))
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    with socket.socket(fileno=int(descriptor)) as asker:
        socket.send_fds(asker, [b"here"], [listener.fileno()])
    listener.close()
    sys.stdin.buffer.read()
    end_all(home)
