"""A thousand connected sessions, of which two hundred send five messages a second each, for minutes."""

from __future__ import annotations

import contextlib
import time

from _crowd import Crowd
from _gauge import gauging, slope
from _parts import Place, percentile, place
from _soaks import Report, lasting, load, raise_guards
from coterie.limits import MIB, WAL_BYTES_MAX

SENDERS, EACH = 200, 5.0
SESSIONS = 1_000
REAL = 6
"""Sessions with an adapter and an inbox of their own among them; half of them write to the other half."""
FOLDERS = 40
P99_MAX_MS = 50.0
GROWTH_MAX_MIB = 16.0
"""From the end of the warm-up to the end: what "flat" means for a run of minutes."""
WARM_SHARE = 0.3
"""Of a run: until pages are cached, books have their size, and every session was written to."""
PAUSE_S = 0.2


def throng(seconds: float, sessions: int = SESSIONS, senders: int = SENDERS, real: int = REAL) -> Report:
    """The load, watched."""
    report = Report()
    with place("coterie-soak-") as here, contextlib.closing(Crowd(here)) as people:
        raise_guards(here.home.folder)  # The few that write all the time would be held to the rate of a pair.
        people.grow(real)
        daemon = here.daemon()
        readers = max(1, sessions - senders - real)
        with (
            load(here, "read", readers, FOLDERS) as reading,
            load(here, "send", senders, senders * EACH, seconds) as sending,
        ):
            report.figures["connected"] = len(people.agents) + len(reading.peers) + len(sending.peers)
            with gauging(here.daemon, here.home.database + "-wal", seconds) as gauge:
                sending.begin(reading.peers)
                beside = _beside(people, seconds)
                sent = sending.result()
            # What was sent last is read before the readers are asked.
            reading.end()
            read = reading.result()
        report.samples = gauge.of(daemon)
        report.figures |= {"sent": sent, "read": read, "real_ms": beside, "seconds": seconds}
        _judge(report, here, sent["cpu_s"] + read["cpu_s"], seconds)
    return report


def _beside(people: Crowd, seconds: float) -> list[float]:
    """Milliseconds from a tool call to the bytes on an inbox, between real adapters meanwhile."""
    until, took, half = time.monotonic() + seconds, [], len(people.agents) // 2
    number = 0
    while time.monotonic() < until and half:
        took.append(people.send(half + number % half, number % half))
        number += 1
        time.sleep(PAUSE_S)
    return took


def _judge(report: Report, here: Place, load_cpu_s: float, seconds: float) -> None:
    sent, read, real = report.figures["sent"], report.figures["read"], report.figures["real_ms"]
    rate = sent["sent"] / seconds
    told = sent["accepted"] + sum(sent["refused"].values()) + sent["unexplained_count"]
    report.add("connected sessions", "", str(report.figures["connected"]), None)
    report.add("sent, of which accepted", "all", f"{sent['sent']:,}, {sent['accepted']:,} ({rate:.0f}/s)",
               told == sent["sent"] == sent["accepted"])  # fmt: skip
    came = read["inbox_ms"]["count"]
    report.add("brought to the inbox, each once", f"{sent['accepted']:,}", f"{came:,}, {read['twice']} twice",
               came == sent["accepted"] and read["twice"] == 0)  # fmt: skip
    report.at_most("send to its answer, p99", P99_MAX_MS, sent["answer_ms"]["p99"], "ms")
    report.at_most("send to the recipient's adapter, p99", P99_MAX_MS, read["inbox_ms"]["p99"], "ms")
    if real:
        report.at_most("the same through real adapters to the inbox, p99", P99_MAX_MS, percentile(real, 0.99), "ms")
    warm = [sample for sample in report.samples if sample.at_s >= seconds * WARM_SHARE]
    if len(warm) > 1:
        rise = slope([sample.at_s for sample in warm], [sample.rss_mib for sample in warm])
        growth = warm[-1].rss_mib - warm[0].rss_mib
        report.figures["rss_slope_mib_h"] = (rise.per_hour, rise.error)
        report.at_most("growth of memory after the warm-up", GROWTH_MAX_MIB, growth, "MiB")
        report.add("its slope", "", f"{rise} MiB/h", None)
        report.add("descriptors that stay open, first and last", "the same", *lasting(warm))
        share = (warm[-1].cpu_s - warm[0].cpu_s) / (warm[-1].at_s - warm[0].at_s)
        beside = f"{share:.0%} of a processor; what makes the load, {load_cpu_s / seconds:.0%}"
        report.add("the daemon took", "", beside, None)
    wal = max(sample.wal_mib for sample in report.samples)
    report.at_most("write-ahead log, largest", WAL_BYTES_MAX / MIB, wal, "MiB")
    report.add("send to the adapter, p50; late by", "", f"{read['inbox_ms']['p50']:.2f} ms; "
               f"p99 {sent['late_ms']['p99']:.2f} ms", None)  # fmt: skip
