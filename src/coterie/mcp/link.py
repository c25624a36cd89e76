"""The adapter's link to the daemon: calls survive the daemon, which may be killed or replaced under the session.

Every call is one that may be sent again, so a call in flight when the daemon goes is simply sent to the next one.
Connecting can take as long as a daemon takes to start, so it happens in a thread, and the session is served
meanwhile; everything else is the adapter's one loop.
"""

from __future__ import annotations

import os
import threading
import time

from coterie import client, ids
from coterie.errors import BadInput, BadLine, CoterieError, Silent, Unavailable, from_wire
from coterie.jsonline import decode, encode
from coterie.limits import CALL_S, LINE_BYTES_MAX, START_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Json = dict[str, Any]
    Done = Callable[[Json | None, CoterieError | None], None]
    Registration = tuple[str, Json]

RETRY_FIRST_S = 0.05
RETRY_MOST_S = 30.0
"""While coterie is switched off the link looks for it so seldom that it costs nothing."""
WRITE_S = 5.0
"""A daemon that takes nothing for so long is stuck; the link is given up and made anew."""

_TEXTS = {"written": None, "held": None}


class _Call:
    def __init__(self, method: str, params: Json, done: Done, deadline: float) -> None:
        self.method = method
        self.params = params
        self.done = done
        self.deadline = deadline
        self.left = False

    def fail(self, error: CoterieError) -> None:
        """There will be no answer."""
        error.unanswered = self.left
        self.done(None, error)


class Link:
    """A connection to the daemon that comes back."""

    def __init__(
        self,
        on_notification: Callable[[str, Json], None],
        registration: Callable[[], Registration | None],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._now = now
        self._on_notification = on_notification
        self._registration = registration
        """What to call first, once there is a connection; None while there is nobody to register."""
        self._client: client.Client | None = None
        self._outcome: client.Client | CoterieError | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        self._connecting = False
        self._registered = False
        self._registering = False
        self._sent_registration: Registration | None = None
        self._wanted = False
        self._not_before = 0.0
        self._pause = RETRY_FIRST_S
        self._calls: dict[int, _Call] = {}
        self._last_id = 0

    # --- for the loop ------------------------------------------------------------------------------------------

    def descriptors(self) -> list[int]:
        """What to wait for."""
        connection = [self._client.connection.fileno()] if self._client else []
        return [self._wake_reader, *connection]

    def timeout(self) -> float | None:
        """Seconds until something is due; None if nothing ever is."""
        now = self._now()
        due = [call.deadline for call in self._calls.values()]
        if self._wanted and not self._client and not self._connecting:
            due.append(self._not_before)
        return max(0.0, min(due) - now) if due else None

    def ready(self, descriptor: int) -> None:
        """One of the descriptors has something."""
        if descriptor == self._wake_reader:
            os.read(self._wake_reader, 1)
            self._connected()
        elif self._client:
            self._receive()

    def tick(self) -> None:
        """Do what is due."""
        now = self._now()
        for number in [number for number, call in self._calls.items() if call.deadline <= now]:
            self._calls.pop(number).fail(Silent("the daemon does not answer", "coterie status says more"))
        if self._wanted and not self._client and not self._connecting and self._not_before <= now:
            self._connect()

    # --- for the adapter ------------------------------------------------------------------------------------------

    def want(self) -> None:
        """The session is to be reachable from now on, whether or not it calls anything."""
        self._wanted = True
        if self._client and not self._registered:
            self._register()

    def register_again(self) -> None:
        """What there is to register has changed."""
        self._registered = False
        self.want()

    def call(self, method: str, params: Json, done: Done, wait_s: float = 0.0) -> None:
        """Call the daemon; `done` gets the result or the error, also if the daemon is killed meanwhile."""
        self._wanted = True
        self._last_id += 1
        self._calls[self._last_id] = _Call(method, params, done, self._now() + START_S + CALL_S + wait_s)
        if self._registered:
            self._send(self._last_id)
        else:
            # Tried at once: an error that says why beats a wait for the next attempt in the background.
            self._not_before = 0.0
            self.want()

    # --- connecting ------------------------------------------------------------------------------------------

    def _connect(self) -> None:
        self._connecting = True
        threading.Thread(target=self._try, name="connect", daemon=True).start()

    def _try(self) -> None:
        try:
            self._outcome = client.connect("adapter")
        except CoterieError as error:
            self._outcome = error
        except Exception as error:  # noqa: BLE001 (in a thread nobody else would hear of it; it is shown to the model)
            self._outcome = Unavailable(f"no connection to the daemon: {error}", "coterie status says more")
        os.write(self._wake_writer, b"!")

    def _connected(self) -> None:
        outcome, self._outcome, self._connecting = self._outcome, None, False
        if isinstance(outcome, client.Client):
            outcome.connection.settimeout(WRITE_S)
            self._client = outcome
            self._registered = self._registering = False
            self._register()
        elif outcome:
            self._try_later()
            self._fail_all(outcome)

    def _register(self) -> None:
        registration = self._registration()
        if registration is None or self._registering:
            return
        self._registering = True
        self._last_id += 1
        self._sent_registration = registration
        self._calls[self._last_id] = _Call(*registration, self._register_done, self._now() + CALL_S)
        self._send(self._last_id)

    def _register_done(self, result: Json | None, error: CoterieError | None) -> None:
        self._registering = False
        if error or result is None:
            self._fail_all(error or Unavailable("the daemon did not register this session"))
            self._lost()
            self._try_later()
            return
        self._pause = RETRY_FIRST_S
        if self._is_outdated():
            self._register()
            return
        self._registered = True
        for number in list(self._calls):
            self._send(number)

    def _is_outdated(self) -> bool:
        """Whether the session changed while it was being registered. What was `written` or is `held` meanwhile is
        reported anyway; to register for it again would go on for as long as there is mail.
        """
        (now, what), (before, sent) = self._registration() or ("", {}), self._sent_registration or ("", {})
        return (now, {**what, **_TEXTS}) != (before, {**sent, **_TEXTS})

    def _try_later(self) -> None:
        """It does not work now: each time it is left alone for longer."""
        self._not_before = self._now() + self._pause
        self._pause = min(self._pause * 4, RETRY_MOST_S)

    def _fail_all(self, error: CoterieError) -> None:
        calls, self._calls = self._calls, {}
        for call in calls.values():
            call.fail(type(error)(error.message, error.hint))

    def _lost(self) -> None:
        """The connection is gone; the calls stay, and go out on the next one."""
        if self._client:
            self._client.close()
        self._client = None
        self._registered = self._registering = False
        registering = [number for number, call in self._calls.items() if call.done == self._register_done]
        for number in registering:
            del self._calls[number]
        # All sessions of a machine lose a daemon at the same instant: they come back a little apart.
        self._not_before = self._now() + self._pause * ids.entropy(1)[0] / 255

    # --- the wire ------------------------------------------------------------------------------------------

    def _send(self, number: int) -> None:
        call = self._calls.get(number)
        if self._client is None or call is None:
            return
        line = encode({"jsonrpc": "2.0", "id": number, "method": call.method, "params": call.params})
        if len(line) > LINE_BYTES_MAX:
            del self._calls[number]
            call.fail(BadInput(f"the call is {len(line)} bytes; {LINE_BYTES_MAX} fit", "send less"))
            return
        call.left = True
        try:
            self._client.connection.sendall(line)
        except OSError:
            self._lost()

    def _receive(self) -> None:
        assert self._client is not None
        try:
            data = self._client.connection.recv(client.RECEIVE_BYTES)
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        for line in list(self._client.reader.feed(data)):
            self._take(line)

    def _take(self, line: bytes | BadLine) -> None:
        if isinstance(line, BadLine):
            # One of the answers is not what our daemon writes. Asking again would bring it again.
            self._fail_all(Unavailable("an answer of the daemon could not be read", "ask for less at once"))
            self._lost()
            return
        message = decode(line)
        if not isinstance(message, dict):
            return
        if "method" in message:
            self._on_notification(message["method"], message.get("params") or {})
            return
        call = self._calls.pop(message.get("id") or 0, None)
        if call:
            error = from_wire(message["error"]) if "error" in message else None
            call.done(message.get("result"), error)
