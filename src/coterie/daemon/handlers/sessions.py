"""What hooks tell of a host session: evidence for offers, and a place for mail.

The hook translates its client's words into ours; here no vendor is known. `room` is how many characters of context
the hook may add at this event, 0 where it may add none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie import ids
from coterie.daemon import processes
from coterie.daemon.briefing import briefing
from coterie.daemon.handlers.params import Params, flag, maybe_text, number, text, texts
from coterie.daemon.handlers.peers import agent_kind, folder, session_id
from coterie.daemon.letterbox import bundle
from coterie.errors import BadInput, NoMatch
from coterie.frames import SEPARATOR, in_bytes, in_chars
from coterie.limits import ACTIVITY_FILES_MAX
from coterie.messages import WITH_PROMPT, Carrier, Signal
from coterie.peers import LISTED, SHARED_PROCESS_KINDS, Claim, Peer, Process, anchor

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon

EVENTS = ("start", "prompt", "before-tool", "after-tool", "step", "stop", "compact", "end")
FRESH_SOURCES = ("resume", "clear", "compact")
"""After these, as after the event "compact", the model no longer has what it was shown before: headings of it come
back, and it is told again who it is and who is here."""
CONTEXT_CHARS_MAX = 10_000
_SIGNALS = {
    "prompt": Signal.PROMPT,
    "before-tool": Signal.TOOL,
    "after-tool": Signal.TOOL,
    "step": Signal.STEP,
    "stop": Signal.STOP,
}
_BETWEEN_STEPS = ("start", "prompt", "step", "stop")


async def event(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Take in one event of a host session. The answer holds the context to add, or an empty text."""
    name = text(params, "event")
    if name not in EVENTS:
        raise BadInput(f"no event {name[:40]!r}", f"one of: {', '.join(EVENTS)}")
    peer = await _session_peer(daemon, connection, params)
    room = int(number(params, "room", 0, 0, CONTEXT_CHARS_MAX))
    if _is_delegated(daemon, peer, name, params) or maybe_text(params, "agent_id"):
        return _of_subagent(daemon, peer, name, params)
    if name == "compact" or (name == "start" and (params.get("source") in FRESH_SOURCES or not room)):
        peer.recall_due = True
    if name == "end":
        return await _ended(daemon, peer)
    if _is_of_another_window(connection, peer, params):
        return _nothing(peer)
    await _evidence(daemon, peer, name, params)
    if name in ("start", "prompt") or not peer.endpoint:
        daemon.threads.met(peer, connection.pid)
    await _note(daemon, peer, name, params)
    if not connection.is_open():
        answer = _nothing(peer)  # The hook gave up meanwhile: it puts nothing out, and nobody would ever say so.
    elif room:
        answer = await _context(daemon, connection, peer, name, room, params)
    else:
        answer = _nudge(daemon, peer, params) if flag(params, "nudge") else _nothing(peer)
    daemon.post.push(peer.id)  # What found no room here.
    return answer


def _nudge(daemon: Daemon, peer: Peer, params: Params) -> dict[str, Any]:
    """A word that mail waits, for an event at which the client takes a prompt, once for each message. `brings`: the
    mail comes as context of that prompt.
    """
    return {**_nothing(peer), "context": daemon.nudges.at_stop(peer, hooked=flag(params, "brings"))}


def _is_delegated(daemon: Daemon, peer: Peer, name: str, params: Params) -> bool:
    """Whether the event falls within a tool in which a sub-agent works, so that it may be the sub-agent's. The hooks of
    some clients tell of sub-agents by nothing else.
    """
    box = daemon.post.box(peer.id)
    around = box.delegated
    if flag(params, "delegates"):
        box.delegate(begins=name == "before-tool")
        around = min(around, box.delegated)
    return around > 0 and name in ("before-tool", "after-tool", "step")


async def _ended(daemon: Daemon, peer: Peer) -> dict[str, Any]:
    """The process may go on with another session (clear); its own end is seen as that of a process."""
    peer.busy = False
    await daemon.post.record(peer.id, daemon.post.box(peer.id).lapse("the session ended"))
    if anchor(peer) is None:
        daemon.presence.gone(peer)
    daemon.changed(peer)
    return _nothing(peer)


async def _note(daemon: Daemon, peer: Peer, name: str, params: Params) -> None:
    """Remember what the session is doing; written when it is something new."""
    daemon.heard(peer)
    new = not peer.hooked
    peer.hooked = True
    if name != "compact":
        peer.busy = name not in ("start", "stop")
    if name == "start":
        daemon.nudges.anew(peer.id)
    if name in ("start", "prompt"):
        daemon.presence.look_at_branch(peer)
    settings = daemon.settings.of(peer)
    asked = maybe_text(params, "prompt_line") or ""
    if name == "prompt" and asked:
        peer.prompted, new = daemon.clock(), True
        daemon.guards.spoke_to(peer)
    if settings.on("summary.prompts"):  # What is not to be shown is not stored either.
        new = peer.activity.asked(asked) or new
    if settings.on("summary.files"):
        new = peer.activity.touched(texts(params, "files")[:ACTIVITY_FILES_MAX], peer.cwd) or new
    endpoint = maybe_text(params, "endpoint")
    if endpoint and endpoint != peer.endpoint:
        peer.endpoint, new = endpoint, True
    if new:
        await daemon.presence.save(peer)
    daemon.changed(peer)  # Whether it is busy is not stored.


def _nothing(peer: Peer) -> dict[str, Any]:
    return {"context": "", "call": "", "peer": peer.id}


def _is_of_another_window(connection: Connection, peer: Peer, params: Params) -> bool:
    """Whether the event comes from an older process of a session that is alive twice: no evidence for the newer."""
    agent = _agent_of(connection, params)
    return agent is not None and peer.agent is not None and agent != peer.agent


def _of_subagent(daemon: Daemon, peer: Peer, name: str, params: Params) -> dict[str, Any]:
    """No evidence; only that a call is a sub-agent's is remembered, for the tool call that follows."""
    tool_use = maybe_text(params, "tool_use_id")
    if name == "before-tool" and tool_use:
        daemon.post.box(peer.id).note_call(tool_use)
    return _nothing(peer)


async def _evidence(daemon: Daemon, peer: Peer, name: str, params: Params) -> None:
    signal = _SIGNALS.get(name)
    if signal is None:
        return
    box = daemon.post.box(peer.id)
    changes = box.signal(signal, texts(params, "mentioned"), again=flag(params, "again"))
    if signal in (Signal.PROMPT, Signal.STOP):
        daemon.post.inboxes.sign_of_life(peer.id)
    await daemon.post.record(peer.id, changes)


async def _context(
    daemon: Daemon, connection: Connection, peer: Peer, name: str, room: int, params: Params
) -> dict[str, Any]:
    """Mail for the hook's context. The hook reports once it is out; one that gave up meanwhile never does."""
    call = f"{WITH_PROMPT}{ids.new_token()}" if name == "prompt" else ids.new_token()
    measure = in_bytes if flag(params, "in_bytes") else in_chars
    told = briefing(daemon, peer)[:room] if name == "start" or peer.recall_due else ""
    found, opened = bundle(
        daemon,
        peer,
        Carrier.HOOK,
        call,
        main=True,
        everything=False,
        budget=room - (measure(told) + len(SEPARATOR) if told else 0),
        measure=measure,
        boundary=name in _BETWEEN_STEPS,
        waking=flag(params, "waking"),
    )
    daemon.nudges.taken(peer.id, [letter.id for letter in found.letters])
    if opened:
        connection.carries(peer.id, call, [])
    await daemon.post.record(peer.id, opened)
    if peer.recall_due:
        await daemon.presence.recalled(peer)
    if name == "stop" and not (told or found.letters or found.waiting):
        return _nothing(peer)  # No turn more for headings alone: the carrier that has the texts brings them.
    context = SEPARATOR.join(part for part in [told, *found.frames(), *found.notes()] if part)
    return {"context": context, "call": call if opened else "", "peer": peer.id}


def _agent_of(connection: Connection, params: Params) -> Process | None:
    """The agent's process that the hook names, if it really is an ancestor."""
    pid = int(number(params, "agent_pid", 0, 0, 1 << 31))
    return processes.identify(pid) if pid in processes.lineage(connection.pid)[1:] else None


async def _session_peer(daemon: Daemon, connection: Connection, params: Params) -> Peer:
    """The peer of the session that the event is about: joined, or made where the event begins a session. A session
    that registers at its first call only may have begun while its adapter was still starting the daemon.
    """
    kind, session, source = agent_kind(params), session_id(params), text(params, "source", "startup")
    agent, name = _agent_of(connection, params), params.get("event")
    claim = Claim(
        kind=kind,
        cwd=folder(maybe_text(params, "cwd") or "/"),
        agent=agent,
        session=session,
        source=source if name == "start" else "startup",
        one_shot=flag(params, "one_shot") if "one_shot" in params else None,
    )
    peer = daemon.presence.roster.join(claim)
    known = peer is not None and session in peer.sessions
    if peer is not None and known and name != "start" and (peer.state in LISTED or name == "end"):
        return peer
    begins = name == "start" or (kind in SHARED_PROCESS_KINDS and name != "end" and not params.get("agent_id"))
    if peer is None and not begins:
        raise NoMatch(f"no session {session[:40]!r} is known", "it is known once its adapter or its start reported")
    peer = await daemon.presence.session_started(claim)
    await daemon.settings.met(peer)
    return peer
