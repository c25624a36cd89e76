"""Strangers: a thousand connections from another host, silent or dribbling. They learn nothing and stop nobody."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from conftest import wait_for
from coterie.limits import HANDSHAKE_S, UNPROVED_MAX
from hosts.pairs import pair, wait_link
from hosts.rig import Rig
from hosts.traffic import Traffic

PORT = 9847
STRANGERS = 1_000
ADDRESSES = 200
CROWD_S = 120
"""How long strangers come at most; a test that is over ends them."""
IN_S = 3 * HANDSHAKE_S
"""Within this the paired device is in again. It takes a second or two; on a busy machine the crowd takes the same
processors as the door."""
CROWD = Path(__file__).with_name("crowd.py")


class Besieged:
    """Two paired hosts with a session each, and a third from which strangers come to the first."""

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.ann, self.bob, self.eve = (rig[label] for label in ("ann", "bob", "eve"))
        Traffic.prepare(self.ann, self.bob)
        pair(self.ann, self.bob)
        self.agent, self.other = self.ann.named("api"), self.bob.named("web")
        wait_for(lambda: "web@bob" in self.agent.tool("list_peers", scope="network"), "it is listed")

    def press(self, how: str, addresses: int) -> subprocess.Popen[str]:
        """Have strangers come, each of which comes back when it is turned away; returns once they are at the door."""
        lines = [f"addr add 10.77.{number}.{self.eve.number}/32 dev wire" for number in range(1, addresses)]
        self.eve.run("ip", "-batch", "-", input="\n".join(lines))
        crowd = ["python3", "-P", str(CROWD), self.ann.ip4, str(STRANGERS), how, str(CROWD_S), str(addresses)]
        pressing = self.eve.spawn(*crowd)
        assert pressing.stdout
        assert pressing.stdout.readline() == "ready\n"
        before = self.rig.counts("eve", "ann").get("passed", 0)
        wait_for(
            lambda: self.rig.counts("eve", "ann").get("passed", 0) > before + 2 * STRANGERS, "strangers are at the door"
        )
        return pressing

    def held(self) -> int:
        """How many connections the first host holds at its door and behind it."""
        found = self.ann.run("ss", "-tnpH", "state", "established", f"( sport = :{PORT} )").stdout
        return found.count("users:")

    def talk(self, text: str) -> None:
        """A message crosses."""
        self.agent.tool("send_message", to="web@bob", message=text)
        self.other.wait_inbox(text)


@pytest.fixture
def besieged(three: Rig) -> Besieged:
    """Ann, whose port eve is about to besiege, and bob, who is paired with her."""
    return Besieged(three)


@pytest.mark.promise("L7")
@pytest.mark.parametrize("how", ["silent", "dribble"])
@pytest.mark.parametrize("addresses", [1, ADDRESSES])
@pytest.mark.promise("L7")
def test_a_thousand_strangers_keep_no_paired_device_out(besieged: Besieged, how: str, addresses: int) -> None:
    rig, ann, bob = besieged.rig, besieged.ann, besieged.bob
    pressing = besieged.press(how, addresses)
    # The link that is there goes on, and one that is cut comes back in the middle of it.
    besieged.talk("in the crowd")
    rig.cut("ann", "bob")
    wait_link(ann, bob, there=False)
    rig.one_way("ann", "bob", cut=False)
    rig.one_way("bob", "ann", cut=False)
    begun = time.monotonic()
    wait_link(ann, bob, timeout=IN_S)
    assert time.monotonic() - begun < IN_S
    besieged.talk("still in the crowd")
    assert pressing.poll() is None, "the crowd was still there"
    assert besieged.held() <= 2 * UNPROVED_MAX + 1, "no more are held than the limit"
    opened, said = pressing.communicate(timeout=60)[0].rstrip("\n").split(" ")
    assert int(opened) > STRANGERS
    assert b"ann" not in bytes.fromhex(said)
    assert b"coterie" not in bytes.fromhex(said)


@pytest.mark.promise("L7")
def test_a_paired_device_gets_in_from_where_it_never_was(besieged: Besieged) -> None:
    """It has no room of its own at the door then, and is let in all the same."""
    ann, bob = besieged.ann, besieged.bob
    pressing = besieged.press("silent", ADDRESSES)
    bob.run("ip", "addr", "add", f"10.77.250.{bob.number}/24", "dev", "wire")
    bob.run("ip", "addr", "del", f"{bob.ip4}/24", "dev", "wire")
    bob.run("ip", "route", "replace", "default", "dev", "wire")
    wait_link(ann, bob, there=False)
    begun = time.monotonic()
    wait_link(ann, bob, timeout=CROWD_S)
    took = time.monotonic() - begun
    assert pressing.poll() is None, "the crowd was still there"
    print(f"in after {took:.2f} s")
    besieged.talk("from elsewhere")
