"""``coterie init``: Coterie into the agents of this machine, and out of them again."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import click

from coterie import agents
from coterie.agents.installs import Install, Setup, installs
from coterie.agents.installs.install import Found
from coterie.agents.installs.programs import Ours, ours
from coterie.agents.installs.record import Record
from coterie.agents.installs.targets import Edit
from coterie.agents.installs.turn import turn
from coterie.agents.installs.writing import Changed, Writer
from coterie.cli import say
from coterie.cli.changes import shown
from coterie.cli.options import examples, human_option, json_option, short_path
from coterie.cli.person import check_person
from coterie.cli.table import wrapped
from coterie.errors import CoterieError, Refused
from coterie.files import home

NAMES = tuple(kind.name for kind in agents.KINDS)

Doing = Callable[[Install], list[Edit]]
"""What is to be done for an agent, as its files are now."""

TRIES = 5
"""How often an edit is made anew for a file that changes. Claude Code writes its own a few times a minute."""


class Plan(NamedTuple):
    """What is to be done for one agent."""

    install: Install
    found: Found
    edits: list[Edit]
    note: str = ""
    """Why there is nothing to do, if there is a reason."""
    problem: CoterieError | None = None


@click.command(
    epilog=examples(
        "coterie init --dry-run",
        "coterie init",
        "coterie init codex",
        "coterie init --remove",
    ),
)
@click.argument("agent", required=False, type=click.Choice(NAMES))
@click.option("--dry-run", is_flag=True, help="Only show what would be changed.")
@click.option("--remove", is_flag=True, help="Take out what init put in.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--allow", is_flag=True, help="Claude Code, Gemini: allow the core tools without asking.")
@click.option("--force", is_flag=True, help="Replace another server named coterie; take any folder.")
@human_option
@json_option
def init(agent: str | None, **options: Any) -> int:
    """Set up the agents on this machine, or take it back.

    Registers the MCP server and the hooks in the configuration of Claude Code, Codex, Gemini CLI and OpenCode, or of
    the one AGENT. Shows every change, and asks before it makes them. Each file is backed up first.
    """
    return _init(agent, **options)


def _init(
    agent: str | None,
    *,
    dry_run: bool,
    remove: bool,
    yes: bool,
    allow: bool,
    force: bool,
    i_am_human: bool,
    as_json: bool,
) -> int:
    if not dry_run:
        check_person("init", "coterie init", i_am_human=i_am_human)
    # What goes out need not be said where it is.
    programs = Ours("", "") if remove else ours(os.environ, anywhere=force)
    record = Record(home())
    chosen = installs(Setup(os.environ, programs, allow), agent)
    doing = partial(_edits, record=record, remove=remove, force=force)
    plans = [_plan(install, doing, remove=remove) for install in chosen]
    edits = [edit for plan in plans for edit in plan.edits]
    if not as_json:
        for plan in plans:
            _show(plan, remove=remove)
    if edits and not dry_run:
        if not yes:
            _ask(edits, as_json=as_json)
        plans = _carry_out_all(plans, record, doing, remove=remove)
    done = not dry_run
    if as_json:
        say.result_json({"done": done, "removed": remove, "agents": [_as_json(plan, remove, done) for plan in plans]})
    else:
        _tell(plans, edits, remove=remove, dry_run=dry_run)
    return CoterieError.exit_status if _failed(plans, agent) else say.DONE


def _ask(edits: list[Edit], *, as_json: bool) -> None:
    files = say.count(len(edits), "file")
    if as_json or sys.stdin is None or not sys.stdin.isatty():
        raise Refused("nobody can be asked here, and nothing was changed", "to have it done: add --yes")
    if not click.confirm(f"coterie: change {files}?", err=True):
        raise Refused("nothing was changed")


# --- what is to be done -----------------------------------------------------------------------------------------------


def _edits(install: Install, *, record: Record, remove: bool, force: bool) -> list[Edit]:
    return install.removal(record) if remove else install.plan(record, force=force)


def _plan(install: Install, doing: Doing, *, remove: bool) -> Plan:
    found = install.found()
    if not found and not remove:
        return Plan(install, found, [], "not found on this machine")
    try:
        instead = None if remove else install.instead()
        return Plan(install, found, [] if instead else doing(install), instead or "")
    except CoterieError as error:
        return Plan(install, found, [], problem=error)


def _carry_out_all(plans: list[Plan], record: Record, doing: Doing, *, remove: bool) -> list[Plan]:
    """Do what was shown. Returns what was done."""
    with turn(record.folder):
        record.load()
        writer = Writer(record, time.time())
        left = [_left(plan, _plan(plan.install, doing, remove=remove)) for plan in plans]
        done = [_carry_out(plan, writer, doing) for plan in left]
    if os.path.isdir(writer.backups):
        say.note(f"what was there before is kept in {short_path(writer.backups)}")
    return done


def _left(shown: Plan, now: Plan) -> Plan:
    """What is to be done by now, if it was all shown; another run may have done some of it meanwhile."""
    agreed = {edit.path: edit.what for edit in shown.edits}
    unseen = next((edit for edit in now.edits if edit.what != agreed.get(edit.path)), None)
    return now._replace(edits=[], problem=Changed(unseen.path)) if unseen else now


def _carry_out(plan: Plan, writer: Writer, doing: Doing) -> Plan:
    done: list[Edit] = []
    for edit in plan.edits:
        try:
            done.append(_applied(edit, plan.install, writer, doing))
        except CoterieError as error:
            return plan._replace(edits=done, problem=error)
    return plan


def _applied(edit: Edit, install: Install, writer: Writer, doing: Doing) -> Edit:
    """Make an edit. If the file changed while the person was asked (Claude Code rewrites its own), it is planned again,
    and made if it comes to the same.
    """
    for _ in range(TRIES):
        try:
            writer.apply(edit)
        except Changed:
            again = next((other for other in doing(install) if other.path == edit.path), None)
            if again is None or again.what != edit.what:
                raise
            edit = again
        else:
            return edit
    raise Refused(f"{edit.path} is changed by another program all the time", "close that program, and run it again")


def _failed(plans: list[Plan], agent: str | None) -> bool:
    absent = agent is not None and not plans[0].found and not plans[0].edits
    return absent or any(plan.problem for plan in plans)


# --- what is said -----------------------------------------------------------------------------------------------------


def _show(plan: Plan, *, remove: bool) -> None:
    found = plan.found
    where = found.program or found.folder
    fields = [plan.install.title, found.version, f"({short_path(where)})" if where else None]
    say.result(say.bold(say.plain(" ".join(filter(None, fields)))))
    if plan.problem:
        _paragraph("  ", f"not possible: {plan.problem.message}")
    elif not plan.edits:
        _paragraph("  ", plan.note or f"nothing to do: {'nothing of ours' if remove else 'all'} is there")
    for edit in plan.edits:
        say.result(shown(edit, short_path(edit.path)))
    say.result("")


def _tell(plans: list[Plan], edits: list[Edit], *, remove: bool, dry_run: bool) -> None:
    for plan in plans:
        if plan.problem:
            say.note(f"{plan.install.title}: {plan.problem.message}")
            say.note(f"hint: {plan.problem.hint}")
    if not edits:
        if not any(plan.problem for plan in plans):
            say.result("nothing to do")
    elif dry_run:
        say.result(f"nothing was changed; {say.count(len(edits), 'file')} would be")
    elif any(plan.edits or plan.problem for plan in plans):
        say.result(f"{say.count(sum(len(plan.edits) for plan in plans), 'file')} changed")
    else:
        say.result("nothing was left to do: another coterie init has done it meanwhile")
    if not remove:
        _steps([plan for plan in plans if plan.found and not plan.problem and not plan.note])


def _steps(plans: list[Plan]) -> None:
    """What only the person can do."""
    steps = [(plan.install.title, step) for plan in plans for step in plan.install.steps()]
    if not steps:
        return
    say.result(say.bold("What only you can do:"))
    for number, (title, step) in enumerate(steps, start=1):
        _paragraph(f"  {number}. ", f"{title}: {step}")
    say.result("coterie doctor checks it")


def _paragraph(mark: str, text: str) -> None:
    """A text behind a mark, broken where the terminal ends."""
    width = say.width()
    lines = wrapped(say.plain(text), width - len(mark)) if width else [say.plain(text)]
    for number, line in enumerate(lines):
        say.result((mark if number == 0 else " " * len(mark)) + line)


def _as_json(plan: Plan, remove: bool, done: bool) -> dict[str, Any]:
    found, problem = plan.found, plan.problem
    return {
        "kind": plan.install.kind.name,
        "found": bool(found),
        "program": found.program,
        "version": found.version,
        "folder": found.folder,
        "changes": [
            {"file": edit.path, "what": what, "state": "done" if done else "planned"}
            for edit in plan.edits
            for what in edit.what
        ],
        "note": plan.note or None,
        "problem": {"kind": problem.kind(), "message": problem.message, "hint": problem.hint} if problem else None,
        "steps": [] if remove or not found else plan.install.steps(),
    }
