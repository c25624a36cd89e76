"""Every key of the relay: changed in the file of a running daemon, and seen in what it does, within a second."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Place, a_place, wait_for
from coterie.config import KEYS
from daemon.pairs import PERSON, Computer, Terminal, configure, free_port, pair

WITHIN_S = 1.0


@pytest.fixture
def other() -> Iterator[Place]:
    """A second home."""
    with a_place() as here:
        yield here


def edit(computer: Computer, **values: Any) -> None:
    """Write the file by hand, as an editor does."""
    computer.settings.update(values)
    configure(computer.place, **computer.settings)


def answers(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody listens there."""
    with contextlib.suppress(OSError), socket.create_connection((host, port), 1):
        return True
    return False


def soon(condition: Callable[[], object], what: str) -> None:
    """Wait for what a change of a setting must bring about within a second; nobody asks the daemon for anything."""
    begun = time.monotonic()
    wait_for(condition, what)
    assert time.monotonic() - begun < WITHIN_S, what


def test_it_listens_while_that_is_set_and_no_longer(place: Place) -> None:
    desk = Computer(place, "desk")
    assert not answers(desk.port)
    edit(desk, relay_enabled=True)
    soon(lambda: answers(desk.port), "it listens")
    edit(desk, relay_enabled=False)
    soon(lambda: not answers(desk.port), "it does not")
    other = Path(f"{place.home.config}.new")
    other.touch(0o600)
    other.write_text(f"[relay]\nenabled = true\nlisten_addr = '127.0.0.1'\nlisten_port = {desk.port}\n")
    os.rename(other, place.home.config)
    soon(lambda: answers(desk.port), "another file has taken its place")
    os.unlink(place.home.config)
    soon(lambda: not answers(desk.port), "there is no file any more")


def test_it_listens_at_the_port_that_is_set(place: Place) -> None:
    desk = Computer(place, "desk", relay_enabled=True)
    soon(lambda: answers(desk.port), "it listens")
    moved = free_port()
    edit(desk, relay_listen_port=moved)
    soon(lambda: answers(moved) and not answers(desk.port), "it has moved")


def test_a_port_that_is_taken_is_a_trouble_that_ends(place: Place) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        desk = Computer(place, "desk", relay_enabled=True, relay_listen_port=other.getsockname()[1])
        taken = desk.settings["relay_listen_port"]
        troubles = lambda: desk.terminal.call("daemon.status")["troubles"]  # noqa: E731 (asked again and again)
        wait_for(troubles, "there is a trouble")
        assert f"port {taken} is taken" in troubles()[0]["message"]
        edit(desk, relay_listen_port=desk.port)
        soon(lambda: answers(desk.port), "it listens elsewhere")
        assert troubles() == []


def test_it_listens_where_that_is_set(place: Place) -> None:
    desk = Computer(place, "desk", relay_enabled=True, relay_listen_addr="127.0.0.2")
    soon(lambda: answers(desk.port, "127.0.0.2"), "it listens")
    assert not answers(desk.port)
    edit(desk, relay_listen_addr="::")
    soon(lambda: answers(desk.port) and answers(desk.port, "::1"), "it listens everywhere")


def test_no_more_devices_are_connected_than_is_set(place: Place, other: Place) -> None:
    with a_place() as third:
        desk, laptop, phone = Computer(place, "desk"), Computer(other, "laptop"), Computer(third, "phone")
        pair(desk, laptop)
        pair(desk, phone)
        desk.settings["relay_enabled"] = True
        edit(desk, relay_max_peers=1)
        wait_for(lambda: desk.call("status")["connected"] == 1, "one is left")
        edit(desk, relay_max_peers=2)
        wait_for(lambda: desk.call("status")["connected"] == 2, "both are there again")


def test_a_dead_device_is_known_as_one_after_three_of_the_intervals(place: Place, other: Place) -> None:
    desk, laptop = Computer(place, "desk"), Computer(other, "laptop")
    pair(desk, laptop)
    desk.settings["relay_enabled"] = True
    edit(desk, relay_heartbeat_interval_secs=1)
    soon(lambda: "heartbeat_interval_secs = 1" in desk.log(), "it is known")
    os.kill(laptop.place.pid(), signal.SIGSTOP)
    begun = time.monotonic()
    desk.wait("laptop", connected=False)
    assert 1 < time.monotonic() - begun < 5
    os.kill(laptop.place.pid(), signal.SIGCONT)


def test_between_two_tries_there_is_no_longer_pause_than_is_set(place: Place, other: Place) -> None:
    slow = "import coterie.links as links\nlinks.RECONNECT_FIRST_S = 30.0\n"
    desk, laptop = Computer(place, "desk"), Computer(other, "laptop", patch=slow, relay_reconnect_max_secs=1)
    pair(desk, laptop)
    desk.place.kill()
    laptop.wait("desk", connected=False)
    desk.start()
    begun = time.monotonic()
    laptop.wait("desk", connected=True)
    assert time.monotonic() - begun < 5


def test_paired_devices_are_looked_for_where_that_is_set(place: Place, other: Place) -> None:
    desk, laptop = Computer(place, "desk"), Computer(other, "laptop")
    pair(desk, laptop)
    laptop.call("disconnect", device="desk")
    laptop.place.kill()
    laptop.start()
    assert not laptop.card("desk")["connected"]
    edit(laptop, relay_auto_connect=[f"localhost:{desk.port}"])
    laptop.wait("desk", connected=True)
    assert f"localhost:{desk.port}" in laptop.card("desk")["addresses"]
    edit(laptop, relay_auto_connect=[])
    desk.place.kill()
    desk.start()
    laptop.wait("desk", connected=False)
    assert not laptop.card("desk")["links_wanted"]


def test_it_calls_itself_as_is_set(place: Place, other: Place) -> None:
    desk, laptop = Computer(place, "desk"), Computer(other, "laptop")
    pair(desk, laptop)
    desk.settings["relay_enabled"] = True
    edit(desk, relay_name="bench")
    laptop.wait("desk", calls_itself="bench")
    edit(desk, relay_name="")
    wait_for(lambda: desk.call("identity")["name"] not in ("", "bench"), "it has the host's name")


def test_what_is_shown_goes_by_what_is_set(place: Place, other: Place) -> None:
    desk, laptop = Computer(place, "desk"), Computer(other, "laptop")
    pair(desk, laptop)
    desk.settings["relay_enabled"] = True
    agent = place.named("api")
    agent.tool("set_summary", role="builder")

    def shown() -> str:
        return str(laptop.terminal.call("peers.list", scope="network"))

    wait_for(lambda: "api" in shown() and "builder" in shown(), "it is shown")
    assert "builder" in str(desk.call("preview", device="laptop")["devices"])
    edit(desk, relay_share=["name", "state"])
    wait_for(lambda: "api" in shown() and "builder" not in shown(), "its role is not")
    assert "builder" not in str(desk.call("preview")["sessions"])


def test_every_key_of_the_relay_is_tried_here() -> None:
    source = Path(__file__).read_text("utf-8")
    for name in KEYS:
        table, _, key = name.partition(".")
        assert table != "relay" or f"relay_{key}=" in source, name


def test_a_mistake_stops_nothing(place: Place) -> None:
    desk = Computer(place, "desk", relay_enabled=True)
    soon(lambda: answers(desk.port), "it listens")
    Path(place.home.config).write_text("[relay]\nenabled = 3\n")
    wait_for(lambda: "relay.enabled is 3" in desk.log(), "it is read")
    assert answers(desk.port)


def test_a_folder_that_is_not_there_yet_is_watched_too(place: Place) -> None:
    from coterie.files import Home

    folder = place.root / ".local" / "state" / "coterie"
    folder.parent.mkdir(parents=True)
    place.home = Home(str(folder))
    os.mkdir(folder, 0o700)
    place.environ.pop("COTERIE_HOME")
    place.start(patch=PERSON)
    port = free_port()
    config = place.root / ".config" / "coterie" / "config.toml"
    assert place.home.config == str(config)
    Terminal(place).call("relay.status")
    config.parent.mkdir(parents=True)
    config.touch(0o600)
    config.write_text(f"[relay]\nenabled = true\nlisten_addr = '127.0.0.1'\nlisten_port = {port}\n")
    soon(lambda: answers(port), "it listens")
