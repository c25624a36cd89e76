"""A wire between network namespaces, made of TUN devices and this program, which forwards what they send.

It loses, delays, repeats and overtakes packets as it is told, each direction for itself, counts what it really did, and
keeps a copy of all that crossed. The kernel's own way (netem) is not in every kernel; this one needs /dev/net/tun only.

Run as ``python wire.py SEED FOLDER NAMESPACE...``: host k of the wire is the k-th namespace, with the addresses
10.77.0.k and fd77::k. It takes one JSON object a line on stdin, and answers each with one on stdout. When stdin ends,
for whatever reason the test's process is gone, it ends every process in the namespaces, and removes them and FOLDER; so
nothing stays.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import heapq
import ipaddress
import json
import os
import random
import select
import shutil
import signal
import struct
import subprocess
import sys
import time
from dataclasses import dataclass, field, fields
from typing import Any, BinaryIO

Json = dict[str, Any]

DEVICE = "wire"
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
PACKET_BYTES = 65_536
BURST = 64
"""Packets that are read of one device before the others get their turn."""
HELD_MAX = 20_000
"""Packets under way at most; what is more is lost, as in a router whose queue is full."""
OVERTAKEN_S = 0.03
"""How much longer a packet takes that others are to overtake."""
END_S = 3.0
"""How long processes may take to end before they are killed."""
LIFE_S = 1_800.0
"""A wire that nobody ended by then ends itself."""
CAPTURE_BYTES_MAX = 64 << 20
PCAP_HEAD = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, PACKET_BYTES, 101)
"""Of a pcap file of raw IP packets."""


@dataclass
class Way:
    """One direction between two hosts: what is done to packets on it, and what was done."""

    loss: float = 0.0
    """The share (0 to 1) that is lost; so are the next two."""
    duplicate: float = 0.0
    reorder: float = 0.0
    delay_s: float = 0.0
    jitter_s: float = 0.0
    """Up to so much more delay, each packet for itself."""
    cut: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    sent: int = 0
    latest: int = 0
    """The number of the latest packet that arrived."""

    def set(self, faults: Json) -> None:
        """Change faults; those that are not named stay."""
        unknown = set(faults) - {each.name for each in fields(self)}
        if unknown:
            raise ValueError(f"no such fault: {sorted(unknown)}")
        for name, value in faults.items():
            setattr(self, name, value)

    def count(self, what: str) -> None:
        """Note that something happened to a packet."""
        self.counts[what] = self.counts.get(what, 0) + 1

    def delays(self, chance: random.Random) -> list[float]:
        """For each copy of the next packet that will arrive: after how many seconds."""
        self.count("taken")
        if self.cut:
            self.count("cut")
            return []
        if chance.random() < self.loss:
            self.count("lost")
            return []
        copies = 1
        if chance.random() < self.duplicate:
            self.count("duplicated")
            copies = 2
        return [self._delay(chance) for _ in range(copies)]

    def _delay(self, chance: random.Random) -> float:
        delay = self.delay_s + chance.random() * self.jitter_s
        if chance.random() < self.reorder:
            delay += OVERTAKEN_S
        if delay:
            self.count("delayed")
        return delay

    def arrived(self, number: int) -> None:
        """Note that the packet with this number was handed over."""
        self.count("passed")
        if number < self.latest:
            self.count("overtaken")
        self.latest = max(self.latest, number)


class Wire:
    """The devices and the ways between them."""

    def __init__(self, devices: list[int], chance: random.Random) -> None:
        self.devices = devices
        self.ways: dict[tuple[int, int], Way] = {}
        self.astray = 0
        """Packets for addresses that no host here has."""
        self._chance = chance
        self._held: list[tuple[float, int, tuple[int, int], int, bytes]] = []
        self._order = 0
        self._capture: BinaryIO | None = None
        self._captured = 0

    def way(self, sender: int, to: int) -> Way:
        """The way from one host to another, by their numbers from 1."""
        return self.ways.setdefault((sender, to), Way())

    def due(self) -> float:
        """Seconds until the next packet has to be handed over."""
        return max(0.0, self._held[0][0] - time.monotonic()) if self._held else 1.0

    def take(self, sender: int) -> None:
        """Read what a host sent, and hand it over or hold it."""
        for _ in range(BURST):
            try:
                packet = os.read(self.devices[sender - 1], PACKET_BYTES)
            except BlockingIOError:
                return
            self._forward(sender, packet)

    def _forward(self, sender: int, packet: bytes) -> None:
        to = destination(packet)
        if not 1 <= to <= len(self.devices):
            self.astray += 1
            return
        self._keep(packet)
        way = self.way(sender, to)
        way.sent += 1
        for delay in way.delays(self._chance):
            if not delay:
                self._hand_over((sender, to), way.sent, packet)
            elif len(self._held) >= HELD_MAX:
                way.count("full")
            else:
                self._order += 1
                due = time.monotonic() + delay
                heapq.heappush(self._held, (due, self._order, (sender, to), way.sent, packet))

    def release(self) -> None:
        """Hand over what is due."""
        now = time.monotonic()
        while self._held and self._held[0][0] <= now:
            _, _, ends, number, packet = heapq.heappop(self._held)
            self._hand_over(ends, number, packet)

    def _hand_over(self, ends: tuple[int, int], number: int, packet: bytes) -> None:
        # Not taken: the receiving side has no device any more, or its queue is full. A cable loses it as well.
        with contextlib.suppress(OSError):
            os.write(self.devices[ends[1] - 1], packet)
        self.ways[ends].arrived(number)

    # --- what crossed ---------------------------------------------------------------------------------------------

    def capture(self, path: str) -> None:
        """Keep a copy of every packet from here on in a pcap file; "" ends it."""
        if self._capture:
            self._capture.close()
        self._capture, self._captured = None, 0
        if path:
            self._capture = open(path, "wb")  # noqa: SIM115 (it stays open until it is ended)
            self._capture.write(PCAP_HEAD)
            self._capture.flush()

    def _keep(self, packet: bytes) -> None:
        self._captured += len(packet)
        if self._capture and self._captured <= CAPTURE_BYTES_MAX:
            now = time.monotonic()
            head = struct.pack("<IIII", int(now), int(now % 1 * 1e6), len(packet), len(packet))
            self._capture.write(head + packet)

    # --- what a test says -----------------------------------------------------------------------------------------

    def obey(self, said: Json) -> Json:
        """Do what one line says; the answer to it."""
        if "set" in said:
            self.way(said["from"], said["to"]).set(said["set"])
        if "capture" in said:
            self.capture(said["capture"])
        if "counts" in said:
            if self._capture:
                self._capture.flush()
            ways = {f"{sender}>{to}": way.counts for (sender, to), way in self.ways.items()}
            return {"ways": ways, "astray": self.astray, "held": len(self._held), "captured": self._captured}
        return {}


def destination(packet: bytes) -> int:
    """The number of the host that a packet is for: the last octet of its address, in either version of IP. 0: none."""
    if packet[:1] and packet[0] >> 4 == 4 and packet[16:18] == bytes((10, 77)):
        return packet[19]
    if packet[:1] and packet[0] >> 4 == 6 and packet[24:32] == ipaddress.ip_address("fd77::").packed[:8]:
        return packet[39]
    return 0


def enter(namespace: BinaryIO) -> None:
    """Put this process into a network namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace.fileno(), CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), f"setns {namespace.name}")


def device_in(namespace: str) -> int:
    """A TUN device in a namespace, which must exist. It stays there, and this process does not."""
    with open("/proc/self/ns/net", "rb") as own, open(f"/run/netns/{namespace}", "rb") as other:
        enter(other)
        try:
            device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), IFF_TUN | IFF_NO_PI))
        finally:
            enter(own)
    return device


def configure(namespace: str, number: int) -> None:
    """Bring up loopback and the wire in a namespace. Everything else goes onto the wire too, and astray."""
    lines = (
        "link set lo up",
        f"addr add 10.77.0.{number}/24 dev {DEVICE}",
        f"-6 addr add fd77::{number}/64 dev {DEVICE} nodad",
        f"link set {DEVICE} up",
        f"route add default dev {DEVICE}",
    )
    for line in lines:
        subprocess.run(["ip", "-n", namespace, *line.split()], check=True)


def serve(wire: Wire) -> None:
    """Forward and obey until stdin ends."""
    poll = select.poll()
    for descriptor in (0, *wire.devices):
        poll.register(descriptor, select.POLLIN)
    senders = {device: number for number, device in enumerate(wire.devices, start=1)}
    rest, deadline = b"", time.monotonic() + LIFE_S
    while time.monotonic() < deadline:
        for descriptor, _ in poll.poll(wire.due() * 1000):
            if descriptor in senders:
                wire.take(senders[descriptor])
                continue
            said = os.read(0, PACKET_BYTES)
            if not said:
                return
            *lines, rest = (rest + said).split(b"\n")
            for line in lines:
                print(json.dumps(wire.obey(json.loads(line))), flush=True)
        wire.release()


def pids_in(namespace: str) -> list[int]:
    """The processes in a namespace."""
    said = subprocess.run(["ip", "netns", "pids", namespace], capture_output=True, text=True, check=False).stdout
    return [int(pid) for pid in said.split()]


def end_all(pids: list[int], number: int) -> None:
    """Signal processes, those too that were stopped."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)
            os.kill(pid, signal.SIGCONT)


def tidy(namespaces: list[str]) -> None:
    """End every process in the namespaces, and remove them."""
    for namespace in namespaces:
        for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGKILL):
            end_all(pids_in(namespace), number)
            deadline = time.monotonic() + END_S
            while pids_in(namespace) and time.monotonic() < deadline:
                time.sleep(0.02)
        subprocess.run(["ip", "netns", "del", namespace], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(f"/etc/netns/{namespace}", ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rmdir("/etc/netns")


def main(seed: str, folder: str, *namespaces: str) -> None:
    """Make the namespaces and the wire between them, and serve."""
    try:
        for namespace in namespaces:
            subprocess.run(["ip", "netns", "add", namespace], check=True)
        devices = [device_in(namespace) for namespace in namespaces]
        for number, namespace in enumerate(namespaces, start=1):
            configure(namespace, number)
        wire = Wire(devices, random.Random(seed))
        print(json.dumps({"ready": True}), flush=True)
        serve(wire)
    finally:
        tidy(list(namespaces))
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
