"""hello, and the life of the daemon itself."""

from __future__ import annotations

import asyncio
import logging
import os
from typing import TYPE_CHECKING, Any

from coterie import __version__
from coterie.daemon import processes
from coterie.daemon.handlers.params import Params, flag, maybe_text, text
from coterie.errors import BadInput, CoterieError, HumanOnly, Refused, no_terminal
from coterie.files import check_file, open_private
from coterie.limits import PROTOCOL, PROTOCOL_OLDEST
from coterie.peers import PERSON
from coterie.policy import HUMAN_METHODS, check_human
from coterie.store import messages as stored
from coterie.store import peers
from coterie.store.db import SQLITE_VERSION
from coterie.store.migrations import newest_version

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon

log = logging.getLogger(__name__)


def hello(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Agree on a protocol version: the newest that both speak."""
    spoken = params.get("protocol")
    if not isinstance(spoken, list) or len(spoken) != 2 or not all(type(version) is int for version in spoken):
        raise BadInput("protocol must be a list of the oldest and the newest version you speak")
    oldest, newest = spoken
    chosen = min(newest, PROTOCOL)
    if chosen < max(oldest, PROTOCOL_OLDEST):
        raise Refused(
            f"you speak protocol {oldest} to {newest}, this daemon {PROTOCOL_OLDEST} to {PROTOCOL}",
            "end this session and start it again, so that it runs the coterie that is installed now",
        )
    connection.greeted(text(params, "client"), chosen)
    return {"protocol": chosen, "newest": PROTOCOL, "version": __version__, "pid": os.getpid()}


def status(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """What a person asks first: is it well, where is everything, how much is there."""
    roster = daemon.presence.roster
    states = [peer.state.value for peer in roster]
    store = _trouble(daemon.store.failure or daemon.store.damage)
    desktop = _trouble(daemon.desktop.problem())
    relay = _trouble(daemon.relay.problem)
    wrong = [store, *map(_trouble, daemon.settings.problems()), desktop, relay]
    return {
        "pid": os.getpid(),
        "version": __version__,
        "protocol": PROTOCOL,
        "up_s": daemon.clock() - daemon.started_at,
        "home": daemon.place.folder,
        "socket": daemon.place.socket,
        "database": daemon.place.database,
        "log": daemon.place.log,
        "schema": newest_version(),
        "sqlite": SQLITE_VERSION,
        "connections": len(daemon.server.connections),
        "peers": {state: states.count(state) for state in sorted(set(states))},
        "messages": stored.counts(daemon.store.reader),
        "unread": _unread(daemon),
        "config": daemon.place.config,
        "trouble": store,
        "desktop_trouble": desktop,
        "relay_trouble": relay,
        "relay": daemon.relay.status(),
        "requests": len(daemon.requests.open()),
        "troubles": [trouble for trouble in wrong if trouble],
    }


def _trouble(error: CoterieError | None) -> dict[str, str] | None:
    return {"message": error.message, "hint": error.hint} if error else None


def _unread(daemon: Daemon) -> dict[str, Any]:
    """What waits for anybody, and of that for the person."""
    counts, oldest = peers.unread_counts(daemon.store.reader), peers.oldest_unread(daemon.store.reader)
    person = next((peer.id for peer in daemon.presence.roster if peer.kind == PERSON), "")
    return {
        "messages": sum(counts.values()),
        "peers": len(counts),
        "oldest_s": max(0.0, daemon.clock() - min(oldest.values())) if oldest else None,
        "yours": counts.get(person, 0),
    }


def down(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Switch off: sessions stay without coterie until the person says `coterie up`."""
    check_person(daemon, connection, params, "daemon.down")
    os.close(open_private(daemon.place.off, os.O_WRONLY))
    return _leave(daemon, "switched off by the person")


def up(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Switch on again. A daemon that was started only for this question leaves if the answer is no."""
    try:
        check_person(daemon, connection, params, "daemon.up")
    except HumanOnly:
        if daemon.off:
            _leave(daemon, "stays switched off")
        raise
    was_off = check_file(daemon.place.off)
    if was_off:
        os.unlink(daemon.place.off)
    daemon.off = False
    return {"was_off": was_off, "pid": os.getpid()}


def person(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Whether a person asks, for a command that needs the daemon for nothing else."""
    method = text(params, "method")
    if method not in HUMAN_METHODS:
        raise BadInput(f"{method[:60]!r} is no verb of a person")
    try:
        check_person(daemon, connection, params, method)
    finally:
        if daemon.off:
            _leave(daemon, "stays switched off")
    return {"person": True}


def check_person(daemon: Daemon, connection: Connection, params: Params, method: str) -> None:
    """Raises `HumanOnly` unless a person asks, at a terminal or with the word for it."""
    check_human(method, daemon.presence.caller(connection).human)
    line = HUMAN_METHODS[method]
    if flag(params, "i_am_human"):
        log.warning("pid %d said --i-am-human: %s", connection.pid, line)
    elif not processes.has_terminal(connection.pid):
        raise no_terminal(line)


def retire(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Make room for a newer daemon, or for a copy of the database."""
    why = maybe_text(params, "why") or "a newer coterie asked for it"
    return _leave(daemon, f"{why[:80]!r} (pid {connection.pid})")


def _leave(daemon: Daemon, why: str) -> dict[str, Any]:
    log.info("leaving: %s", why)
    asyncio.get_running_loop().call_soon(daemon.leave)
    return {"leaving": True, "pid": os.getpid()}
