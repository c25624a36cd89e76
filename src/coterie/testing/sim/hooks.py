"""A hook's process: what `coterie.hooks.main` says to the daemon, and the places at which it may die."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie.agents.claude import CLAUDE, PID
from coterie.errors import CoterieError
from coterie.hooks.main import HOOK_S
from coterie.ids import framed_ids_in
from coterie.testing.sim.dial import dial

if TYPE_CHECKING:
    from coterie.testing.sim.clients import Session


async def run(session: Session, event: str, **fields: Any) -> str:
    """Run the hook for one event of a session. Returns the context that it printed; it fails open."""
    site = session.site
    told = {"hook_event_name": event, "session_id": session.host, "cwd": f"/sim/{session.name}", **fields}
    params = CLAUDE.hook_event(told, {**session.environ, PID: str(session.agent)})
    if params is None:
        return ""
    pid = site.processes.start(session.agent, session.environ)
    try:
        return await _serve(session, pid, params)
    except CoterieError as error:
        session.note("no hook", event=event, why=error.message)
        return ""
    finally:
        site.processes.end(pid)


async def _serve(session: Session, pid: int, params: dict[str, Any]) -> str:
    faults = session.site.faults
    line = await dial(session.site, pid, "hook", start=False, wait_s=HOOK_S)
    try:
        answer = await line.call("session.event", params, HOOK_S)
        if params["mentioned"]:
            session.note("proved", ids=params["mentioned"])
        carried = framed_ids_in(answer["context"])
        if carried and faults.strikes("hook dies before it printed"):
            session.note("no hook", why="it died before it printed")
            return ""
        context: str = answer["context"]
        if context:
            session.out("hook", carried)
        if carried and faults.strikes("hook dies before its report"):
            session.note("unreported", ids=carried)
        elif answer["call"]:
            await _report(session, line, answer["call"], carried)
        return context
    finally:
        line.close()


async def _report(session: Session, line: Any, call: str, carried: list[str]) -> None:
    try:
        await line.call("mail.written", {"calls": [call]}, HOOK_S)
    except CoterieError:
        session.note("unreported", ids=carried)  # The text is out all the same.
    else:
        session.note("reported", ids=carried)
