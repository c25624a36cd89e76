"""The rig itself: what it says that it does to packets happens to them, and nothing of it stays."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import running, wait_for
from hosts.conftest import need_hosts
from hosts.rig import Rig

ECHO = """
import socket, sys
server = socket.create_server((sys.argv[1], 7000), family=socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET)
print("ready", flush=True)
while True:
    connection = server.accept()[0]
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.close()
"""
ASK = """
import socket, sys, time
connection = socket.create_connection((sys.argv[1], 7000), timeout=float(sys.argv[3]))
begun = time.monotonic()
connection.sendall(sys.argv[2].encode())
answer = b""
while len(answer) < len(sys.argv[2]):
    answer += connection.recv(65536)
print(answer.decode(), time.monotonic() - begun)
"""
COUNT = """
import socket, sys
taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taken.bind(("", 7001))
taken.settimeout(float(sys.argv[1]))
print("ready", flush=True)
seen = []
try:
    while True:
        seen.append(int(taken.recv(100)))
except TimeoutError:
    print(len(seen), len(set(seen)), seen == sorted(seen))
"""
SHOUT = """
import socket, sys, time
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for number in range(int(sys.argv[2])):
    out.sendto(str(number).encode(), (sys.argv[1], 7001))
    time.sleep(0.0005)
"""
PACKETS = 400


@pytest.fixture
def echo(rig: Rig) -> Rig:
    """Two hosts; on bob something listens that says everything back, in both versions of IP."""
    for address in (rig["bob"].ip4, rig["bob"].ip6):
        server = rig["bob"].python(ECHO, address)
        assert server.stdout
        assert server.stdout.readline() == "ready\n"
    return rig


def ask(rig: Rig, where: str, text: str = "a canary", timeout: float = 10) -> tuple[str, float]:
    asked = rig["ann"].python(ASK, where, text, str(timeout))
    said, took = asked.communicate(timeout=60)[0].rsplit(" ", 1)
    return said, float(took)


def shout(rig: Rig, silence_s: float = 0.5) -> tuple[int, int, bool]:
    """How many of 400 packets from ann came to bob, how many different ones, and whether in order."""
    counting = rig["bob"].python(COUNT, str(silence_s))
    assert counting.stdout
    assert counting.stdout.readline() == "ready\n"
    rig["ann"].python(SHOUT, rig["bob"].ip4, str(PACKETS)).communicate(timeout=30)
    came, different, ordered = counting.stdout.readline().split()
    return int(came), int(different), ordered == "True"


def test_what_crosses_is_carried_counted_and_kept(echo: Rig) -> None:
    echo.record()
    for where in (echo["bob"].ip4, echo["bob"].ip6, "bob", "bob6"):
        assert ask(echo, where)[0] == "a canary"
    assert echo.counts("ann", "bob")["passed"] == echo.counts("ann", "bob")["taken"] > 8
    said = {ends.sender: text for ends, text in echo.streams().items()}
    assert set(said.values()) == {b"a canary"}
    assert set(said) == {host.ip4 for host in echo.hosts.values()} | {host.ip6 for host in echo.hosts.values()}
    assert echo.crossed().count(b"a canary") == 8


def test_a_cut_wire_carries_nothing_and_a_healed_one_does(echo: Rig) -> None:
    echo.one_way("bob", "ann", cut=True)
    asked = echo["ann"].python(ASK, "bob", "x", "20")
    echo.wait_counted("cut")
    assert echo.counts("ann", "bob")["passed"] >= 1
    echo.heal()
    assert asked.communicate(timeout=30)[0].startswith("x ")


def test_delay_holds_every_packet(echo: Rig) -> None:
    echo.faults(delay_s=0.1, jitter_s=0.01)
    assert 0.2 <= ask(echo, "bob")[1] < 2
    assert echo.counts("bob", "ann")["delayed"] == echo.counts("bob", "ann")["taken"]


def test_loss_duplicates_and_overtaking(rig: Rig) -> None:
    assert shout(rig) == (PACKETS, PACKETS, True)
    rig.one_way("ann", "bob", loss=0.3)
    came, different, _ = shout(rig)
    lost = rig.counts("ann", "bob")["lost"]
    assert PACKETS * 0.2 < lost < PACKETS * 0.4
    assert came == different == PACKETS - lost
    rig.one_way("ann", "bob", loss=0.0, duplicate=0.5)
    came, different, _ = shout(rig)
    assert (came - rig.counts("ann", "bob")["duplicated"], different) == (PACKETS, PACKETS)
    rig.one_way("ann", "bob", duplicate=0.0, reorder=0.2)
    came, different, ordered = shout(rig)
    assert (came, different, ordered) == (PACKETS, PACKETS, False)
    assert rig.counts("ann", "bob")["overtaken"] > PACKETS * 0.1
    assert rig.counts("bob", "ann").get("lost", 0) == 0


def test_what_is_for_nobody_here_goes_astray(rig: Rig) -> None:
    before = rig.astray()
    rig["ann"].python(SHOUT, "192.0.2.1", "5").communicate(timeout=30)
    wait_for(lambda: rig.astray() >= before + 5, "packets go astray")


def gone(names: list[str], base: str) -> bool:
    paths = [base, *(f"{folder}/netns/{name}" for folder in ("/run", "/etc") for name in names)]
    return not any(map(os.path.exists, paths))


def test_nothing_of_it_stays() -> None:
    need_hosts()
    with Rig("ann", "bob") as rig:
        sleeper = rig["ann"].run("sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!")
        pid = int(sleeper.stdout)
        assert running(pid)
        assert not gone(rig.namespaces, str(rig.base))
    assert not running(pid)
    assert gone(rig.namespaces, str(rig.base))


def test_nothing_stays_when_the_tests_are_killed() -> None:
    need_hosts()
    code = "from hosts.rig import Rig; rig = Rig('ann', 'bob'); print(rig.base, *rig.namespaces, flush=True); input()"
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", code], env=environ, stdin=pipe, stdout=pipe, text=True) as child:
        assert child.stdout
        base, *names = child.stdout.readline().split()
        assert len(names) == 2
        child.kill()
    wait_for(lambda: gone(names, base), "namespaces and folder are gone")
