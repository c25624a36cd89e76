"""The entry point ``coterie-hook AGENT``: reads what the agent's client tells its hooks, as JSON on stdin.

It fails open: whatever goes wrong here, the agent's session goes on as if there were no hook. It never starts the
daemon, as a hook has no time for that. Why it failed stands on stderr, which clients show in their debug logs.
"""

from __future__ import annotations

import os
import sys

from coterie import agents, client
from coterie.errors import BadInput, CoterieError
from coterie.jsonline import decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from coterie.agents.kind import AgentKind

HOOK_S = 2.0
"""How long the daemon may take. It takes a millisecond; a session must not wait for one that is stuck."""
INPUT_BYTES_MAX = 8 << 20
"""What a client may tell: tool results can be large. What is beyond this would take our memory for nothing."""
_PIECE_BYTES = 1 << 20


def main() -> int:
    """Serve one event. Exits 0 whatever happens, but for a wrong command line."""
    if len(sys.argv) != 2 or sys.argv[1] not in [kind.name for kind in agents.KINDS]:
        sys.stderr.write(f"usage: coterie-hook {'|'.join(kind.name for kind in agents.KINDS)} < event.json\n")
        return 2
    try:
        _serve(agents.by_name(sys.argv[1]), _told(sys.argv[1]))
    except CoterieError as error:
        sys.stderr.write(f"coterie-hook: {error}\n")
    except Exception as error:  # noqa: BLE001 (a defect of ours must never break the session)
        sys.stderr.write(f"coterie-hook: {type(error).__name__}: {error}\n")
    return 0


def _told(client_name: str) -> bytes:
    """What the client tells. Raises `BadInput` if it is too much; it is taken all the same, as a client that writes
    into a closed pipe may fail.
    """
    said = sys.stdin.buffer.read(INPUT_BYTES_MAX + 1)
    if len(said) <= INPUT_BYTES_MAX:
        return said
    size = len(said)
    while piece := sys.stdin.buffer.read(_PIECE_BYTES):
        size += len(piece)
    raise BadInput(
        f"the event that {client_name} told has {size} bytes, and no more than {INPUT_BYTES_MAX} are read",
        "it was left out; mail comes with the next event",
    )


def _serve(kind: AgentKind, said: bytes) -> None:
    """Tell the daemon, print what it has for the model, and report that it is out: unreported, it is not."""
    told = decode(said, mend=True, loose=True)
    if not isinstance(told, dict):
        raise BadInput("a hook is told one JSON object")
    event = kind.hook_event(told, os.environ)
    if event is None:
        return
    daemon = client.connect("hook", start=False, wait_s=HOOK_S)
    answer = daemon.call("session.event", event, HOOK_S)
    if answer["context"]:
        sys.stdout.buffer.write(encode(kind.hook_answer(told, answer["context"])))
        sys.stdout.buffer.flush()
    if answer["call"]:
        daemon.call("mail.written", {"calls": [answer["call"]]}, HOOK_S)


if __name__ == "__main__":
    sys.exit(main())
