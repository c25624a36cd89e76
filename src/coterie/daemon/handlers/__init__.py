"""One handler file a noun; `methods` is the list of all that can be called."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from coterie.daemon.handlers import (
    agents,
    backups,
    conversations,
    daemon,
    doctor,
    events,
    history,
    kills,
    mail,
    messages,
    offers,
    peers,
    relay,
    searches,
    sessions,
)

if TYPE_CHECKING:
    from coterie.daemon.local import Handler
    from coterie.daemon.main import Daemon

METHODS = {
    "hello": daemon.hello,
    "daemon.status": daemon.status,
    "daemon.down": daemon.down,
    "daemon.up": daemon.up,
    "daemon.retire": daemon.retire,
    "person.check": daemon.person,
    "agents.here": agents.here,
    "peers.register": peers.register,
    "peers.list": peers.list_peers,
    "peers.describe": peers.describe,
    "peers.rename_other": peers.rename_other,
    "peers.kill": kills.kill,
    "peers.kill_shows": kills.shows,
    "peers.allow_kill": kills.allow,
    "messages.send": messages.send,
    "messages.log": history.log,
    "messages.read": history.read,
    "messages.search": searches.search,
    "messages.thread": conversations.thread,
    "events.follow": events.follow,
    "mail.take": mail.take,
    "mail.written": mail.written,
    "mail.shown": mail.shown,
    "mail.failed": mail.failed,
    "offers.written": offers.written,
    "offers.failed": offers.failed,
    "session.event": sessions.event,
    "doctor.sessions": doctor.sessions,
    "relay.invite": relay.invite,
    "relay.withdraw": relay.withdraw,
    "relay.join": relay.join,
    "relay.accept": relay.accept,
    "relay.identity": relay.identity,
    "relay.serve": relay.serve,
    "relay.connect": relay.connect,
    "relay.disconnect": relay.disconnect,
    "relay.forget": relay.forget,
    "relay.rename": relay.rename,
    "relay.peers": relay.peers,
    "relay.status": relay.status,
    "relay.preview": relay.preview,
    "relay.discover": relay.discover,
    "relay.grant": relay.grant,
    "relay.revoke": relay.revoke,
    "relay.ask": relay.ask,
    "relay.requests": relay.requests,
    "relay.approve": relay.approve,
    "relay.refuse": relay.refuse,
    "backups.may": backups.may,
    "export.begin": backups.begin,
    "export.page": backups.page,
}


def methods(to: Daemon) -> dict[str, Handler]:
    """Every method, bound to a daemon."""
    return {name: partial(handler, to) for name, handler in METHODS.items()}
