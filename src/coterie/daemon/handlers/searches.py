"""Finding messages by their words."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

from coterie import ids
from coterie.daemon.handlers.history import may_read, narrow, public, within_answer
from coterie.daemon.handlers.params import Params, text
from coterie.limits import SEARCH_FILL_S, SEARCH_ROWS
from coterie.store import messages as stored
from coterie.store import search as index

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon


async def search(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The messages that hold these words, newest last, each with its `hits`: an agent finds its own mail, a person
    everybody's.

    What was sent since the last search is taken into the index first. Where that takes long the answer holds no
    messages and says how many of how many are `left`: whoever asks calls again.
    """
    me, narrowed = narrow(daemon, connection, params)
    query = index.query_of(text(params, "words"))
    left = await _fill(daemon)
    if left:
        return {"messages": [], "more": True, "left": left, "total": stored.newest(daemon.store.reader)}
    near = index.find(daemon.store.reader, query, ids.new_token(), **narrowed)
    found = [each for each in near if may_read(daemon, me, each.row)]
    hits = {each.row["seq"]: each.hits for each in found}
    shown = within_answer([each.row for each in found])
    names = daemon.presence.roster.addresses()
    return {
        "messages": [{**public(row, names, me, True), "hits": hits[row["seq"]]} for row in reversed(shown)],
        "more": len(shown) < len(found),
        "left": 0,
    }


async def _fill(daemon: Daemon) -> int:
    """Take messages into the index for a while. Returns how many are left."""
    loop = asyncio.get_running_loop()
    until = loop.time() + SEARCH_FILL_S
    left = index.left(daemon.store.reader)
    while left and loop.time() < until:
        left = await daemon.store.write(partial(index.fill, count=SEARCH_ROWS))
    return left
