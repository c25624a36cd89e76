"""The one door to the daemon, for everybody else: connect (starting the daemon if need be), say hello, call.

Light: adapters and hooks load it in every session. Synchronous, standard library only.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections import deque

from coterie import __version__, birth
from coterie.errors import BadLine, CoterieError, Defect, Sandboxed, Silent, Unavailable, from_wire, switched_off
from coterie.files import Home, check_folder, check_socket, home, make_folder, open_private
from coterie.jsonline import LineReader, decode, encode
from coterie.limits import CALL_S, PROTOCOL, PROTOCOL_OLDEST, START_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

RECEIVE_BYTES = 65_536
RETRY_FIRST_S = 0.005
RETRY_MOST_S = 0.1
"""Between two tries to reach a daemon that is coming up: quick at first, as it takes a fifth of a second."""

_ABSENT = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.ENOTCONN})
_FORBIDDEN = frozenset({errno.EPERM, errno.EACCES})


class Client:
    """A connection on which hello has been said."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.reader = LineReader()
        self.hello: dict[str, Any] = {}
        self._answers: deque[dict[str, Any]] = deque()
        self._events: deque[Any] | None = None
        self._kind = ""
        """The kind of notification that is kept."""
        self._last_id = 0

    def call(
        self,
        method: str,
        params: dict[str, Any] | None = None,
        wait_s: float = CALL_S,
        told: Callable[[dict[str, Any]], None] | None = None,
    ) -> Any:
        """Call a method and return its result. Raises the `CoterieError` that the daemon answered with, `Silent`
        if nothing comes within `wait_s` seconds, and `Unavailable` if the connection ends. What is listened for and
        comes before the answer goes to `told`.
        """
        self._last_id += 1
        request = {"jsonrpc": "2.0", "id": self._last_id, "method": method, "params": params or {}}
        try:
            self.connection.settimeout(wait_s)
            self.connection.sendall(encode(request))
            answer = self._answer_to(self._last_id, time.monotonic() + wait_s, told)
        except TimeoutError:
            raise _silent(f"no answer within {wait_s:g} s") from None
        except OSError as error:
            raise Unavailable(f"the daemon went away: {error.strerror}", "try again") from error
        if "error" in answer:
            raise from_wire(answer["error"])
        return answer["result"]

    def _answer_to(
        self, request_id: int, deadline: float, told: Callable[[dict[str, Any]], None] | None
    ) -> dict[str, Any]:
        while True:
            while told and self._events:
                told(self._events.popleft())
            while self._answers:
                answer = self._answers.popleft()
                if answer.get("id") == request_id or ("error" in answer and answer.get("id") is None):
                    return answer
            self._receive(deadline)

    def _receive(self, deadline: float | None) -> None:
        left = None if deadline is None else deadline - time.monotonic()
        if left is not None and left <= 0:
            raise TimeoutError
        self.connection.settimeout(left)
        data = self.connection.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "it closed the connection")
        for line in self.reader.feed(data):
            message = decode(line) if isinstance(line, bytes) else {"error": line.to_wire(), "id": None}
            if isinstance(message, dict) and "method" not in message:
                self._answers.append(message)
            elif isinstance(message, dict) and self._events is not None and message["method"] == self._kind:
                self._events.append(message["params"])

    def follow(self, params: dict[str, Any] | None = None) -> Any:
        """Have the daemon tell of every event that `params` want, and keep them for `next_event`."""
        self.listen("event")
        return self.call("events.follow", params)

    def listen(self, kind: str) -> None:
        """Keep notifications of this kind for `next_event`."""
        self._kind, self._events = kind, deque()

    def next_event(self, wait_s: float | None = None) -> dict[str, Any] | None:
        """The next notification, or None if none comes within `wait_s` seconds (None: however long it takes). Raises
        `Unavailable` if the connection ends.
        """
        if self._events is None:
            raise Defect("nothing is followed on this connection")
        deadline = None if wait_s is None else time.monotonic() + wait_s
        try:
            while not self._events:
                self._receive(deadline)
        except TimeoutError:
            return None
        except OSError as error:
            raise Unavailable(f"the daemon went away: {error.strerror}", "try again") from error
        event: dict[str, Any] = self._events.popleft()
        return event

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()


def connect(
    kind: str,
    *,
    start: bool = True,
    even_if_off: bool = False,
    at: Home | None = None,
    wait_s: float = CALL_S,
    start_s: float = START_S,
) -> Client:
    """Connect to the daemon and say hello as a client of this `kind` (adapter, cli, hook...).

    With `start`, a daemon that is not there is started; exactly one of any number of racing callers does. Waits at
    most `start_s` seconds for one to come up and `wait_s` for its hello. `even_if_off` starts one that can be asked to
    switch Coterie on. Raises `Unavailable` or one of its kinds,
    `Unsafe`, or the reason why the daemon could not start.
    """
    place = at or home()
    deadline = time.monotonic() + start_s
    options = ("--even-if-off",) if even_if_off else ()
    client = _join(place, kind, start, options, wait_s, deadline)
    # An older session may have started an older daemon again before us. Such a race is not lost for ever.
    while client.hello["newest"] < PROTOCOL and start and time.monotonic() < deadline:
        _retire(client)
        client = _join(place, kind, start, options, wait_s, deadline)
    return client


def _join(place: Home, kind: str, start: bool, options: tuple[str, ...], wait_s: float, deadline: float) -> Client:
    """A client that said hello. A daemon that closes on it was leaving; then the next one is ours to start."""
    while True:
        client = _greet(_reach(place, start, options, deadline), kind, wait_s, place)
        if client is not None:
            return client
        if time.monotonic() > deadline:
            raise Unavailable("the daemon closes every connection", f"see {place.log}")


def _retire(older: Client) -> None:
    """Ask an older daemon to end its work, close and exit, so that ours takes its place."""
    try:
        older.call("daemon.retire")
    except Unavailable:
        return  # Another newer client asked before us.
    finally:
        older.close()


def _reach(place: Home, start: bool, options: tuple[str, ...], deadline: float) -> socket.socket:
    pause = RETRY_FIRST_S
    while True:
        connection = _open(place)
        if connection:
            return connection
        if os.path.lexists(place.off) and not options:
            raise switched_off()
        if not start:
            raise Unavailable("the daemon is not running", "coterie up starts it")
        if _start(place, options, deadline):
            continue
        if time.monotonic() > deadline:
            raise _silent("the daemon holds its lock and does not listen", place)
        time.sleep(pause * (0.5 + os.urandom(1)[0] / 255))
        pause = min(pause * 2, RETRY_MOST_S)


def _open(place: Home) -> socket.socket | None:
    """A connection, or None if nobody listens. Whoever is busy is not absent: EAGAIN is tried again above."""
    try:
        if os.path.lexists(place.socket_folder):
            check_folder(place.socket_folder)
        if not check_socket(place.socket):
            return None
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    except PermissionError as error:
        raise _sandboxed(error) from None
    try:
        connection.settimeout(CALL_S)
        connection.connect(place.socket)
    except (OSError, TimeoutError) as error:
        connection.close()
        if error.errno in _FORBIDDEN:
            raise _sandboxed(error) from None
        if error.errno in _ABSENT or error.errno == errno.EAGAIN or isinstance(error, TimeoutError):
            return None
        raise Unavailable(f"cannot connect to {place.socket}: {error.strerror}") from None
    return connection


def _greet(connection: socket.socket, kind: str, wait_s: float, place: Home) -> Client | None:
    """A client that said hello, or None if the daemon closed the connection first."""
    client = Client(connection)
    versions = {"protocol": [PROTOCOL_OLDEST, PROTOCOL], "version": __version__, "client": kind}
    try:
        client.hello = client.call("hello", versions, wait_s)
    except Silent:
        client.close()
        raise _silent(f"the daemon took the connection and said nothing for {wait_s:g} s", place) from None
    except Unavailable:
        client.close()
        return None
    except BaseException:
        client.close()
        raise
    return client


def _start(place: Home, options: tuple[str, ...], deadline: float) -> bool:
    """Start the daemon if nobody else does or has. True once it serves; raises its reason if it cannot."""
    try:
        make_folder(place.folder)
        make_folder(place.socket_folder)
        lock = open_private(place.lock, os.O_RDWR)
    except OSError as error:
        if error.errno not in (*_FORBIDDEN, errno.EROFS):
            raise
        raise _sandboxed(error) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    else:
        ready = birth.spawn(place, lock, *options)
    finally:
        os.close(lock)
    try:
        _await_ready(ready, place, deadline)
    finally:
        os.close(ready)
    return True


def _await_ready(ready: int, place: Home, deadline: float) -> None:
    """Wait for the daemon's first and only line: it serves, or why it cannot."""
    said = b""
    while not said.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not birth.readable(ready, left):
            raise _silent("the daemon was started and is not ready yet", place)
        data = os.read(ready, RECEIVE_BYTES)
        if not data:
            raise Unavailable("the daemon ended while it was starting", f"see {place.log}")
        said += data
    try:
        message = decode(said)
    except BadLine:
        message = {}
    if isinstance(message, dict) and "error" in message:
        raise from_wire(message["error"])


def _silent(what: str, place: Home | None = None) -> Silent:
    pid = lock_holder(place or home())
    if not pid:
        return Silent(what, f"see {(place or home()).log}")
    return Silent(
        f"{what} (its pid is {pid})", f"if it was stopped: kill -CONT {pid}; if it is stuck: kill {pid}, and try again"
    )


def _sandboxed(error: OSError) -> CoterieError:
    return Sandboxed(
        f"this process may not reach coterie ({errno.errorcode.get(error.errno or 0, 'EPERM')}): it is in a sandbox",
        "use the coterie tools (list_peers, send_message, check_messages) instead of the command line",
    )


def lock_holder(place: Home) -> int:
    """The pid that the daemon wrote into its lock file, or 0."""
    try:
        with open(place.lock, "rb") as lock:
            return int(lock.read(20) or 0)
    except (OSError, ValueError):
        return 0
