"""Who may stand at the door, who has to go for another, who is not listened to, and what the log says of it."""

from __future__ import annotations

import logging
import random
import sys
from collections import Counter

import pytest

from coterie.limits import FAILURES_MAX, SILENCE_S, SOURCES_MAX, SOURCES_SAID_MAX, UNPROVED_MAX
from coterie.net.strangers import Stranger, Strangers, source

HOME = "10.0.0.7"


class Door:
    """Strangers, and which of them were closed."""

    def __init__(self, *known: str) -> None:
        self.strangers = Strangers(lambda: known, random.Random(1))
        self.closed: list[str] = []
        self.now = 0.0

    def comes(self, host: str) -> Stranger | None:
        return self.strangers.admit(host, lambda: self.closed.append(host), self.now)

    def fails(self, host: str, times: int = 1) -> None:
        for _ in range(times):
            stranger = self.comes(host)
            assert stranger
            self.strangers.leave(stranger)
            self.strangers.failed(stranger, "it did not", self.now)

    def fill(self, *hosts: str) -> None:
        for number in range(UNPROVED_MAX):
            assert self.comes(hosts[number % len(hosts)])


@pytest.mark.parametrize(
    ("host", "whence"),
    [
        ("192.168.1.5", "192.168.1.5"),
        ("::ffff:192.168.1.5", "192.168.1.5"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::1", "::/64"),
        ("fe80::1%eth0", "fe80::1"),
        ("fe80::2%eth0", "fe80::2"),
        ("laptop.local", "laptop.local"),
    ],
)
def test_what_addresses_are_told_apart_by(host: str, whence: str) -> None:
    assert source(host) == whence


def test_the_room_is_bounded_and_a_newcomer_is_let_in() -> None:
    door = Door()
    door.fill(*(f"10.1.0.{number}" for number in range(UNPROVED_MAX)))
    assert door.closed == []
    for number in range(100):
        assert door.comes(f"10.2.0.{number}")
        assert len(door.strangers) == UNPROVED_MAX
    assert len(door.closed) == 100


def test_who_goes_is_left_to_chance() -> None:
    gone = Counter[str]()
    for seed in range(200):
        door = Door()
        door.strangers = Strangers(lambda: (), random.Random(seed))
        door.fill(*(f"10.1.0.{number}" for number in range(UNPROVED_MAX)))
        door.comes("10.2.0.1")
        gone.update(door.closed)
    assert len(gone) == UNPROVED_MAX
    assert max(gone.values()) < 40


def test_a_crowd_from_one_place_drives_out_itself() -> None:
    door = Door()
    assert door.comes(HOME)
    for _ in range(500):
        door.comes("10.6.6.6")
    assert set(door.closed) == {"10.6.6.6"}


@pytest.mark.promise("L7")
def test_known_addresses_have_room_of_their_own() -> None:
    door = Door(HOME)
    assert door.comes(HOME)
    door.fill(*(f"10.1.0.{number}" for number in range(UNPROVED_MAX)))
    for number in range(100):
        door.comes(f"10.2.0.{number}")
    assert HOME not in door.closed
    assert len(door.strangers) == UNPROVED_MAX + 1
    for _ in range(100):
        assert door.comes(HOME)
    assert len(door.strangers) == 2 * UNPROVED_MAX


def test_who_leaves_makes_room() -> None:
    door = Door()
    for _ in range(3 * UNPROVED_MAX):
        stranger = door.comes(HOME)
        assert stranger
        door.strangers.leave(stranger)
        door.strangers.leave(stranger)
    assert door.closed == []
    assert len(door.strangers) == 0


@pytest.mark.promise("L7")
def test_who_fails_too_often_is_not_listened_to_for_a_while() -> None:
    door = Door()
    door.fails(HOME, FAILURES_MAX)
    assert door.comes(HOME) is None
    assert door.comes("10.0.0.8"), "others are"
    door.now += SILENCE_S - 0.1
    assert door.comes(HOME) is None
    door.now += 0.2
    door.fails(HOME, FAILURES_MAX)
    assert door.comes(HOME) is None


def test_whoever_was_shut_out_may_come_when_the_person_invites() -> None:
    door = Door()
    door.fails(HOME, FAILURES_MAX)
    door.strangers.forgive()
    door.fails(HOME, FAILURES_MAX - 1)
    assert door.comes(HOME)
    door.fails(HOME, 1)
    assert door.comes(HOME) is None


def test_failures_long_ago_do_not_count() -> None:
    door = Door()
    for _ in range(5):
        door.fails(HOME, FAILURES_MAX - 1)
        door.now += SILENCE_S + 1
    assert door.comes(HOME)


def test_success_makes_up_for_failures() -> None:
    door = Door()
    for _ in range(5):
        door.fails(HOME, FAILURES_MAX - 1)
        stranger = door.comes(HOME)
        assert stranger
        door.strangers.succeeded(stranger)


def test_known_addresses_are_never_shut_out() -> None:
    door = Door(HOME)
    door.fails(HOME, 10 * FAILURES_MAX)
    assert door.comes(HOME)


def test_the_log_says_it_once_per_address_and_minute(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    door = Door(HOME)
    for second in range(180):
        door.now = float(second)
        door.fails(HOME, 10)
    assert [record.getMessage() for record in caplog.records] == [
        f"a stranger at {HOME}: it did not",
        f"a stranger at {HOME}: it did not (600 times)",
        f"a stranger at {HOME}: it did not (600 times)",
    ]


def test_the_log_says_who_is_not_listened_to(caplog: pytest.LogCaptureFixture) -> None:
    door = Door()
    door.fails(HOME, FAILURES_MAX)
    door.now = 61.0
    door.fails(HOME, 1)
    assert "(5 times)" in caplog.text


def test_a_crowd_does_not_fill_the_log(caplog: pytest.LogCaptureFixture) -> None:
    door = Door()
    for number in range(1000):
        door.fails(f"10.{number // 250}.0.{number % 250}")
    assert len(caplog.records) == SOURCES_SAID_MAX


def test_what_is_remembered_is_bounded() -> None:
    door = Door()
    for number in range(3 * SOURCES_MAX):
        door.fails(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
    assert len(door.strangers._records) == SOURCES_MAX
    assert sum(map(sys.getsizeof, door.strangers._records.values())) < 1 << 20
