"""coterie backup: a whole copy while the daemon serves, and without one."""

from __future__ import annotations

import os
import stat
import threading
import time
from pathlib import Path

from cli.conftest import Shell
from cli.detached import COTERIE
from conftest import Place, running
from coterie import ids


def test_a_copy_beside_the_others(shell: Shell) -> None:
    shell.ok("send", "me", "a note")
    said = shell.ok("backup")
    path = Path(said.partition(":")[0].replace("~", str(shell.place.root)))
    assert path.parent == Path(shell.place.home.backups)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "1 message (1 unread), 1 peer, the last message of " in said
    listed = shell.run("backup", "--list")
    assert listed.out.startswith(f"{path.name}: 1 message (1 unread), 1 peer")
    assert "coterie restore NAME" in listed.err
    second = shell.json("backup")["file"]
    assert [copy["file"] for copy in shell.json("backup", "--list")["backups"]] == [second, str(path)]


def test_where_it_is_told_to_and_never_over_another(shell: Shell) -> None:
    shell.ok("send", "me", "a note")
    target = shell.place.root / "mine.db"
    assert shell.json("backup", str(target))["messages"] == 1
    again = shell.run("backup", str(target))
    assert (again.status, "is there already" in again.err) == (1, True)
    nowhere = shell.run("backup", str(shell.place.root / "none" / "mine.db"))
    assert (nowhere.status, "cannot be written" in nowhere.err) == (1, True)


def test_without_a_daemon_or_a_database(shell: Shell) -> None:
    none = shell.run("backup")
    assert (none.status, "there is no database to copy yet" in none.err) == (1, True)
    assert "no copies in" in shell.ok("backup", "--list")
    shell.ok("send", "me", "a note")
    shell.place.kill()
    made = shell.json("backup")
    assert made["messages"] == 1, "what only the log knew is in it"
    assert not running(shell.place.pid()), "no daemon was started for it"


def test_a_damaged_database_is_not_copied(shell: Shell) -> None:
    shell.ok("send", "me", "a note of mine")
    shell.place.kill()
    shell.place.start()
    shell.place.connect().call("daemon.retire")
    shell.place.daemons[-1].wait()
    path = Path(shell.place.home.database)
    path.write_bytes(path.read_bytes().replace(b"a note of mine", b"a note of nine"))
    refused = shell.run("backup")
    assert refused.status == 3
    assert "do not say what was stored" in refused.err
    assert os.listdir(shell.place.home.backups) == []


def test_an_agent_is_refused(daemon: Place) -> None:
    for arguments in (["backup"], ["backup", "/tmp/never.db"]):
        ran = daemon.named("api" if arguments[1:] else "web").run(COTERIE, *arguments)
        assert ran["status"] == 1
        assert "ask the person to type: coterie backup" in ran["stderr"]
    assert not os.path.exists("/tmp/never.db")


def test_who_sends_does_not_wait_for_it(shell: Shell) -> None:
    """Copies while one sends all the time."""
    Path(shell.place.home.config).write_text("[guards]\nmailbox_messages = 100000\nmailbox_bytes = 200000000\n")
    shell.place.start()
    connection = shell.place.connect()
    took: list[float] = []
    ended = threading.Event()

    def send() -> None:
        while not ended.is_set():
            began = time.monotonic()
            connection.call("messages.send", {"id": ids.new_message_id(), "to": "me", "text": "x" * 500})
            took.append(time.monotonic() - began)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        made = [shell.json("backup")["messages"] for _ in range(3)]
    finally:
        ended.set()
        sender.join()
    assert made == sorted(made)
    assert made[-1] > 0
    assert sorted(took)[int(len(took) * 0.99)] < 0.1
