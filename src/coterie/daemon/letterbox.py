"""What a text may carry for a peer now: frames within the budget, headings for the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from coterie.frames import SEPARATOR, Letter, fit, frame, heading, headings, in_bytes
from coterie.limits import FRAME_BYTES_MAX, HEADINGS_MAX
from coterie.messages import Carrier, Change
from coterie.peers import Peer
from coterie.store import messages as stored

if TYPE_CHECKING:
    from coterie.daemon.main import Daemon

ELSEWHERE = "Also for you, without the text here"
RECALLED = "Shown to you before and not answered"
TO_MAIN = "Mail for the main agent of this session"


@dataclass(slots=True)
class Bundle:
    """The mail in one text."""

    letters: list[Letter] = field(default_factory=list)
    named: list[Letter] = field(default_factory=list)
    named_total: int = 0
    why: str = ELSEWHERE
    waiting: int = 0
    """Messages for which there was no room."""
    recalled: list[Letter] = field(default_factory=list)
    budget: int = FRAME_BYTES_MAX
    measure: Callable[[str], int] = in_bytes

    def frames(self) -> list[str]:
        """The messages whose text is here."""
        return [frame(letter) for letter in self.letters]

    def notes(self) -> list[str]:
        """The lists of headings, within what the frames leave of the budget."""
        room = self.budget - sum(self.measure(text) + len(SEPARATOR) for text in self.frames())
        found = []
        lists = ((self.named, self.named_total, self.why), (self.recalled, len(self.recalled), RECALLED))
        for letters, total, why in lists:
            text = headings(letters, total, why, room, self.measure)
            room -= self.measure(text)
            found.append(text)
        return [text for text in found if text]

    def to_wire(self) -> dict[str, Any]:
        """The parts of an answer: what a model is to read, and the same for programs."""
        return {
            "frames": self.frames(),
            "notes": self.notes(),
            "waiting": self.waiting,
            "letters": [
                {
                    "id": letter.id,
                    "from": letter.sender_name,
                    "kind": letter.sender_kind,
                    "thread": letter.thread,
                    "reply_to": letter.reply_to,
                    "text": letter.text,
                    "heading": heading(letter),
                }
                for letter in self.letters
            ],
        }


def bundle(
    daemon: Daemon,
    peer: Peer,
    carrier: Carrier,
    call: str,
    *,
    main: bool,
    everything: bool,
    budget: int = FRAME_BYTES_MAX,
    measure: Callable[[str], int] = in_bytes,
    boundary: bool = False,
    beside: Collection[str] = (),
    waking: bool = False,
) -> tuple[Bundle, list[Change]]:
    """What goes into the text named `call`, and the offers that it opens, which the caller must record first.
    `waking`: what waits is left to a carrier that wakes the session, as this one does not.
    """
    box = daemon.post.box(peer.id)
    candidates = [] if waking else box.candidates(call, main)
    # One by one: of thousands that wait, no more texts are read than find room.
    taken = fit((letter for message in candidates for letter in daemon.post.letters([message])), budget, measure)
    changes = box.take(carrier, call, [letter.id for letter in taken], boundary, written=False)
    here = {letter.id for letter in taken}
    rest = [message for message in candidates if message not in here]
    # A tool result is followed by the next, which has room; a hook may be the only carrier there is for long.
    no_room = set(rest) if carrier is Carrier.HOOK else set()
    named = box.headings(call, main, everything, carrier, no_room, beside)
    recalled = stored.unanswered(daemon.store.reader, peer.id, HEADINGS_MAX) if main and peer.recall_due else []
    return (
        Bundle(
            letters=taken,
            named=daemon.post.letters(named[:HEADINGS_MAX]),
            named_total=len(named),
            why=ELSEWHERE if main else TO_MAIN,
            waiting=len(rest) if main else 0,
            recalled=daemon.post.letters(recalled),
            budget=budget,
            measure=measure,
        ),
        changes,
    )
