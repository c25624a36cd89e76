"""What an adapter reports of the lines it was to write."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any

from coterie.daemon.handlers.params import Params, text
from coterie.errors import BadInput
from coterie.points import point

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon


def written(daemon: Daemon, connection: Connection, params: Params) -> Awaitable[dict[str, Any]]:
    """The line is in the inbox."""
    point("after-push")
    return _stored(daemon.post.reported(_peer(connection), text(params, "call"), None))


def failed(daemon: Daemon, connection: Connection, params: Params) -> Awaitable[dict[str, Any]]:
    """The line is not in the inbox; the next carrier gets what it held."""
    return _stored(daemon.post.reported(_peer(connection), text(params, "call"), text(params, "reason")))


async def _stored(recorded: Awaitable[None]) -> dict[str, Any]:
    await recorded
    return {}


def _peer(connection: Connection) -> str:
    if connection.peer is None:
        raise BadInput("register first")
    return connection.peer.id
