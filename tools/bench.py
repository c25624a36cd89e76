"""The benchmark: what is promised about speed and memory, measured on this machine.

usage: python tools/bench.py [--quick]     (make bench)

Prints a table and writes build/bench.json. A figure that is over what is promised does not change the exit status.
"""

from __future__ import annotations

import argparse
import compileall
import datetime
import json
import os
import platform
import sqlite3
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import psutil

import _agents
import _links
import _starts
import _words
import coterie
from _crowd import Crowd, crowd, join_at_once
from _flood import IN_FLIGHT, QUIET, one_flood
from _load import disk, durable_sends
from _parts import Place, median, memory, percentile, place, take_signals
from _search import search
from _soaks import Report
from _throng import throng
from coterie.limits import INBOX_GAP_S

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RESULT = os.path.join(ROOT, "build", "bench.json")
SIZES = (2, 50, 200)
REST_SIZES = (1, 50, 200)
BUSY_S, BUSY_PERCENT = 1.0, 10.0
"""Before each part, others are watched for so long; what they may take of the processors without a word about it."""
RSS_MAX_MIB = 35.0
SESSION_MAX_KIB = 32.0
WAKE_MAX_S = {"wake_claude_idle": 0.3, "wake_codex_idle": 0.5}
"""What is promised of the time until a message is in a request of its recipient's model."""

PROMISES = {
    "B1": ("session_start",),
    "B2": ("daemon_start_new", "daemon_start"),
    "B3": ("adapter_rss", "adapter_private"),
    "B4": ("daemon_rss", "daemon_per_session"),
    "B5": ("daemon_idle_200", "adapter_idle"),
    "B6": ("send_to_inbox_50",),
    "B7": ("send_to_inbox_2", "disk_fsync_paced"),
    "B8": ("durable_sends_1", "durable_sends_8"),
    "B9": ("hook", "hook_no_daemon"),
    "B10": ("wake_claude_idle", "wake_codex_idle", "wake_opencode_idle"),
    "B11": ("wake_claude_busy", "wake_codex_busy", "wake_opencode_busy", "wake_gemini_busy"),
    "B12": ("told_at_start", "told_by_start_hook", "told_of_others"),
    "B13": ("told_for_a_message", "told_for_a_send"),
    "B14": ("command_peers",),
    "B15": ("joining",),
    "B16": ("flood_0",),
    "B17": ("throng_0",),
    "B18": ("search_first", "search_rare", "search_command"),
    "B19": ("link_pairing", "link_again"),
    "B20": ("link_message", "link_echo_there"),
    "B21": ("link_per_second", "link_catch_up"),
    "B22": ("link_killed", "link_silent"),
    "B23": ("link_memory",),
}
"""The ids in README.md, and the rows here that measure them."""


@dataclass(frozen=True)
class Rounds:
    """How often things are measured."""

    disk: int = 300
    disk_beside: int = 30
    starts: int = 40
    daemon_starts: int = 10
    processes: int = 40
    sends: tuple[int, int, int] = (100, 500, 1000)
    """Messages with 2, 50 and 200 sessions connected."""
    wakes: int = 10
    """Messages to each real agent, idle and busy."""
    rest_s: float = 3.0
    runs: int = 3
    each: tuple[int, int] = (500, 1500)
    """Sends of each of 16 connections, with 1 and with 8 in flight."""
    flood: int = 10_000
    talk_s: float = 5.0
    throng_s: float = 20.0
    history: int = 100_000
    pairings: int = 10
    crossings: int = 300
    """Messages to another device, one after another."""
    queued: int = 10_000
    links: int = 7


QUICK = Rounds(
    disk=50,
    disk_beside=10,
    starts=8,
    daemon_starts=3,
    processes=8,
    sends=(10, 100, 200),
    wakes=3,
    rest_s=1.0,
    runs=1,
    each=(100, 400),
    flood=1_000,
    talk_s=2.0,
    throng_s=5.0,
    history=10_000,
    pairings=2,
    crossings=30,
    queued=1_000,
    links=3,
)


@dataclass(frozen=True)
class Row:
    """One figure: what is claimed, promised and measured."""

    claim: str
    promised: str
    measured: str
    ok: bool | None
    """None where nothing is promised."""
    values: dict[str, float | int | list[float]]


class Bench:
    """Measures, one part after another, and collects the rows."""

    def __init__(self, rounds: Rounds) -> None:
        self.rounds = rounds
        self.rows: dict[str, Row] = {}

    # --- parts ------------------------------------------------------------------------------------------

    def disk(self) -> None:
        """The disk, which every durable send waits for."""
        with place("coterie-bench-") as here:
            took = disk(here.root, self.rounds.disk)
            self._row("disk_fsync", "this disk: 4 KiB and fsync, one after another", "", None, _spread(took))
            took = disk(here.root, self.rounds.disk_beside, INBOX_GAP_S)
            self._row("disk_fsync_paced", f"this disk: the same, {INBOX_GAP_S:g} s apart", "", None, _spread(took))

    def starts(self) -> None:
        """Whole processes, with and without a daemon."""
        with place("coterie-bench-") as here:
            _starts.next_list(here)
            took = [_starts.initialize(here) for _ in range(self.rounds.starts)]
            self._at_most("session_start", "session start, daemon up: spawn to initialize", 40, took)
            took = [_starts.first_list() for _ in range(self.rounds.daemon_starts)]
            self._at_most("daemon_start_new", "no daemon, new home: spawn to first list_peers", 300, took)
            took = [_starts.next_list(here) for _ in range(self.rounds.daemon_starts)]
            self._at_most("daemon_start", "no daemon, home in use: spawn to first list_peers", 300, took)
            self._commands(here)

    def _commands(self, here: Place) -> None:
        took = [_starts.hook(here, _starts.SESSION) for _ in range(self.rounds.processes)]
        self._at_most("hook", "hook, whole process", 40, took)
        if os.path.exists(os.path.join(os.path.dirname(coterie.__file__), "cli", "main.py")):
            took = [_starts.peers(here) for _ in range(self.rounds.processes)]
            self._at_most("command_peers", "coterie peers, whole process", 80, took)
        here.end_daemon()
        took = [_starts.hook(here, _starts.SESSION) for _ in range(self.rounds.processes)]
        self._at_most("hook_no_daemon", "hook, whole process, no daemon up", 40, took)

    def sessions(self) -> None:
        """Growing numbers of sessions: memory, rest, messages."""
        with crowd() as people:
            at_rest: dict[int, tuple[float, int, float]] = {}
            for size in sorted({*SIZES, *REST_SIZES}):
                _progress(f"  sessions: {size}")
                people.grow(size)
                if size in REST_SIZES:
                    rest = people.rest(people.here.daemon(), self.rounds.rest_s)
                    at_rest[size] = (people.daemon_memory(), rest.switches, rest.cpu_ms)
                if size in SIZES:
                    self._delays(people, size)
            self._memory(people, at_rest)

    def _delays(self, people: Crowd, size: int) -> None:
        """Send to inbox, one at a time. The disk is measured beside at the same pace, as every send waits for it."""
        count = self.rounds.sends[SIZES.index(size)]
        begun = time.monotonic()
        values = _spread([people.send(1 + number % (size - 1)) for number in range(count)])
        fsync = disk(people.here.root, self.rounds.disk_beside, (time.monotonic() - begun) / count)
        values["disk_fsync_p50_ms"] = round(median(fsync), 3)
        ok = values["p50_ms"] <= 1 and values["p99_ms"] <= 5
        claim = f"send to inbox, durable, {size} sessions connected"
        self._row(f"send_to_inbox_{size}", claim, "p50 <= 1, p99 <= 5 ms", ok, values)

    def _memory(self, people: Crowd, at_rest: dict[int, tuple[float, int, float]]) -> None:
        """The adapter that sent, and the one that was pushed to; the daemon with few and many sessions."""
        used = [memory(agent.pids["adapter"]) for agent in people.agents[:2]]
        resident, private = (max(pair[index] for pair in used) for index in (0, 1))
        self._figure("adapter_rss", "a session's adapter, resident, after a send or push", 14, resident, "MiB")
        self._figure("adapter_private", "a session's adapter, private", 6, private, "MiB")
        fewest, most = min(at_rest), max(at_rest)
        resident = at_rest[fewest][0]
        self._figure("daemon_rss", f"daemon, idle, resident, {fewest} session", RSS_MAX_MIB, resident, "MiB")
        each = (at_rest[most][0] - resident) * 1024 / (most - fewest)
        self._figure("daemon_per_session", f"daemon, each session, of {most}", SESSION_MAX_KIB, each, "KiB")
        for size, (rss, switches, cpu_ms) in at_rest.items():
            claim = f"daemon, idle for {self.rounds.rest_s:g} s, wake-ups, sessions: {size}"
            values = {"wakeups": switches, "cpu_ms": round(cpu_ms, 3), "rss_mib": round(rss, 2)}
            measured = f"{switches}, CPU {cpu_ms:.1f} ms, {rss:.1f} MiB"
            self.rows[f"daemon_idle_{size}"] = Row(claim, "0", measured, switches == 0, {**values})
        rest = people.rest(people.agents[0].pids["adapter"], self.rounds.rest_s)
        claim = f"a session's adapter, idle for {self.rounds.rest_s:g} s, wake-ups"
        values = {"wakeups": rest.switches, "cpu_ms": round(rest.cpu_ms, 3)}
        self.rows["adapter_idle"] = Row(claim, "0", str(rest.switches), rest.switches == 0, {**values})

    def load(self) -> None:
        """Durable sends as fast as they go."""
        for in_flight, least, each in ((1, 5_000, self.rounds.each[0]), (8, 15_000, self.rounds.each[1])):
            rates = []
            for _ in range(self.rounds.runs):
                rates.append(round(durable_sends(in_flight, each)))
                _progress(f"  {rates[-1]} sends a second, {in_flight} in flight")
            rate = median(rates)
            claim = f"durable sends, 16 connections, {in_flight} in flight each"
            measured = f"{rate:,.0f}/s ({', '.join(f'{value:,.0f}' for value in rates)})"
            values: dict[str, float | int | list[float]] = {"per_second": rate, "runs": list(rates)}
            self.rows[f"durable_sends_{in_flight}"] = Row(claim, f">= {least:,}/s", measured, rate >= least, values)

    def joining(self) -> None:
        """Many at the same moment."""
        size = SIZES[-1]
        joined, seconds = join_at_once(size)
        claim = f"{size} sessions joining at once, no daemon up"
        measured = f"{joined} of {size} in {seconds:.1f} s"
        values = {"joined": joined, "seconds": round(seconds, 2)}
        self.rows["joining"] = Row(claim, f"{size} of {size}", measured, joined == size, {**values})

    def loads(self) -> None:
        """A flood beside quiet sessions, and a thousand sessions of which two hundred write: `make soak`, in short."""
        report = Report()
        one_flood(report, self.rounds.flood, IN_FLIGHT[-1], True, QUIET, self.rounds.talk_s)
        self._verdicts("flood_", report)
        report = throng(self.rounds.throng_s)
        self._verdicts("throng_", report)
        for line in report.pictures():
            _progress(f"  {line}")

    def _verdicts(self, key: str, report: Report) -> None:
        for number, verdict in enumerate(report.verdicts):
            claim = f"{key[:-1]}: {verdict.claim.strip().removeprefix('flood, ')}"
            self.rows[f"{key}{number}"] = Row(claim, verdict.promised, verdict.measured, verdict.ok, {})

    def searching(self) -> None:
        """A long history, searched."""
        found = search(self.rounds.history)
        history = f"search, {found.messages:,} messages ({found.text_mib:g} MiB)"
        for key, what, took in (
            ("first", "the first, which fills the index", found.first_ms),
            ("rare", "a rare word", found.rare_ms),
            ("common", "a frequent word", found.common_ms),
            ("phrase", "a phrase", found.phrase_ms),
            ("fresh", "after a new message", found.fresh_ms),
            ("command", "coterie search, whole process", found.command_ms),
        ):
            self.rows[f"search_{key}"] = Row(f"{history}: {what}", "", f"{took:.1f} ms", None, {"ms": took})
        beside = f"p50 {found.send_p50_ms:.2f}, p99 {found.send_p99_ms:.2f} ms"
        values: dict[str, float | int | list[float]] = {"p50_ms": found.send_p50_ms, "p99_ms": found.send_p99_ms}
        self.rows["search_send"] = Row("a send while the first search goes on", "", beside, None, values)

    def links(self) -> None:
        """Other devices, over this machine's loopback."""
        rounds = self.rounds
        found = _links.measure(rounds.pairings, rounds.crossings, rounds.queued, rounds.links)
        self._took("link_pairing", "pairing: from Enter at the joiner until both are connected", found.pairing_ms)
        self._took("link_again", "a link to a paired device: from the word until both have proved it", found.link_ms)
        self._took("link_message", "tool call on one device to inbox on the other, durable on both", found.message_ms)
        self._took("link_echo_there", "beside: a line over plain TLS, until it is read", found.echo.there)
        self._took("link_echo", "beside: a line over plain TLS, until its echo is back", found.echo.back)
        self._took("link_handshake", "beside: a plain TLS handshake, certificates on both sides", found.echo.handshake)
        self._plain("link_per_second", "messages over one link, durable on both", found.per_second, "/s")
        beat = f"heartbeat {_links.HEARTBEAT_S} s"
        self._plain("link_killed", "a device is gone: its daemon was killed", found.killed_ms, " ms")
        self._plain("link_silent", f"a device is gone: it says nothing, {beat}", found.silent_ms, " ms")
        claim = f"catching up after the link is back, {rounds.queued:,} messages queued"
        self._plain("link_catch_up", claim, found.catch_up_s, " s")
        self._plain("link_memory", f"daemon, each link, of {rounds.links}", found.link_kib, " KiB")

    def _took(self, key: str, claim: str, took: list[float]) -> None:
        self._row(key, claim, "", None, _spread(took))

    def _plain(self, key: str, claim: str, value: float, unit: str) -> None:
        self.rows[key] = Row(claim, "", f"{value:,.1f}{unit}", None, {unit.strip(" /"): round(value, 2)})

    def words(self) -> None:
        """What each session's model is told because of us."""
        told = _words.told()
        crowd = f"told by the start hook, {_words.OTHERS} others here"
        start = told["instructions"] + told["tools"]
        self._characters("told_at_start", "told at start: instructions and tools", 6_000, start)
        self._characters("told_by_start_hook", "told by the start hook, alone", None, told["start_alone"])
        self._characters("told_of_others", crowd, None, told["start_with_others"])
        self._characters("told_for_a_message", "told for a message, beside its text", None, told["message_frame"])
        self._characters("told_for_a_send", "told for a send: its result", None, told["send_result"])

    def clients(self) -> None:
        """From a send to the request of the recipient's model, with the real agents where they are installed."""
        for told in _agents.delays(self.rounds.wakes):
            if "lacking" in told:
                self.rows["agents"] = Row("send to the model's request", "", f"needs {told['lacking']}", None, {})
                return
            self._wake(f"wake_{told['agent']}_{told['state']}", told)

    def _wake(self, key: str, told: dict[str, Any]) -> None:
        claim = f"send to the request of {told['agent']}'s model, {told['state']}"
        took, limit = told["s"], WAKE_MAX_S.get(key)
        measured = f"median {median(took):.2f} s ({min(took):.2f} to {max(took):.2f})"
        ok = median(took) <= limit if limit else None
        self.rows[key] = Row(claim, f"<= {limit:g} s" if limit else "", measured, ok, {"s": took})
        _progress(f"  {claim}: {measured}")

    # --- rows ------------------------------------------------------------------------------------------

    def _row(self, key: str, claim: str, promised: str, ok: bool | None, values: dict[str, float]) -> None:
        measured = f"p50 {values['p50_ms']:.2f}, p99 {values['p99_ms']:.2f} ms"
        if "disk_fsync_p50_ms" in values:
            measured += f" (fsync {values['disk_fsync_p50_ms']:.2f})"
        self.rows[key] = Row(claim, promised, measured, ok, {**values})

    def _at_most(self, key: str, claim: str, limit_ms: float, took: list[float]) -> None:
        values = _spread(took)
        measured = f"median {values['p50_ms']:.0f} ms ({min(took):.0f} to {max(took):.0f})"
        self.rows[key] = Row(claim, f"<= {limit_ms:g} ms", measured, values["p50_ms"] <= limit_ms, {**values})

    def _figure(self, key: str, claim: str, limit: float, value: float, unit: str) -> None:
        values: dict[str, float | int | list[float]] = {unit.lower(): round(value, 2)}
        self.rows[key] = Row(claim, f"<= {limit:g} {unit}", f"{value:.1f} {unit}", value <= limit, values)

    def _characters(self, key: str, claim: str, limit: int | None, count: int) -> None:
        promised = f"<= {limit:,}" if limit else ""
        ok = count <= limit if limit else None
        self.rows[key] = Row(claim, promised, f"{count:,} characters", ok, {"characters": count})


def _spread(took: list[float]) -> dict[str, float]:
    return {
        "p50_ms": round(median(took), 3),
        "p99_ms": round(percentile(took, 0.99), 3),
        "max_ms": round(max(took), 3),
        "count": len(took),
    }


def _machine() -> dict[str, str | int | float]:
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "coterie": coterie.__version__,
        "cpus": os.cpu_count() or 0,
        "cpu": _cpu_name(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "kernel": platform.platform(terse=True),
    }


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.machine()


def _progress(text: str) -> None:
    sys.stderr.write(text + "\n")


def _print(machine: dict[str, str | int | float], rows: dict[str, Row]) -> None:
    for key, value in machine.items():
        print(f"{key.replace('_', ' '):<20} {value}")
    if float(machine["busy_percent"]) > BUSY_PERCENT:
        print("The machine was busy with other things meanwhile: times are worse than they are on their own.")
    print()
    heads = Row("claim", "promised", "measured", None, {})
    widths = [max(len(getattr(row, name)) for row in (heads, *rows.values())) for name in ("claim", "promised")]
    wide = max(len(row.measured) for row in rows.values())
    for row in (heads, *rows.values()):
        verdict = {True: "ok", False: "over", None: ""}[row.ok]
        print(f"{row.claim:<{widths[0]}}  {row.promised:<{widths[1]}}  {row.measured:<{wide}}  {verdict}".rstrip())
        if row is heads:
            print("-" * (widths[0] + widths[1] + wide + 8))


def _write(machine: dict[str, str | int | float], quick: bool, rows: dict[str, Row]) -> None:
    os.makedirs(os.path.dirname(RESULT), exist_ok=True)
    with open(RESULT, "w") as file:
        json.dump(
            {"machine": machine, "quick": quick, "rows": {key: asdict(row) for key, row in rows.items()}},
            file,
            indent=2,
        )
        file.write("\n")


def main() -> int:
    """Measure everything; the exit status is 0 whatever the figures are."""
    parser = argparse.ArgumentParser(description="Measures what is promised about speed and memory.")
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a look")
    arguments = parser.parse_args()
    take_signals()
    compileall.compile_dir(os.path.dirname(coterie.__file__), quiet=1)
    busy: list[float] = []
    bench = Bench(QUICK if arguments.quick else Rounds())
    parts: tuple[Callable[[], None], ...] = (
        bench.disk,
        bench.starts,
        bench.words,
        bench.load,
        bench.sessions,
        bench.joining,
        bench.loads,
        bench.searching,
        bench.links,
        bench.clients,
    )
    begun = time.monotonic()
    try:
        for part in parts:
            _progress(f"{time.monotonic() - begun:4.0f} s  {part.__name__}: {part.__doc__}")
            busy.append(psutil.cpu_percent(interval=BUSY_S))
            part()
    except KeyboardInterrupt:
        _progress("interrupted; everything that was started has ended")
        return 130
    _progress(f"{time.monotonic() - begun:4.0f} s  done")
    machine = {**_machine(), "busy_percent": max(busy)}
    _print(machine, bench.rows)
    _write(machine, arguments.quick, bench.rows)
    print(f"\nwritten to {os.path.relpath(RESULT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
