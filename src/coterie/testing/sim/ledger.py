"""What a history comes to: every message with all that was seen of it, in the order in which it was seen."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from coterie.peers import REMOTE_ID_CHARS
from coterie.testing.sim.history import Event


@dataclass(slots=True)
class Sent:
    """One send, as its sender saw it."""

    at: int
    """The number of the event."""
    who: str
    outcome: str = ""
    """accepted, refused, unknown; or empty."""


@dataclass(slots=True)
class Seen:
    """One message, as everybody saw it: the numbers of the events."""

    accepted: int | None = None
    out: list[int] = field(default_factory=list)
    read: list[int] = field(default_factory=list)
    proved: int | None = None
    """When a hook told of a prompt with its text."""
    taken_back: int | None = None
    """When the prompt that its text came with was taken back."""
    told: list[tuple[int, str]] = field(default_factory=list)
    answered: int | None = None
    """When somebody first wrote an answer to it."""
    kept: dict[str, Any] | None = None
    """What the books of its sender's device hold of it in the end."""
    let_through: int | None = None
    """When a person let it through for whose word it waited; they say it in whatever order they like."""
    is_notice: bool = False
    """Whether nobody sent it: coterie itself wrote to the person."""
    there: list[dict[str, Any]] = field(default_factory=list)
    """What the books of other devices hold of it."""


class Ledger:
    """All messages of one history."""

    def __init__(self, events: Iterable[Event]) -> None:
        self.events: Sequence[Event] = list(events)
        self.sends: dict[str, Sent] = {}
        """By their texts, each of which was sent once."""
        self.messages: dict[str, Seen] = {}
        self.sessions: dict[str, dict[str, Any]] = {}
        """What each session has, by its name."""
        self.peers: dict[str, tuple[str, str]] = {}
        """The session and the state of each peer in the end, by its id."""
        self.strangers: set[tuple[str, str]] = set()
        """The devices of which one has forgotten the other."""
        for number, event in enumerate(self.events):
            take = getattr(self, "_" + event.kind.replace(" ", "_"), None)
            if take:
                take(number, event)

    def of(self, message: str) -> Seen:
        """What was seen of a message."""
        return self.messages.setdefault(message, Seen())

    def where(self, number: int) -> str:
        """An event as a reader finds it in the history."""
        return str(self.events[number]).strip()

    def is_estranged(self, seen: Seen) -> bool:
        """Whether a message goes to a device that was forgotten, or has forgotten that of its sender."""
        kept = seen.kept or {}
        to = kept.get("to", "").partition("@")[2]
        # Of the sessions of a forgotten device only their ids are left, and these are longer than those of our own.
        gone = not to and len(kept.get("to_id", "").partition("_")[2]) == REMOTE_ID_CHARS
        return gone or (kept.get("site", ""), to) in self.strangers

    def site(self, who: str) -> str:
        """The device of whoever an event is about; empty if there is only one, or for all."""
        known = self.sessions.get(who)
        return str(known["site"]) if known and "site" in known else who.partition("-")[2]

    def here(self, who: str, event: Event) -> bool:
        """Whether what happened there may matter to whoever is on the device of `who`."""
        return event.who == "world" or self.site(event.who) == self.site(who)

    # --- one for each kind of event --------------------------------------------------------------------------------

    def _session(self, number: int, event: Event) -> None:
        self.sessions[event.who] = event.what

    def _send(self, number: int, event: Event) -> None:
        self.sends[event.what["body"]] = Sent(number, event.who)
        about = event.what.get("reply_to")
        if about and self.of(about).answered is None:
            self.of(about).answered = number

    def _accepted(self, number: int, event: Event) -> None:
        self.sends[event.what["body"]].outcome = "accepted"
        for message in event.what["ids"]:
            self.of(message).accepted = number

    def _refused(self, number: int, event: Event) -> None:
        self.sends[event.what["body"]].outcome = "refused"

    def _unknown(self, number: int, event: Event) -> None:
        self.sends[event.what["body"]].outcome = "unknown"

    def _out(self, number: int, event: Event) -> None:
        for message in event.what["ids"]:
            self.of(message).out.append(number)

    def _read(self, number: int, event: Event) -> None:
        for message in event.what["ids"]:
            self.of(message).read.append(number)

    def _proved(self, number: int, event: Event) -> None:
        for message in event.what["ids"]:
            if self.of(message).proved is None:
                self.of(message).proved = number

    def _taken_back(self, number: int, event: Event) -> None:
        for message in event.what["ids"]:
            self.of(message).taken_back = number

    def _told(self, number: int, event: Event) -> None:
        self.of(event.what["id"]).told.append((number, event.what["state"]))

    def _peer(self, number: int, event: Event) -> None:
        self.peers[event.what["id"]] = (event.who, event.what["state"])

    def _kept(self, number: int, event: Event) -> None:
        if "@" in event.what["from"]:
            self.of(event.what["id"]).there.append(event.what)
        else:
            self.of(event.what["id"]).kept = event.what

    def _let_through(self, number: int, event: Event) -> None:
        for message in event.what["ids"]:
            self.of(message).let_through = number

    def _notice(self, number: int, event: Event) -> None:
        self.of(event.what["id"]).is_notice = True

    def _forgot(self, number: int, event: Event) -> None:
        pair = event.what["site"], event.what["other"]
        self.strangers |= {pair, pair[::-1]}

    def _perhaps_forgot(self, number: int, event: Event) -> None:
        self._forgot(number, event)
