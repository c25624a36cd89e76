"""Following what happens: which events a connection is told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie.addresses import resolve_one
from coterie.daemon.events import PARTIES, Wanted
from coterie.daemon.handlers.history import find_message
from coterie.daemon.handlers.params import Params, maybe_text
from coterie.daemon.handlers.peers import folder
from coterie.peers import Roster, in_scope
from coterie.store import messages as stored

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon


async def follow(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Tell this connection from now on what happens: a person everything, an agent what concerns itself and its mail.

    `peer`, `thread` and `repo` (a folder) narrow it down; all that are given must hold. The answer names whom and what
    they mean, and `seq`: messages up to that number were accepted before.
    """
    caller = daemon.presence.caller(connection)
    me = daemon.presence.self_of(connection)
    named, message, cwd = (maybe_text(params, key) for key in ("peer", "thread", "repo"))
    other = resolve_one(named, daemon.presence.roster, me) if named else None
    thread = find_message(daemon, None if caller.human else me, message)["thread"] if message else ""
    repo = await daemon.presence.repositories.common_dir(folder(cwd)) if cwd else ""
    wanted = [] if caller.human else [_about({me.id})]
    if other:
        wanted.append(_about({other.id}))
    if thread:
        wanted.append(lambda kind, fields: fields.get("thread") == thread)
    if cwd:
        wanted.append(_in_repo(daemon.presence.roster, cwd, repo))
    daemon.events.follow(connection, lambda kind, fields: all(want(kind, fields) for want in wanted))
    return {
        "peer": other.id if other else None,
        "thread": thread or None,
        "repo": repo or None,
        "seq": stored.newest(daemon.store.reader),
    }


def _about(ids: set[str]) -> Wanted:
    return lambda kind, fields: any(fields.get(party) in ids for party in PARTIES)


def _in_repo(roster: Roster, cwd: str, repo: str) -> Wanted:
    """Whether one of the parties works there now."""

    def wanted(kind: str, fields: dict[str, Any]) -> bool:
        parties = [roster.get(str(fields.get(party))) for party in PARTIES]
        return bool(in_scope([peer for peer in parties if peer], "repo", cwd, repo))

    return wanted
