"""A hook that gives up while the daemon works on its event: found by the simulator, where its mail stayed with it."""

from __future__ import annotations

import os
from typing import Any

from conftest import Place
from coterie import ids
from coterie.jsonline import encode

# A commit waits while a file is there. Nothing else in the daemon does.
HELD_DISK = """
import os, time
import coterie.store.db as db
commit = db.Store._transaction
def held(self, jobs):
    while os.path.exists(os.path.join(os.environ["HOME"], "held")):
        time.sleep(0.01)
    return commit(self, jobs)
db.Store._transaction = held
"""


def event(name: str, **fields: Any) -> dict[str, Any]:
    return {"event": name, "kind": "claude", "session": "session-a", "cwd": "/", "room": 8_000, **fields}


def test_mail_is_not_left_with_a_hook_that_is_gone(place: Place) -> None:
    place.start(patch=HELD_DISK)
    hook, person = place.connect("hook"), place.connect()
    peer = hook.call("session.event", event("start", room=0))["peer"]
    message = ids.new_message_id()
    person.call("messages.send", {"id": message, "to": peer, "text": "hello"})
    (place.root / "held").touch()
    gone = place.connect("hook")
    gone.connection.sendall(
        encode({"jsonrpc": "2.0", "id": 99, "method": "session.event", "params": event("prompt", prompt_line="one")})
    )
    gone.close()
    person.call("daemon.status")  # Answered after what came before it was taken in.
    os.unlink(place.root / "held")
    told = hook.call("session.event", event("prompt", prompt_line="two"))
    assert f"[coterie message {message} from" in told["context"]
