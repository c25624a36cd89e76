"""``coterie doctor``: what really works, with its evidence. It changes nothing, and starts no daemon."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import click

from coterie import agents
from coterie.agents.installs import Install, Setup, installs
from coterie.agents.installs.checks import findings_of, outcome
from coterie.agents.installs.checks.finding import Finding, trouble
from coterie.agents.installs.checks.probes import Handshakes
from coterie.agents.installs.programs import Ours, ours
from coterie.cli import say
from coterie.cli.doctor import machine
from coterie.cli.doctor.live import live
from coterie.cli.doctor.report import Block, Report, Session, show
from coterie.cli.doctor.sessions import session as session_findings
from coterie.cli.options import current_folder, examples, json_option, short_path
from coterie.errors import BadInput, CoterieError, Refused
from coterie.files import Home, home
from coterie.limits import DOCTOR_WAIT_MAX_S, DOCTOR_WAIT_S

NAMES = tuple(kind.name for kind in agents.KINDS)


@click.command(epilog=examples("coterie doctor", "coterie doctor codex", "coterie doctor --live --wait 60"))
@click.argument("agent", required=False, type=click.Choice(NAMES))
@click.option("--live", "alive", is_flag=True, help="Send a test message to each session, and wait for the evidence.")
@click.option(
    "--wait", "wait_s", type=float, metavar="SECONDS", help=f"With --live: how long.  [default: {DOCTOR_WAIT_S:g}]"
)
@click.option("--verbose", is_flag=True, help="Show what is of interest only sometimes, too.")
@json_option
def doctor(agent: str | None, alive: bool, wait_s: float | None, verbose: bool, as_json: bool) -> int:
    """What really works, and what to do about the rest.

    Looks at every agent on this machine, or at the one AGENT, in the folder you are in, and says what it saw: the
    program, its configuration, our server and hooks, what you still have to trust, and each session that is here.
    Changes nothing. Exits 0 if nothing is in trouble.
    """
    if wait_s is not None and not alive:
        raise BadInput("--wait goes with --live", "coterie doctor --live --wait 60")
    if wait_s is not None and not 0 < wait_s <= DOCTOR_WAIT_MAX_S:  # NaN is neither.
        raise BadInput(f"it cannot wait {wait_s:g} s", f"more than 0 and at most {DOCTOR_WAIT_MAX_S:g}")
    report = examine(agent, wait_s or DOCTOR_WAIT_S if alive else None)
    if as_json:
        say.result_json(report.as_json())
    else:
        show(report, verbose=verbose)
    return say.DONE if report.ok else CoterieError.exit_status


def examine(agent: str | None, live_s: float | None) -> Report:
    """Look at everything, the slow parts beside each other."""
    place, cwd = home(), current_folder()
    handshakes = Handshakes(os.environ)
    chosen = installs(Setup(os.environ, _ours()), agent)
    with ThreadPoolExecutor() as pool:
        looked = [pool.submit(_look, install, cwd, handshakes) for install in chosen]
        database = pool.submit(outcome, partial(machine.database, place))
        daemon = machine.daemon(place)
        machine_findings = [*_machine(place, daemon), *database.result()]
        looks = [future.result() for future in looked]
    found = _sessions(daemon.sessions, agent, live_s)
    blocks = [Block(None, f"This machine ({short_path(place.folder)})", machine_findings, [])]
    for install, findings in zip(chosen, looks, strict=True):
        here = [one for one in found if one.card["kind"] == install.kind.name]
        if findings or here:
            blocks.append(Block(install.kind.name, install.title, findings or [], here))
        elif agent:
            blocks.append(Block(agent, install.title, [_absent(agent)], []))
    others = [one for one in found if one.card["kind"] not in NAMES]
    if others:
        blocks.append(Block(None, "Other agents", [], others))
    absent = [install.title for install, findings in zip(chosen, looks, strict=True) if not findings and not agent]
    return Report(blocks, absent)


def _ours() -> Ours:
    """Our programs; without them what is registered is compared with nothing, and the machine's block says why."""
    try:
        return ours(os.environ, anywhere=True)
    except Refused:
        return Ours("", "")


def _look(install: Install, cwd: str, handshakes: Handshakes) -> list[Finding]:
    with ThreadPoolExecutor() as pool:
        return findings_of(install, cwd, handshakes, pool.map)


def _absent(agent: str) -> Finding:
    return trouble("program", f"no {agent} was found on this machine", f"install it, or put {agent} on PATH")


def _machine(place: Home, daemon: machine.Daemon) -> Iterator[Finding]:
    checks: list[Callable[[], Iterator[Finding]]] = [
        partial(machine.switched, place),
        partial(machine.files, place),
        lambda: iter(daemon.findings),
        lambda: machine.others(place, machine.running()),
        partial(machine.room, place),
        partial(machine.configured, current_folder()),
        partial(machine.programs, os.environ),
    ]
    for check in checks:
        yield from outcome(check)


def _sessions(told: list[dict[str, object]], agent: str | None, live_s: float | None) -> list[Session]:
    """The sessions of the agent, and with `live_s` what became of a message to each but one's own."""
    chosen = [one for one in told if agent in (None, one["kind"])]
    whom = [one for one in chosen if not one["me"]]
    posted = live(whom, live_s) if live_s and whom else {}
    return [
        Session(one, [*session_findings(one), *(posted[key] for key in [str(one["id"])] if key in posted)])
        for one in chosen
    ]
