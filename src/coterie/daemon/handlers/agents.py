"""What an adapter says before it is known whose session it serves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie.daemon.handlers.params import Params
from coterie.daemon.handlers.peers import agent_kind
from coterie.daemon.threads import KIND

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon


def here(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """An adapter began and nobody called it yet. It may be nobody's, so it is no peer by that."""
    if agent_kind(params) == KIND:
        daemon.threads.here(connection.pid)
    return {}
