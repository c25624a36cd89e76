"""A message that goes to another device or comes from one: what it, its thread and its peers are called on either side.

A message keeps its id wherever it goes, unless that is taken there. What it answers is named as its origin knows it, if
that one took part; its thread follows from that, so no device gets into a thread in which it had no part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from coterie.daemon.devices import Devices
from coterie.devices import short
from coterie.envelopes import PATH_MAX, Envelope, local_id
from coterie.limits import MESSAGE_LIFE_MAX_S, MESSAGE_LIFE_MIN_S, NAME_CHARS_MAX
from coterie.peers import Roster, remote_id
from coterie.store import messages as stored
from coterie.store import outbox, received
from coterie.store.db import Row, Store


class Place(NamedTuple):
    """Where a message from another device belongs here."""

    id: str
    thread: str
    reply_to: str | None
    answered: Row | None
    """The message that it answers, as far as it is still here."""
    path: tuple[str, ...]


class Crossings:
    """Names both ways."""

    def __init__(
        self,
        store: Store,
        roster: Roster,
        devices: Devices,
        own: Callable[[], str],
        writer: Callable[[str, str, str], tuple[str, str]],
    ) -> None:
        self._store = store
        self._roster = roster
        self._devices = devices
        self._own = own
        """The id of this device."""
        self._writer = writer
        """What other devices are told of a sender here (its id, name and kind): a name and a kind."""

    # --- out --------------------------------------------------------------------------------------------------

    def envelope(self, row: Row, there: str, device: str) -> Envelope:
        """A stored message as it goes to a device, on which its recipient is called `there`."""
        path = tuple(self._step_out(step) for step in row["path"].split() or [row["sender"]])[-PATH_MAX:]
        life_s = row["expires_at"] - row["accepted_at"]  # A difference of large numbers, so it may be off by a hair.
        name, kind = self._writer(row["sender"], row["sender_name"], row["sender_kind"])
        return Envelope(
            id=row["id"],
            origin=self._own(),
            to=there,
            sender=row["sender"],
            name=name[:NAME_CHARS_MAX],
            kind=kind,
            thread=self._abroad(row["thread"], device) or row["thread"],
            reply_to=self._abroad(row["reply_to"], device) if row["reply_to"] else None,
            text=row["text"],
            life_s=min(max(life_s, MESSAGE_LIFE_MIN_S), MESSAGE_LIFE_MAX_S),
            path=path,
            hops=len(path) - 1,
        )

    def _abroad(self, message: str, device: str) -> str | None:
        """What a device calls a message; None if it never had it."""
        came = received.envelope_of(self._store.reader, message)
        if came:
            return came[1] if came[0] == device else None
        went = outbox.device_of(self._store.reader, message)
        return message if went and went[0] == device else None

    def _step_out(self, step: str) -> str:
        peer = self._roster.get(step)
        if ":" in step:  # Of a device that is not known here.
            return step
        return f"{short(peer.device)}:{peer.there}" if peer and peer.device else f"{short(self._own())}:{step}"

    # --- in ---------------------------------------------------------------------------------------------------

    def place(self, device: str, envelope: Envelope) -> Place:
        """Where the message of an envelope belongs here."""
        reader = self._store.reader
        # Copies of a send are found by the ids that follow its own, so one of elsewhere must not look like one. And a
        # thread keeps its name when its first message is long gone.
        taken = "." in envelope.id or stored.find(reader, envelope.id) or stored.first_of(reader, envelope.id)
        message = local_id(device, envelope.id) if taken else envelope.id
        reply_to = self._known(device, envelope.reply_to) if envelope.reply_to else None
        answered = stored.find(reader, reply_to) if reply_to else None
        thread = answered["thread"] if answered else self._thread(device, envelope, message)
        path = tuple(self._step_in(step) for step in envelope.path)
        return Place(message, thread, reply_to if answered else None, answered, path)

    def _known(self, device: str, message: str) -> str | None:
        """The message here that a device calls so: one of ours that went to it, or one that it sent."""
        went = outbox.device_of(self._store.reader, message)
        if went and went[0] == device:
            return message
        return received.find(self._store.reader, device, message)

    def _thread(self, device: str, envelope: Envelope, message: str) -> str:
        if envelope.thread == envelope.id:
            return message
        thread = received.find(self._store.reader, device, envelope.thread) or envelope.thread
        return thread if received.is_thread_with(self._store.reader, device, thread) else message

    def _step_in(self, step: str) -> str:
        group, _, there = step.partition(":")
        if group == short(self._own()):
            return there
        known = next((device for device in self._devices if short(device.id) == group), None)
        return remote_id(known.id, there) if known else step
