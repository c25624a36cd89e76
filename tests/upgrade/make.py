"""Makes the database that every later release must be able to open: real sessions, real daemons, real mail.

usage: PYTHONPATH=tests .venv/bin/python -m upgrade.make

Writes ``tests/upgrade/schemaN.db``, where N is the schema of this release. It is run once for each schema that is
released, the file is checked in, and neither is touched again: what is never released need not be opened.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from conftest import Place, running, wait_for
from coterie import ids
from coterie.store.migrations import newest_version
from daemon.wires import Pair, knows

HERE = Path(__file__).parent

ACKNOWLEDGED = "Which port does the staging server use?"
ANSWER = "It uses 8443, see deploy/staging.toml."
SHOWN = "The build is green again.\nSecond line: größer, 速い, 🚀."
WAITING = "When you are back: please look at the migration."
TO_BOTH = "I am going to rebase main."
EXPIRED = "Lunch in a second?"
TO_LAPTOP = "The tests pass on this machine."
FROM_LAPTOP = "They pass here too."
FOR_LAPTOP = "Good. I am going to release it."


def correspond(place: Place) -> None:
    """Mail in every state that it can be in, between sessions that can be taken up again."""
    alice, bob = place.named("alice"), place.named("bob")
    carol = place.named("carol", inbox=False)
    carol.tool("set_summary", role="reviewer", summary="Reads what others wrote.")

    question = alice.tool("send_message", to="bob", message=ACKNOWLEDGED).split()[0]
    _, asked = bob.wait_inbox(ACKNOWLEDGED)
    bob.hook("UserPromptSubmit", prompt=asked)
    bob.tool("send_message", reply_to=question, message=ANSWER)
    alice.wait_inbox(ANSWER)  # Offered: no prompt of hers has held it.

    alice.tool("send_message", to="bob", message=SHOWN)
    _, told = bob.wait_inbox("The build is green again.")
    bob.hook("UserPromptSubmit", prompt=told)

    alice.tool("send_message", to="carol", message=WAITING)
    alice.tool("send_message", to="all", message=TO_BOTH)
    bob.wait_inbox(TO_BOTH)

    script = place.connect("adapter")
    script.call("peers.register", {"kind": "other", "cwd": "/"})
    hurried = ids.new_message_id()
    script.call("messages.send", {"id": hurried, "to": "carol", "text": EXPIRED, "life_s": 1.0})
    place.wait_state(hurried, "expired")


def correspond_abroad(pair: Pair) -> None:
    """Mail to and from a session of another device; the last waits, as that device is away."""
    alice, bob = pair.desk.place.agents[:2]
    dave = pair.laptop.place.named("dave")
    knows(alice, "dave")
    result = alice.tool("send_message", to="dave@laptop", message=TO_LAPTOP).split()[0]
    _, told = dave.wait_inbox(TO_LAPTOP)
    dave.hook("UserPromptSubmit", prompt=told)
    pair.desk.place.wait_state(result, "shown")
    knows(dave, "bob")
    dave.tool("send_message", to="bob@desk", message=FROM_LAPTOP)
    _, told = bob.wait_inbox(FROM_LAPTOP)
    bob.hook("UserPromptSubmit", prompt=told)
    pair.cut()
    wait_for(lambda: "not connected" in alice.tool("list_peers", scope="network"), "the laptop is away")
    alice.tool("send_message", to="dave@laptop", message=FOR_LAPTOP)


def switch_off(place: Place) -> None:
    """End the daemon in good order, so that its sessions start no other and the database is one whole file."""
    pid = place.pid()
    Path(place.home.off).touch(0o600)
    place.connect("cli", start=False).call("daemon.retire")
    wait_for(lambda: not running(pid), "the daemon is gone")
    assert not os.path.exists(place.home.database + "-wal")


def main() -> int:
    target = HERE / f"schema{newest_version()}.db"
    if target.exists():
        sys.stderr.write(f"{target} is there and stays as it is\n")
        return 1
    root = Path(tempfile.mkdtemp(prefix="coterie-"))
    place = Place(root)
    (root / "laptop").mkdir()
    other = Place(root / "laptop")
    try:
        pair = Pair(place, other)
        correspond(place)
        correspond_abroad(pair)
        switch_off(place)
        shutil.copyfile(place.home.database, target)
    finally:
        place.close()
        other.close()
        shutil.rmtree(root)
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
