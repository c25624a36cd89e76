"""Somebody sets the clock, by years, forwards and back: nothing expires early, nothing goes, nothing lives for ever."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import pytest

from conftest import Place, wait_for
from coterie import ids
from coterie.daemon import processes
from coterie.daemon.clock import Clock
from coterie.files import Home
from coterie.limits import ACKNOWLEDGED_KEPT_S, DAY_S, MACHINE_OFF_S

NOW = 1_800_000_000.0
YEARS = 10 * 365 * DAY_S
DAY_OF_UPKEEP = "import coterie.limits; coterie.limits.UPKEEP_S = 0.05\n"
"""Looks at the books all the time, and so at every instant at which the clock is wrong."""
SETTABLE = """
import time
real = time.time
def ahead():
    with open({path!r}) as file:
        return float(file.read() or 0)
time.time = lambda: real() + ahead()
"""


class Watch:
    """The wall clock of a daemon, which can be set while it runs."""

    def __init__(self, place: Place) -> None:
        self._path = place.root / "ahead"
        self.set(0)
        self.patch = SETTABLE.format(path=str(self._path))

    def set(self, ahead_s: float) -> None:
        """The clock is so far ahead of the true time from now on."""
        new = self._path.with_name("ahead.new")
        new.write_text(str(ahead_s))
        os.replace(new, self._path)


@pytest.fixture
def watch(place: Place) -> Watch:
    return Watch(place)


def history(place: Place) -> list[tuple[str, str]]:
    return place.rows("SELECT text, state FROM messages ORDER BY seq")


def looked(place: Place) -> None:
    """Wait until the daemon noticed that its clock was set, and looked at its books after that."""
    place.connect().call("daemon.status")
    for _ in range(2):
        before = os.stat(place.home.clock).st_mtime_ns
        wait_for(lambda before=before: os.stat(place.home.clock).st_mtime_ns != before, "it looks at its books")


@pytest.mark.promise("D7")
@pytest.mark.parametrize("ahead_s", [YEARS, -YEARS], ids=["forwards", "back"])
def test_years_change_no_history(place: Place, watch: Watch, ahead_s: float) -> None:
    place.start(patch=DAY_OF_UPKEEP + watch.patch)
    api, web = place.named("api"), place.named("web")
    away = place.named("away")
    away.kill()
    wait_for(lambda: place.row("SELECT state FROM peers WHERE name = 'away'")[0] == "away", "it is away")
    api.tool("send_message", to="away", message="it waits")
    api.tool("send_message", to="web", message="it is answered")
    web.wait_inbox("it is answered")
    asked = place.row("SELECT id FROM messages WHERE text = 'it is answered'")[0]
    web.tool("send_message", reply_to=asked, message="the answer")
    place.wait_state(asked, "acknowledged")
    before = history(place)[:2]
    for ahead in (ahead_s, 0, ahead_s, -ahead_s):
        watch.set(ahead)
        looked(place)
        assert history(place)[:2] == before
    watch.set(ahead_s)
    api.tool("send_message", to="web", message="sent meanwhile")
    web.wait_inbox("sent meanwhile")
    api.close()  # Or its adapter would start a daemon of its own, whose clock is right.
    web.close()
    place.kill()
    place.start(patch=DAY_OF_UPKEEP + watch.patch)
    looked(place)
    again = place.agent("session-away")
    again.wait_inbox("it waits")
    assert [text for text, _ in history(place)] == ["it waits", "it is answered", "the answer", "sent meanwhile"]
    names = [name for (name,) in place.rows("SELECT name FROM peers ORDER BY name")]
    assert names == ["api", "away", "web"]


@pytest.mark.promise("D7")
@pytest.mark.parametrize("ahead_s", [YEARS, -YEARS], ids=["forwards", "back"])
def test_a_life_ends_when_it_was_to_end(place: Place, watch: Watch, ahead_s: float) -> None:
    """Set back, the clock would let it live for ten years; set forward, end it at once."""
    place.start(patch=watch.patch)
    api, away = place.named("api"), place.named("web")
    away.kill()
    wait_for(lambda: place.row("SELECT state FROM peers WHERE name = 'web'")[0] == "away", "it is away")
    connection = place.connect("adapter")
    connection.call("peers.register", {"kind": "codex", "cwd": "/", "session": "session-short"})
    short, long = ids.new_message_id(), ids.new_message_id()
    connection.call("messages.send", {"id": short, "to": "web", "text": "hurry", "life_s": 1})
    connection.call("messages.send", {"id": long, "to": "web", "text": "take your time", "life_s": 60})
    watch.set(ahead_s)
    api.tool("send_message", to="web", message="makes it look at its clock")
    place.wait_state(short, "expired")
    assert place.state(long) == "queued"
    assert place.row("SELECT count(*) FROM messages WHERE state = 'queued'")[0] == 2


def test_a_session_in_which_the_clock_was_set_back_is_the_newest_all_the_same(place: Place, watch: Watch) -> None:
    """Who was seen last decides whose a process is; it would be whoever was seen before."""
    place.start(patch=watch.patch)
    web = place.named("web")
    watch.set(-YEARS)
    web.session = "session-fork"
    web.hook("SessionStart", source="fork")
    seen = dict(place.rows("SELECT name, seen FROM peers"))
    assert seen.pop("web") < min(seen.values())


def test_a_wait_and_a_nudge_go_by_another_clock(place: Place, watch: Watch) -> None:
    place.start(patch=watch.patch)
    api, web = place.named("api"), place.named("web")
    asked = api.ask_tool("send_message", to="web", message="well?", wait_s=15)
    question = web.wait_inbox("well?")[1]
    watch.set(YEARS)
    message = question.split("[coterie message ")[1].split()[0]
    web.tool("send_message", reply_to=message, message="well enough")
    answer = api.answer_to(asked)
    assert "well enough" in json.dumps(answer)


LATER = """
import time, coterie.daemon.clock as clock
wall, running = time.time, clock.running
time.time, clock.running = lambda: wall() + {later_s}, lambda: running() + {later_s}
"""
"""Both clocks, so it is so much later indeed."""


@pytest.mark.promise("K1")
def test_what_was_answered_is_kept_so_long_and_what_is_unread_longer(place: Place) -> None:
    place.start()
    api, web = place.named("api"), place.named("web")
    api.tool("send_message", to="web", message="answered")
    web.wait_inbox("answered")
    first = place.row("SELECT id FROM messages")[0]
    web.tool("send_message", reply_to=first, message="the answer, not answered")
    place.wait_state(first, "acknowledged")
    for agent in (api, web):
        agent.close()
    place.kill()
    for later_s, kept in ((ACKNOWLEDGED_KEPT_S - DAY_S, 2), (ACKNOWLEDGED_KEPT_S + DAY_S, 1)):
        place.start("--idle-exit", "60", patch=DAY_OF_UPKEEP + LATER.format(later_s=later_s))
        looked(place)
        wait_for(lambda kept=kept: len(history(place)) == kept, f"{kept} are left")
        place.kill()


SMALL = "import coterie.daemon.upkeep as upkeep; upkeep.MIB = 100"
"""256 of them are room for two of the messages below."""


@pytest.mark.promise("K1")
def test_past_its_size_the_oldest_of_what_is_over_goes_first(place: Place) -> None:
    place.start(patch=DAY_OF_UPKEEP + SMALL)
    api, web = place.named("api"), place.named("web")
    away = place.named("away")
    away.kill()
    wait_for(lambda: place.row("SELECT state FROM peers WHERE name = 'away'")[0] == "away", "it is away")
    api.tool("send_message", to="away", message="unread " + "x" * 10_000)
    for number in range(4):
        api.tool("send_message", to="web", message=f"{number} " + "y" * 10_000)
        web.wait_inbox(f"{number} y")
        message = place.row("SELECT id FROM messages WHERE text LIKE ?", f"{number} y%")[0]
        web.hook("UserPromptSubmit", prompt=web.inbox[-1][1])
        place.wait_state(message, "shown")
    wait_for(lambda: len(history(place)) == 3, "the oldest are gone")
    assert [text.split()[0] for text, _ in history(place)] == ["unread", "2", "3"]


# --- the clock itself ------------------------------------------------------------------------------------------------


class Machine:
    """A machine whose clocks are turned by hand."""

    def __init__(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        self.home, self.wall, self.uptime = home, NOW, 1000.0
        self._monkeypatch = monkeypatch
        self.name("first")

    def name(self, boot: str) -> None:
        self._monkeypatch.setattr(processes, "boot", lambda: boot)

    def passes(self, seconds: float) -> None:
        """Time passes while the machine runs."""
        self.wall += seconds
        self.uptime += seconds

    def off(self, seconds: float, boot: str = "second", up: float = 30.0) -> None:
        """It is switched off, and on again."""
        self.wall += seconds + up
        self.uptime = up
        self.name(boot)

    def clock(self) -> Clock:
        """That of the next daemon."""
        clock = Clock(self.home, lambda: self.wall, lambda: self.uptime)
        clock.keep()  # As the first upkeep does.
        return clock


@pytest.fixture
def machine(place: Place, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(place.home, monkeypatch)


def is_old(clock: Clock, stamp: float, seconds: float) -> bool:
    return any(low <= stamp < high for low, high in clock.older_than(seconds))


def test_lived_time_goes_on_from_one_daemon_to_the_next(machine: Machine) -> None:
    first = machine.clock()
    machine.passes(60)
    assert first.lived() == NOW + 60
    machine.wall -= YEARS  # Killed, and set while none ran.
    machine.passes(40 * DAY_S)
    second = machine.clock()
    assert second.lived() == NOW + 60 + 40 * DAY_S
    assert is_old(second, NOW + 59, ACKNOWLEDGED_KEPT_S)
    assert second() == machine.wall
    assert second.said(NOW) == machine.wall - 60 - 40 * DAY_S


def test_an_age_is_what_passed_whatever_the_clock_was_set_to(machine: Machine) -> None:
    clock = machine.clock()
    machine.passes(60)
    assert clock.age(NOW) == 60
    machine.wall += YEARS
    machine.passes(5)
    assert clock.age(NOW) == pytest.approx(65)
    assert clock.age(clock()) == 0
    machine.wall -= 2 * YEARS
    machine.passes(5)
    assert clock.age(NOW) == pytest.approx(70)
    assert clock.age(clock()) == 0


@pytest.mark.parametrize(
    ("off_s", "counts_s"),
    [(3600.0, 3600.0), (20 * DAY_S, MACHINE_OFF_S), (YEARS, MACHINE_OFF_S), (-YEARS, 0.0)],
    ids=["an hour", "a holiday", "years forward", "years back"],
)
def test_of_the_time_that_a_machine_was_off_no_more_counts_than_can_be_believed(
    machine: Machine, off_s: float, counts_s: float
) -> None:
    machine.clock()
    machine.passes(60)
    machine.clock().keep()
    machine.off(off_s)
    clock = machine.clock()
    assert clock.lived() == pytest.approx(NOW + 60 + 30 + counts_s, abs=31)
    assert not is_old(clock, NOW, 7 * DAY_S)
    machine.passes(7 * DAY_S)
    assert is_old(clock, NOW, 7 * DAY_S)


def test_where_no_boot_is_known_the_uptime_counts_and_a_day_at_most_beside_it(machine: Machine) -> None:
    machine.name("")
    machine.clock()
    machine.passes(3 * DAY_S)
    assert machine.clock().lived() == NOW + 3 * DAY_S
    machine.wall += YEARS
    assert machine.clock().lived() == NOW + 4 * DAY_S
    machine.off(3600.0, boot="")
    assert machine.clock().lived() == NOW + 4 * DAY_S + 3600 + 30


def test_a_daemon_that_stood_still_between_two_looks_sees_no_setting(
    machine: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    stalls = [0.0, 7.0]

    def wall() -> float:
        machine.passes(stalls.pop() if stalls else 0.0)
        return machine.wall

    with caplog.at_level(logging.WARNING):
        clock = Clock(machine.home, wall, lambda: machine.uptime)
        stalls.append(9.0)
        clock()
    assert "was set" not in caplog.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"boot":"first","running":1,"lived":2,"wall":3,"stretches":[]}',
        '{"stretches": [[1]]}',
        "\0" * 99,
    ],
)
def test_what_cannot_be_read_begins_anew(machine: Machine, text: str) -> None:
    Path(machine.home.clock).write_text(text)
    Path(machine.home.clock).chmod(0o600)
    clock = machine.clock()
    assert clock.lived() == NOW
    assert json.loads(Path(machine.home.clock).read_text())["wall"] == NOW


def test_what_cannot_be_kept_is_said_and_harms_nobody(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    clock = machine.clock()
    os.unlink(machine.home.clock)
    os.mkdir(machine.home.clock, 0o700)
    machine.wall += YEARS
    assert clock() == machine.wall
    assert "cannot be kept" in caplog.text
    assert not is_old(clock, NOW, 60)


def test_its_file_is_ours_alone(machine: Machine) -> None:
    machine.clock()
    assert os.stat(machine.home.clock).st_mode & 0o777 == 0o600
    assert not os.path.exists(machine.home.clock + ".new")
