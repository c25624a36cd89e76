"""Weeks in minutes: sessions that write, answer, clear, die and come back, hooks, commands, and a daemon that is killed
each minute; then one daemon that lives on, and whose memory is watched.

What a dozen sessions do in a day is done in minutes. Memory that grows with what was done grows as much faster here, so
that the promise for an hour is tried in earnest.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import sqlite3
import subprocess
import time
from collections import Counter
from typing import Any

from _gauge import Gauge, Sample, gauging, slope
from _parts import SCRIPTS, Place, memory, place
from _soaks import Report, lasting, load, raise_guards
from coterie.errors import CoterieError
from coterie.limits import MIB, WAL_BYTES_MAX
from coterie.testing.agent import Agent

SESSIONS = 10
STEADY = 2
"""Of them, those that are never killed: their adapters are watched for the whole time."""
KILL_EVERY_S = 60.0
KILLS_SHARE = 0.4
"""Of the time, at the beginning, in which the daemon is killed; the last one then lives on."""
WARM_UP_READERS, WARM_UP_RATE, WARM_UP_S = 60, 600, 10.0
WARM_UP_FROM_S = 60.0
"""In a shorter run memory is not judged."""
WARM_SHARE = 0.3
"""Of the life of that one, until its caches are full."""
SLOPE_MAX_MIB_H = 1.0
KILLED = re.compile("the daemon (ended|was started|went away|took the|holds its|closes every|does not answer)")
IDS = re.compile(r"\bm_[0-9a-z]+\b")
FRAME = re.compile(r"^\[coterie message (m_[0-9a-z.]+) from ", re.MULTILINE)


class Member:
    """One session, in whatever process it is now."""

    def __init__(self, here: Place, name: str) -> None:
        self.name = name
        self._here = here
        self._number = 0
        self.session = f"session-{name}-0"
        self.unanswered: list[str] = []
        self.shown: dict[str, int] = {}
        """Messages that were reported as part of a prompt, and when, in nanoseconds."""
        self.again: list[str] = []
        """Messages that came into the inbox after that."""
        self.agent = self._begin()

    def _begin(self) -> Agent:
        agent = self._here.agent(self.session)
        agent.initialize()
        agent.tool("set_summary", name=self.name)
        return agent

    def new_session(self) -> str:
        """A host session id that was never used."""
        self._number += 1
        self.session = f"session-{self.name}-{self._number}"
        return self.session

    def come_back(self) -> None:
        """Killed, and begun anew with the session that it has."""
        self.agent.kill()
        self._here.agents.remove(self.agent)
        self.agent = self._begin()
        self.agent.hook("SessionStart", source="resume")

    def read(self) -> None:
        """Take in what came, and have the hook report it as prompts."""
        self.agent.tool("list_peers")
        lines, self.agent.inbox[:] = list(self.agent.inbox), []
        for came, text in lines:
            found = FRAME.findall(text)
            self.again += [message for message in found if came > self.shown.get(message, came)]
            self.unanswered += found
            self.agent.hook("UserPromptSubmit", prompt=text)
            self.shown |= dict.fromkeys(found, time.monotonic_ns())
        if lines:
            self.agent.hook("PostToolBatch")
            self.agent.hook("Stop")
        # What was done and reported is of no use to the stand-in any more, and would fill our own memory.
        self.agent.events.clear()
        self.agent.times.clear()


class Life:
    """All of them, and what happens."""

    def __init__(self, here: Place, chance: random.Random) -> None:
        self._here = here
        self._chance = chance
        self.members = [Member(here, f"w{number}") for number in range(SESSIONS)]
        self.accepted: list[str] = []
        self.done: Counter[str] = Counter()
        self.troubles: list[str] = []
        self._sent = 0
        self._choices = (
            (30, self.send),
            (15, self.reply),
            (20, self.read),
            (10, self.check),
            (6, self.turn),
            (3, self.clear),
            (1, self.resume),
            (2, self.command),
            (1, self.wait_in_vain),
        )

    def step(self) -> None:
        """One thing happens. What a killed daemon made impossible is no trouble."""
        weights, whats = zip(*self._choices, strict=True)
        what = self._chance.choices(whats, weights)[0]
        try:
            what(self._chance.choice(self.members))
        except (AssertionError, CoterieError) as error:
            if not KILLED.search(str(error)):
                self.troubles.append(f"{what.__name__}: {str(error)[:200]}")
        self.done[what.__name__] += 1

    def send(self, member: Member) -> None:
        others = [other for other in self.members if other is not member]
        self._write(member, to=self._chance.choice(others).name)

    def reply(self, member: Member) -> None:
        if member.unanswered:
            self._write(member, reply_to=member.unanswered.pop())

    def _write(self, member: Member, **how: Any) -> None:
        self._sent += 1
        text = member.agent.tool("send_message", message=f"{self._sent}: " + "x" * 400, **how)
        found = IDS.findall(text)
        if found and not text.startswith("Not done"):
            self.accepted.append(found[0])
        elif not KILLED.search(text):
            self.troubles.append(f"send: {text[:200]}")

    def read(self, member: Member) -> None:
        member.read()

    def check(self, member: Member) -> None:
        """Ask for mail, as a model does that was told of some."""
        text = member.agent.tool("check_messages")
        found = FRAME.findall(text)
        member.unanswered += found
        member.agent.hook("PostToolBatch")

    def turn(self, member: Member) -> None:
        """A person types something."""
        member.agent.hook("UserPromptSubmit", prompt="go on with the parser")
        member.agent.hook("PostToolBatch")
        member.agent.hook("Stop")

    def clear(self, member: Member) -> None:
        member.read()
        member.agent.hook("SessionEnd", reason="clear")
        member.agent.session = member.new_session()
        member.agent.hook("SessionStart", source="clear")

    def resume(self, member: Member) -> None:
        """It dies and comes back."""
        if self.members.index(member) < STEADY:
            return
        member.come_back()

    def command(self, member: Member) -> None:
        """A person looks."""
        which = self._chance.choice((["peers"], ["log", "--limit", "20"], ["status"]))
        subprocess.run([os.path.join(SCRIPTS, "coterie"), *which], env=self._here.environ, check=False,
                       capture_output=True)  # fmt: skip

    def wait_in_vain(self, member: Member) -> None:
        """A send that waits for an answer which does not come in time."""
        other = next(other for other in self.members if other is not member)
        text = member.agent.tool("send_message", to=other.name, message=f"wait {self._sent}", wait_s=0.2)
        self.accepted += IDS.findall(text)[:1]


def weeks(seconds: float, seed: int | None = None) -> Report:
    """The whole of it."""
    report = Report()
    seed = random.SystemRandom().randrange(1 << 32) if seed is None else seed
    report.figures["seed"] = seed
    with place("coterie-soak-") as here:
        raise_guards(here.home.folder)
        life = Life(here, random.Random(seed))
        adapters = [_adapter(member) for member in life.members[:STEADY]]
        with gauging(here.daemon, here.home.database + "-wal", seconds) as gauge:
            kills, begun = _live(here, life, seconds)
        last = gauge.of(here.daemon(), begun + (seconds - begun) * WARM_SHARE)
        report.samples = gauge.samples
        grown = [_adapter(member) - before for member, before in zip(life.members, adapters, strict=False)]
        _judge_life(report, here, life, kills)
        _judge_memory(report, gauge, last, grown, life, seconds)
    return report


def _adapter(member: Member) -> float:
    return memory(member.agent.pids["adapter"])[0]


def _live(here: Place, life: Life, seconds: float) -> tuple[int, float]:
    """Let it happen. Returns how often the daemon was killed, and when the last one began."""
    begun, kills, last, warm = time.monotonic(), 0, 0.0, False
    every = min(KILL_EVERY_S, seconds * KILLS_SHARE / 3)
    while (now := time.monotonic() - begun) < seconds:
        if now < seconds * KILLS_SHARE and now - last > every:
            pid = here.daemon()
            if pid:  # 0 would be this process and its group.
                os.kill(pid, signal.SIGKILL)
                kills, last = kills + 1, now
        if now >= seconds * KILLS_SHARE and not warm and seconds >= WARM_UP_FROM_S:
            _warm_up(here)
            warm = True
        life.step()
    for member in life.members:
        member.read()
    return kills, last


def _warm_up(here: Place) -> None:
    """As many messages as fill the caches of the database, brought and read: what a daemon of some days has seen."""
    with load(here, "read", WARM_UP_READERS, 2) as reading, load(here, "send", 4, WARM_UP_RATE, WARM_UP_S) as sending:
        sending.begin(reading.peers)
        sending.result()
        reading.end()
        reading.result()


def _judge_life(report: Report, here: Place, life: Life, kills: int) -> None:
    with contextlib.closing(sqlite3.connect(f"file:{here.home.database}?mode=ro", uri=True)) as books:
        stored = {row[0] for row in books.execute("SELECT id FROM messages")}
        whole = books.execute("PRAGMA integrity_check").fetchone()[0]
    lost = [message for message in life.accepted if message not in stored]
    done = ", ".join(f"{name} {count:,}" for name, count in life.done.most_common())
    report.figures |= {"done": dict(life.done), "troubles": life.troubles[:20], "kills": kills}
    report.add("what happened", "", f"{life.done.total():,} things, {kills} kills", None)
    report.add("  of these", "", done[:60], None)
    report.add("accepted messages lost", "0", f"{len(lost)} of {len(life.accepted):,}", not lost)
    again = [message for member in life.members for message in member.again]
    report.add("texts in an inbox again after their prompt", "0", f"{len(again)} {' '.join(again[:2])}", not again)
    report.add("calls that failed without a kill to blame", "0", str(len(life.troubles)), not life.troubles)
    report.add("the database is whole", "ok", str(whole), whole == "ok")


def _judge_memory(
    report: Report, gauge: Gauge, last: list[Sample], grown: list[float], life: Life, seconds: float
) -> None:
    if len(last) < 3:
        report.add("the last daemon lived long enough to be judged", "", "no", False)
        return
    rise = slope([sample.at_s for sample in last], [sample.rss_mib for sample in last])
    report.add("slope of the daemon's memory, after warm-up", f"<= {SLOPE_MAX_MIB_H:g} MiB/h", f"{rise} MiB/h",
               not rise.is_over(SLOPE_MAX_MIB_H))  # fmt: skip
    rate = life.done.total() / seconds
    report.add("  the same for 1,000 things done", "", f"{rise.per_hour / rate / 3.6 * 1024:.1f} KiB", None)
    report.add("descriptors that stay open, first and last", "the same", *lasting(last))
    report.at_most("write-ahead log, largest", WAL_BYTES_MAX / MIB, max(s.wal_mib for s in gauge.samples), "MiB")
    report.at_most("growth of an adapter's memory, over all", 1.0, max(grown), "MiB")
