"""What an adapter reports of the lines it was to write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from coterie.daemon.handlers.params import Params, text
from coterie.errors import BadInput
from coterie.points import point

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon


async def written(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The line is in the inbox."""
    point("after-push")
    await daemon.post.reported(_peer(connection), text(params, "call"), None)
    return {}


async def failed(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The line is not in the inbox; the next carrier gets what it held."""
    await daemon.post.reported(_peer(connection), text(params, "call"), text(params, "reason"))
    return {}


def _peer(connection: Connection) -> str:
    if connection.peer is None:
        raise BadInput("register first")
    return connection.peer.id
