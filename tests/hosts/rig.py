"""Hosts on one machine: a network namespace each, and a wire between them that can be cut, slow or lossy."""

from __future__ import annotations

import itertools
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from conftest import wait_for
from hosts import capture
from hosts.host import Host

HOSTS_MAX = 5
START_S = 20
WIRE = Path(__file__).with_name("wire.py")
_numbers = itertools.count(1)


def lacking() -> str:
    """What this machine lacks for hosts of one's own, or ""."""
    missing = [name for name in ("ip",) if not shutil.which(name)]
    if missing:
        return "ip (Debian's iproute2)"
    if os.geteuid() != 0:
        return "root, for network namespaces"
    return "" if os.path.exists("/dev/net/tun") else "/dev/net/tun"


class Rig:
    """The hosts of one test and the wire between them. Use it as a context manager."""

    def __init__(self, *labels: str, seed: int = 1) -> None:
        assert 2 <= len(labels) <= HOSTS_MAX, "a wire has two ends, and a machine is small"
        # Sockets lie in it, so its path is short.
        self.base = Path(tempfile.mkdtemp(prefix="coterie-h-", dir="/tmp")).resolve()
        stem = f"coterie-{os.getpid()}-{next(_numbers)}"
        self.namespaces = [f"{stem}-{label}" for label in labels]
        self.pcap = self.base / "wire.pcap"
        self.hosts: dict[str, Host] = {}
        self._wire = self._start(seed)
        try:
            assert self._answer() == {"ready": True}
            for number, label in enumerate(labels, start=1):
                self.hosts[label] = Host(self.base / label, label, number, self.namespaces[number - 1])
            for host in self.hosts.values():
                host.knows(self.hosts.values())
        except BaseException:
            self.close()
            raise

    def _start(self, seed: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-P", str(WIRE), str(seed), str(self.base), *self.namespaces],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the tests; this one cleans up after them.
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getitem__(self, label: str) -> Host:
        return self.hosts[label]

    def close(self) -> None:
        """End everything, and remove it."""
        try:
            for host in self.hosts.values():
                host.close()
        finally:
            self._wire.communicate()  # It ends what is left in the namespaces, and removes them and the folder.

    # --- the wire -------------------------------------------------------------------------------------------------

    def say(self, **said: Any) -> dict[str, Any]:
        """Tell the wire something, and return its answer: it is in force from here on."""
        assert self._wire.stdin
        self._wire.stdin.write(json.dumps(said).encode() + b"\n")
        self._wire.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._wire.stdout
        assert select.select([self._wire.stdout], [], [], START_S)[0], "the wire does not answer"
        line = self._wire.stdout.readline()
        assert line, f"the wire ended: {self._wire.wait()}"
        answer: dict[str, Any] = json.loads(line)
        return answer

    def one_way(self, sender: str, to: str, **faults: Any) -> None:
        """Set faults of one direction; those that are not named stay."""
        self.say(**{"from": self.hosts[sender].number, "to": self.hosts[to].number, "set": faults})

    def faults(self, **faults: Any) -> None:
        """Set faults of every direction."""
        for sender, to in itertools.permutations(self.hosts, 2):
            self.one_way(sender, to, **faults)

    def cut(self, one: str, other: str) -> None:
        """Cut the wire between two hosts: nothing arrives, and nobody is told."""
        self.one_way(one, other, cut=True)
        self.one_way(other, one, cut=True)

    def cable(self, one: str, other: str) -> None:
        """Lay a cable of the kernel's (a veth pair) between two hosts, beside the wire: 10.78.0.k is host k on it."""
        ends = [self.hosts[label] for label in (one, other)]
        spaces = [host.namespace for host in ends]
        cable = ["cable", "netns", spaces[0], "type", "veth", "peer", "name", "cable", "netns", spaces[1]]
        subprocess.run(["ip", "link", "add", *cable], check=True)
        for host in ends:
            host.run("ip", "addr", "add", f"10.78.0.{host.number}/24", "dev", "cable")
            host.run("ip", "link", "set", "cable", "up")

    def heal(self) -> None:
        """Take all faults away."""
        self.faults(cut=False, loss=0.0, duplicate=0.0, reorder=0.0, delay_s=0.0, jitter_s=0.0)

    def counts(self, sender: str, to: str) -> dict[str, int]:
        """What happened to packets of one direction: taken, passed, cut, lost, duplicated, delayed, overtaken, full."""
        ways = self.say(counts=True)["ways"]
        found: dict[str, int] = ways.get(f"{self.hosts[sender].number}>{self.hosts[to].number}", {})
        return found

    def counted(self, what: str) -> int:
        """How often something happened to packets of any direction."""
        return sum(way.get(what, 0) for way in self.say(counts=True)["ways"].values())

    def astray(self) -> int:
        """How many packets were for nobody here: a multicast of the kernel, an address in the internet."""
        return int(self.say(counts=True)["astray"])

    # --- what crossed ---------------------------------------------------------------------------------------------

    def record(self) -> None:
        """Keep a copy of all that crosses the wire from here on."""
        self.say(capture=str(self.pcap))

    def crossed(self) -> bytes:
        """All that anybody said over the wire since `record`."""
        self.say(counts=True)  # What it keeps is in the file then.
        return capture.all_text(self.pcap)

    def streams(self) -> dict[capture.Ends, bytes]:
        """What each direction of each TCP connection said since `record`."""
        self.say(counts=True)
        return capture.streams(self.pcap)

    def wait_counted(self, what: str, more_than: int = 0) -> None:
        """Return once something happened to more packets than so many."""
        wait_for(lambda: self.counted(what) > more_than, f"packets are {what}")
