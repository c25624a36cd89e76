"""One agent that floods, beside sessions that talk as ever."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import Any

from _crowd import Crowd
from _gauge import gauging
from _parts import Place, percentile, place
from _soaks import Load, Report, load, raise_guards

MESSAGES = 10_000
QUIET = 20
"""Sessions that talk normally: half of them write to the other half. Who reads does not write, or it would pass on what
it read, which is the guards' business.
"""
TURN_S = 0.05
"""Between two messages of the quiet ones."""
TALK_S = 5.0
"""How long they are listened to alone, before and after; a flood may be over in a second."""
IN_FLIGHT = (1, 64)
P99_MAX_MS = 100.0
GROWTH_MAX_MIB = 64.0


def flood(messages: int = MESSAGES, quiet: int = QUIET, talk_s: float = TALK_S) -> Report:
    """Floods: one by one and many in flight, with the guards as they are and raised."""
    report = Report()
    for raised in (False, True):
        for in_flight in IN_FLIGHT:
            one_flood(report, messages, in_flight, raised, quiet, talk_s)
    return report


def one_flood(report: Report, messages: int, in_flight: int, raised: bool, quiet: int, talk_s: float) -> None:
    """One of them, in a home of its own."""
    with place("coterie-soak-") as here:
        if raised:
            raise_guards(here.home.folder)
        _flood(report, here, messages, in_flight, raised, quiet, talk_s)


def _flood(report: Report, here: Place, messages: int, in_flight: int, raised: bool, quiet: int, talk_s: float) -> None:
    with (
        contextlib.closing(_quiet(here, quiet)) as people,
        load(here, "flood", messages, in_flight) as flooding,
        gauging(here.daemon, here.home.database + "-wal", talk_s * 3) as gauge,
    ):
        alone = _talk(people, talk_s)
        before = people.daemon_memory()
        victim = people.agents[-1].tool("list_peers")
        flooding.begin([_own_id(victim)])
        beside = _talk(people, talk_s, flooding)
        found = flooding.result()
        growth = max(sample.rss_mib for sample in gauge.samples) - before
    _judge(report, found, f"{in_flight} in flight, guards {'raised' if raised else 'as shipped'}", raised,
           alone, beside, growth, _stored(here))  # fmt: skip


def _quiet(here: Place, count: int) -> Crowd:
    people = Crowd(here)
    people.grow(count)
    return people


def _own_id(listed: str) -> str:
    return next(word.strip("(),.;") for word in listed.split() if word.strip("(").startswith("p_"))


def _talk(people: Crowd, at_least_s: float, flooding: Load | None = None) -> list[float]:
    """Milliseconds of each message of the quiet ones, until the time is over and the flood too."""
    took: list[float] = []
    until, half, number = time.monotonic() + at_least_s, len(people.agents) // 2, 0
    while time.monotonic() < until or (flooding and not flooding.has_said()):
        # The last of them is the one that is flooded; its inbox is the flooder's.
        took.append(people.send(half + number % (half - 1), number % (half - 1)))
        number += 1
        time.sleep(TURN_S)
    return took


def _stored(here: Place) -> int:
    """Messages of the flooder in the database, counted beside the daemon."""
    with contextlib.closing(sqlite3.connect(f"file:{here.home.database}?mode=ro", uri=True)) as books:
        return int(books.execute("SELECT count(*) FROM messages WHERE text LIKE 'sent %'").fetchone()[0])


def _judge(
    report: Report,
    found: dict[str, Any],
    how: str,
    raised: bool,
    alone: list[float],
    beside: list[float],
    growth: float,
    stored: int,
) -> None:
    refused = sum(found["refused"].values())
    rate = found["sent"] / found["seconds"]
    told = found["accepted"] + refused == found["sent"] and not found["unexplained_count"]
    report.add(f"flood, {how}: accepted + refused = sent", f"{found['sent']:,}",
               f"{found['accepted']:,} + {refused:,}", told)  # fmt: skip
    report.add("  accepted and stored are the same", f"{found['accepted']:,}", f"{stored:,}",
               stored == found["accepted"])  # fmt: skip
    if raised:
        report.add("  all are accepted", f"{found['sent']:,}", f"{found['accepted']:,}", refused == 0)
    else:
        limits = ", ".join(f"{name} {count:,}" for name, count in found["refused"].items())
        report.add("  each refusal says which limit, and when", "", limits or "none", None)
    report.add("  answers", "", f"{rate:,.0f}/s, p99 {found['answer_ms']['p99']:.2f} ms", None)
    report.at_most("  the quiet ones, send to inbox, p99", P99_MAX_MS, percentile(beside, 0.99), "ms")
    report.add("  the same before it", "", f"{percentile(alone, 0.99):.2f} ms", None)
    report.at_most("  growth of the daemon's memory", GROWTH_MAX_MIB, growth, "MiB")
    report.figures[how] = {**found, "quiet_ms": beside, "alone_ms": alone, "growth_mib": growth}
