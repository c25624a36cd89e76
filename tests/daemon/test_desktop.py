"""Notifications on the desktop: a real daemon, and a program in the place of notify-send that notes what it is told."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Peer, Shell
from conftest import Place, wait_for
from coterie.daemon.callers import person_name
from coterie.daemon.desktop import NAMES_MAX, command, words
from coterie.frames import Letter
from coterie.testing.agent import Agent

QUICK = """
import coterie.daemon.desktop as desktop, coterie.daemon.settings as settings
desktop.DESKTOP_GAP_S = 0.3
settings.CONFIG_LOOK_S = 0.0
"""
NOTES = """#!/bin/sh
printf '%s\\0' "$DBUS_SESSION_BUS_ADDRESS" "$@" >> {root}/notes
printf '\\n' >> {root}/notes
"""
ME = person_name()


class Screen:
    """A home whose person wants notifications, and what was shown to them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.notes = place.root / "notes"
        (place.root / "bin").mkdir()
        self.program(NOTES)
        path = f"{place.root}/bin:{os.environ['PATH']}"
        self.environ = {**place.environ, "PATH": path}
        self.want(True)

    def program(self, text: str) -> None:
        path = self.place.root / "bin" / "notify-send"
        path.write_text(text.format(root=self.place.root))
        path.chmod(0o755)

    def want(self, wanted: bool) -> None:
        path = Path(self.place.home.config)
        path.touch(0o600)
        path.write_text(f"notify.desktop = {str(wanted).lower()}\n")

    def start(self, patch: str = QUICK) -> None:
        self.place.start(environ=self.environ, patch=patch)

    def person(self, *command: str) -> None:
        """Do something as the person, who is known from their first command on."""
        Shell(self.place).ok(*(command or ["peers"]))

    def shown(self) -> list[list[str]]:
        if not self.notes.exists():
            return []
        return [line.split("\0")[:-1] for line in self.notes.read_text().split("\n") if line]

    def wait(self, count: int) -> list[str]:
        """The texts, once there are so many."""
        wait_for(lambda: len(self.shown()) >= count, f"{count} notifications, not {self.shown()}")
        assert len(self.shown()) == count
        return [note[-1] for note in self.shown()]


@pytest.fixture
def screen(place: Place) -> Screen:
    return Screen(place)


def told(agent: Agent, text: str) -> str:
    return agent.tool("send_message", to=ME, message=text)


def troubles(place: Place) -> Any:
    return place.connect("cli", start=False).call("daemon.status")["troubles"]


def test_mail_for_the_person_is_told_with_its_sender_and_none_of_its_text(screen: Screen) -> None:
    screen.start()
    web = screen.place.named("web")
    screen.person()
    told(web, "<b>the text</b> $(touch /tmp/x) \x1b[31m")
    assert screen.wait(1) == ["1 message for you, from web. To read: coterie inbox"]
    bus = f"unix:path=/run/user/{os.getuid()}/bus"
    assert screen.shown()[0][:-1] == [bus, "--app-name=coterie", "coterie"]


def test_a_burst_is_told_in_one_and_of_a_message_once(screen: Screen) -> None:
    screen.start("import coterie.daemon.desktop as d\nd.DESKTOP_GAP_S = 1.5")
    a, b = Peer(screen.place, "a"), Peer(screen.place, "b")
    screen.person()
    a.send("one", to=ME)
    screen.wait(1)
    for number in range(3):
        a.send(f"a {number}", to=ME)
        b.send(f"b {number}", to=ME)
    assert screen.wait(2)[1] == "6 messages for you, from a, b. To read: coterie inbox"


def test_only_if_it_is_wanted_and_from_then_on(screen: Screen) -> None:
    screen.want(False)
    screen.start()
    a = Peer(screen.place, "a")
    screen.person()
    a.send("nobody is told", to=ME)
    screen.want(True)
    b = Peer(screen.place, "b")
    b.send("it waits too", to=ME)
    assert screen.wait(1) == ["2 messages for you, from a, b. To read: coterie inbox"]


def test_mail_between_agents_and_a_note_to_oneself_are_not_told(screen: Screen) -> None:
    screen.start()
    a, b = Peer(screen.place, "a"), Peer(screen.place, "b")
    screen.person("send", "me", "a note")
    a.send("between us", to=b.card["id"])
    a.send("to the person", to=ME)
    assert screen.wait(1) == ["1 message for you, from a. To read: coterie inbox"]


FAILS = """#!/bin/sh
echo >> {root}/tries
exit 1
"""


def test_a_failure_is_logged_once_and_said_until_it_works(screen: Screen) -> None:
    screen.program(FAILS)
    screen.start()
    a = Peer(screen.place, "a")
    screen.person()
    tries = screen.place.root / "tries"
    for number in (1, 2):
        a.send(f"try {number}", to=ME)
        wait_for(lambda: tries.exists() and len(tries.read_text()) == number, f"try {number}")  # noqa: B023
    wait_for(lambda: troubles(screen.place), "it is said")
    assert troubles(screen.place)[0]["message"] == "the desktop cannot be told of mail: notify-send ended with 1"
    assert Path(screen.place.home.log).read_text().count("cannot be told of mail") == 1
    screen.program(NOTES)
    a.send("now", to=ME)
    screen.wait(1)
    wait_for(lambda: not troubles(screen.place), "all is well")


@pytest.mark.parametrize(
    ("program", "says"),
    [("", "notify-send: No such file or directory"), ("#!/bin/sh\nexec sleep 60\n", "did not end within 0.2 s")],
    ids=["absent", "hangs"],
)
def test_without_a_desktop_mail_comes_all_the_same(screen: Screen, program: str, says: str) -> None:
    screen.program(program)
    if not program:
        shutil.rmtree(screen.place.root / "bin")
        screen.environ["PATH"] = "/nowhere"
    screen.start("import coterie.daemon.desktop as d\nd.DESKTOP_S = 0.2")
    a = Peer(screen.place, "a")
    screen.person()
    a.send("read me", to=ME)
    wait_for(lambda: troubles(screen.place), "it is said")
    assert says in troubles(screen.place)[0]["message"]
    screen.want(False)
    assert screen.place.row("SELECT state FROM messages") == ("queued",)


def letter(sender: str) -> Letter:
    return Letter("m_1", sender, "claude", "this device", "m_1", None, "the text")


def test_many_senders_are_counted() -> None:
    many = [letter(f"p{number}") for number in range(NAMES_MAX + 2)]
    assert words(many) == "5 messages for you, from p0, p1, p2 and 2 more. To read: coterie inbox"


def test_the_text_is_an_argument_and_no_program() -> None:
    assert command("x", "linux")[-2:] == ["coterie", "x"]
    said = command("x", "darwin")
    assert (said[0], said[-1]) == ("osascript", "x")
    assert said[2] == 'on run argv\ndisplay notification (item 1 of argv) with title "coterie"\nend run'
