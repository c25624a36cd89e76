"""Another device that is a test, and keeps to no rule."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from conftest import Place, wait_for
from coterie import ids
from coterie.envelopes import Envelope, Posted, canonical, frame
from coterie.jsonline import LineReader, decode, encode
from coterie.net.identity import Identity, load_or_make
from coterie.peers import remote_id
from daemon.pairs import PERSON
from daemon.wires import Pair

ANSWER_S = 10
SENDER = "p_0a1b2c3d"


class Stranger:
    """The laptop, as the desk sees it: a socket, and a key that the desk knows."""

    def __init__(self, path: str, identity: Identity, desk_id: str) -> None:
        self.identity = identity
        self.desk = desk_id
        self._path = path
        self.socket: Any = None
        self.connect()

    def connect(self) -> None:
        """Come (again)."""
        if self.socket:
            self.socket.close()
        self._reader, self._frames = LineReader(), []
        wait_for(self._connected, "the desk listens")

    def _connected(self) -> bool:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(ANSWER_S)
        if not self.socket.connect_ex(self._path):
            return True
        self.socket.close()
        return False

    def send(self, kind: str, **fields: Any) -> None:
        """Send a frame."""
        self.socket.sendall(encode({"kind": kind, **fields}))

    def until(self, kind: str, **wanted: Any) -> dict[str, Any]:
        """The next frame of a kind with these fields."""
        while True:
            for frame_ in list(self._frames):
                self._frames.remove(frame_)
                if frame_["kind"] == kind and all(frame_.get(name) == value for name, value in wanted.items()):
                    return frame_
            data = self.socket.recv(65_536)
            assert data, f"the desk closed, and no {kind} came"
            self._frames += [decode(line) for line in self._reader.feed(data)]  # type: ignore[arg-type, misc]

    def closed(self) -> bool:
        """Whether the desk ends the connection, having sent what it likes."""
        while self.socket.recv(65_536):
            pass
        return True

    def envelope(self, to: str, text: str = "hello", **changes: Any) -> Envelope:
        """An envelope to a session of the desk."""
        message = ids.new_message_id()
        fields = {"id": message, "origin": self.identity.id, "to": to, "sender": SENDER, "thread": message}
        more = {"name": "mallory", "kind": "claude", "reply_to": None, "text": text, "life_s": 3600.0}
        return Envelope(**{**fields, **more, **changes})

    def post(self, envelope: Envelope, *, age_s: float = 0.0, after: str | None = None, key: Any = None) -> str:
        """Send it, signed. Returns its id."""
        signature = (key or self.identity).sign(canonical(envelope))
        self.send("envelope", **frame(Posted(envelope, signature, age_s, after)))
        return envelope.id

    def deliver(self, envelope: Envelope, **more: Any) -> str:
        """Send it, and wait until it is confirmed."""
        message = self.post(envelope, **more)
        self.until("ack", ids=[message])
        return message


class Desk:
    """One real daemon, with a session `bob` that reads when it is told to."""

    def __init__(self, place: Place, other: Place, grants: str = "see message") -> None:
        self.place = place
        self.pair = Pair(place, other, grants=grants, patch=PERSON, alone=True)
        self.stranger = Stranger(self.pair.path, load_or_make(other.home.device), self.pair.desk.id)
        place.named("bob", inbox=False)
        self.bob: str = place.row("SELECT id FROM peers WHERE name = 'bob'")[0]
        self.mallory = remote_id(self.stranger.identity.id, SENDER)

    def message(self, message: str) -> Any:
        """What is stored of one."""
        return self.place.row(
            "SELECT state, reason, sender, sender_name, sender_kind FROM messages WHERE id = ?", message
        )


@pytest.fixture
def meet(desk: Place, laptop: Place) -> Iterator[Callable[..., Desk]]:
    """Makes the desk, and the stranger that comes to it."""
    made: list[Desk] = []

    def make(grants: str = "see message") -> Desk:
        made.append(Desk(desk, laptop, grants))
        return made[-1]

    yield make
    for each in made:
        each.stranger.socket.close()


@pytest.fixture
def here(meet: Callable[..., Desk]) -> Desk:
    """The desk, with the usual rights for the stranger."""
    return meet()
