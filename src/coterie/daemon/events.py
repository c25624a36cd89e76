"""Tells followers what happens: each event after it is on the disk. Nothing is worked out while nobody follows.

The kinds, and what each holds beside `kind` and `at`:

- message: one was accepted. The fields of `about`.
- receipt: how far one got, or what became of an offer. The fields of `about`; `state`, `reason` and `carrier` as they
  were at that moment, and `outcome` if an offer came to nothing.
- peer: what is known of one changed. `peer`, its name, state, folder and so on, and `change`: a list of CHANGES. Of a
  session of another device its `device` too, that one's label.
- device: what is known of another device changed. `device`, its id, name and standing, and `change`: a list of words.
- limit: a send was refused. `from`, `from_id`, `to`, `to_id`, `limit`, `message`.
- notice: a person was told something. `text`.
- request: a device asks for what it has no right to, or was answered; or this one asked, or was. `request`, as in
  `relay.requests`; without the text of a message that is held.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from coterie.activity import Summary
from coterie.daemon.local import Connection
from coterie.errors import Damaged
from coterie.frames import one_line
from coterie.messages import Change, Outcome
from coterie.peers import LISTED, Peer, Roster, State
from coterie.store import messages as stored
from coterie.store.db import Row, Store

log = logging.getLogger(__name__)

Wanted = Callable[[str, dict[str, Any]], bool]
LINE_CHARS = 200
"""Of a text, what an event shows: one line of a wide terminal. The log has the whole."""
PARTIES = ("from_id", "to_id", "peer_id")
"""The fields of an event that name whom it is about."""
CHANGES = ("came", "away", "ended", "name", "role", "summary", "branch", "asked", "busy", "idle")
"""What may change of a peer, in the order in which it is told."""
_FAILED = (Outcome.FAILED, Outcome.LAPSED)


class Events:
    """Who follows, and what they want to hear of."""

    def __init__(
        self,
        clock: Callable[[], float],
        store: Store,
        roster: Callable[[], Roster],
        summary_of: Callable[[Peer], Summary],
        prompt_of: Callable[[Peer], str],
    ) -> None:
        self._clock = clock
        self._store = store
        self._roster = roster
        self._summary_of = summary_of
        self._prompt_of = prompt_of
        """What may be shown of a peer's summary and of its last prompt."""
        self._followers: dict[Connection, Wanted] = {}
        self._known: dict[str, dict[str, Any]] = {}
        """What followers know of each peer: a change is a difference to it."""

    @property
    def followed(self) -> bool:
        """Whether anybody hears what is published."""
        return bool(self._followers)

    def follow(self, connection: Connection, wanted: Wanted) -> None:
        """Tell a connection of every event that it wants, until it ends."""
        if not self._followers:
            roster = self._roster()
            self._known = {peer.id: self._seen(peer) for peer in (*roster, *roster.remotes())}
        self._followers[connection] = wanted

    def lost(self, connection: Connection) -> None:
        """A connection ended."""
        if self._followers.pop(connection, None) and not self._followers:
            self._known = {}

    def publish(self, kind: str, **fields: Any) -> None:
        """Something happened."""
        if not self._followers:
            return
        event = {"kind": kind, "at": self._clock(), **fields}
        for connection, wanted in list(self._followers.items()):
            if wanted(kind, fields):
                connection.notify("event", event)

    # --- messages ---------------------------------------------------------------------------------------------

    def accepted(self, message: str) -> None:
        """A message is on the disk."""
        self._tell("message", message, {})

    def changed(self, changes: Sequence[Change]) -> None:
        """What a mailbox changed is on the disk."""
        if not self._followers:
            return
        for change in changes:
            if change.state or change.outcome in _FAILED:
                self._tell("receipt", change.message, _became(change))

    def acknowledged(self, message: str) -> None:
        """A message was acknowledged whose mailbox had it no more."""
        self._tell("receipt", message, {})

    def confirmed(self, message: str, device: str) -> None:
        """Another device, called `device` here, has confirmed to have a message."""
        self._tell("receipt", message, {"reason": f"stored on {device}"})

    def _tell(self, kind: str, message: str, became: dict[str, Any]) -> None:
        if not self._followers:
            return
        try:
            row = stored.find(self._store.reader, message)
            about = self._about(row) if row else {}
        except Exception:
            # What goes wrong for those who look on must not go wrong for those who send.
            log.exception("an event could not be told")
            return
        if about and about["state"] == became.get("state"):
            became = {**became, "reason": about["reason"]}  # The store may say it at more length.
        if about:
            self.publish(kind, **{**about, **became})

    def _about(self, row: Row) -> dict[str, Any]:
        """What every event about a message says of it."""
        recipient = self._roster().get(row["recipient"])
        return {
            "id": row["id"],
            "seq": row["seq"],
            "thread": row["thread"],
            "reply_to": row["reply_to"],
            "from": row["sender_name"],
            "from_id": row["sender"],
            "to": recipient.address if recipient else row["recipient"],
            "to_id": row["recipient"],
            "state": row["state"],
            "reason": row["reason"],
            "carrier": None,
            "line": "" if stored.is_withheld(self._store.reader, row) else _line(row),
        }

    # --- peers ------------------------------------------------------------------------------------------------

    def look(self, peer: Peer) -> None:
        """Tell what changed of a peer since followers were told last, if anything did."""
        if not self._followers:
            return
        before, now = self._known.get(peer.id, {}), self._seen(peer)
        self._known[peer.id] = now
        change = changes(before, now)
        if change:
            self.publish("peer", peer_id=peer.id, peer=now, was=before.get("name", now["name"]), change=change)

    def forget(self, peer: str) -> None:
        """Nothing is known of a peer any more: another device may show any number of them, one after another."""
        self._known.pop(peer, None)

    def _seen(self, peer: Peer) -> dict[str, Any]:
        return {
            "id": peer.id,
            "name": peer.address,
            "kind": peer.kind,
            # Of another device's what that told last: that there is no way to it is an event of the device.
            "state": (peer.told or State.AWAY if peer.device else peer.state).value,
            "role": peer.role,
            "cwd": one_line(peer.cwd, LINE_CHARS),
            "branch": one_line(peer.activity.branch, LINE_CHARS),
            "summary": self._summary_of(peer).text,
            "asked": self._prompt_of(peer),
            "busy": peer.busy,
            "device": peer.label,
        }


def _line(row: Row) -> str:
    try:
        return one_line(stored.letter(row).text, LINE_CHARS)
    except Damaged as error:
        return f"({error.message})"


def _became(change: Change) -> dict[str, Any]:
    """What a change made of its message."""
    failed = change.outcome if change.outcome in _FAILED else None
    return {
        "reason": change.reason,
        **({"state": change.state.value} if change.state else {}),
        **({"carrier": change.offer.carrier.value} if change.offer else {}),
        **({"outcome": failed.value} if failed else {}),
    }


def changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The words for what is new; empty if nothing that is worth a line."""
    here = {state.value for state in LISTED}
    found = {key for key in ("name", "role", "branch", "asked") if before and now[key] != before[key]}
    if now["state"] != before.get("state"):
        came = now["state"] in here
        if not came:
            found.add(now["state"])
        elif before.get("state") not in here:
            found.add("came")
    if before and now["summary"] != before["summary"] and not found & {"asked", "branch"}:
        found.add("summary")
    if before and now["busy"] != before["busy"] and now["state"] in here:
        found.add("busy" if now["busy"] else "idle")
    return [change for change in CHANGES if change in found]
