"""coterie restore: a person puts a copy in the place of the database, and living sessions go on."""

from __future__ import annotations

import os
from pathlib import Path

from cli.conftest import Shell
from cli.detached import COTERIE
from conftest import Place, wait_for


def test_a_copy_takes_the_place_of_what_is_there(shell: Shell) -> None:
    shell.ok("send", "me", "before the copy")
    copy = shell.json("backup")["file"]
    shell.ok("send", "me", "after the copy")
    ended = shell.run("restore", os.path.basename(copy), "--yes", "--i-am-human")
    assert ended.status == 0, str(ended)
    assert "the copy holds 1 message (1 unread), 1 peer" in ended.err
    assert "1 message that the database has now is not in it" in ended.err
    assert "restored: 1 message" in ended.out
    said = shell.ok("log")
    assert "before the copy" in said
    assert "after the copy" not in said
    replaced = [path for path in os.listdir(shell.place.home.backups) if "replaced" in path]
    assert len(replaced) == 1
    assert shell.run("restore", replaced[0], "--yes", "--i-am-human").status == 0, "and back again"
    assert "after the copy" in shell.ok("log")


def test_it_asks_at_a_terminal(shell: Shell) -> None:
    shell.ok("send", "me", "a note")
    copy = shell.json("backup")["file"]
    shell.ok("send", "me", "another")
    for answer, status in (("n\n", 1), ("\x04", 130), ("y\n", 0)):
        asked = shell.start("restore", copy, terminal=80)
        asked.wait_for(r"put it in the place of the database\? \[y/N\]", "out")
        asked.type(answer)
        assert asked.finish().status == status
        assert shell.json("log")["messages"][-1]["text"] == ("a note" if status == 0 else "another")
        assert not any(name.endswith(".partial") for name in os.listdir(shell.place.home.folder))


def test_nobody_to_ask(shell: Shell) -> None:
    shell.ok("send", "me", "a note")
    copy = shell.json("backup")["file"]
    no_terminal = shell.run("restore", copy)
    assert (no_terminal.status, f"coterie restore {copy} --i-am-human" in no_terminal.err) == (1, True)
    no_answer = shell.run("restore", copy, "--i-am-human")
    assert (no_answer.status, "nothing was changed" in no_answer.err) == (1, True)
    assert not any(name.endswith(".partial") for name in os.listdir(shell.place.home.folder))


def test_wrong_usage(shell: Shell) -> None:
    assert shell.run("restore").status == 2
    assert shell.run("restore", "x", "--salvage").status == 2
    shell.ok("send", "me", "a note")
    none = shell.run("restore", "none.db", "--yes", "--i-am-human")
    assert (none.status, "coterie backup --list" in none.err) == (1, True)
    assert shell.json("log")["messages"]


def test_an_agent_is_refused_with_and_without_a_daemon(daemon: Place) -> None:
    agent = daemon.named("api")
    ran = agent.run(COTERIE, "restore", "x.db", "--yes", "--i-am-human")
    assert (ran["status"], "ask the person to type: coterie restore x.db" in ran["stderr"]) == (1, True)


def test_living_sessions_go_on(shell: Shell) -> None:
    shell.place.start()
    alice, bob = shell.place.named("alice"), shell.place.named("bob")
    alice.tool("send_message", to="bob", message="before the copy")
    bob.wait_inbox("before the copy")
    copy = shell.json("backup")["file"]
    carol = shell.place.named("carol")
    carol.tool("send_message", to="bob", message="after the copy")
    bob.wait_inbox("after the copy")
    assert shell.run("restore", copy, "--yes", "--i-am-human").status == 0
    alice.tool("send_message", to="bob", message="bob is still there")
    bob.wait_inbox("bob is still there")
    # The copy does not know of carol: she comes back as somebody new, in the same session.
    wait_for(lambda: shell.place.row("SELECT 1 FROM sessions WHERE session = 'session-carol'"), "carol is back")
    carol.tool("set_summary", name="carol")
    bob.tool("send_message", to="carol", message="carol too")
    carol.wait_inbox("carol too")
    assert shell.place.row("PRAGMA integrity_check")[0] == "ok"


def test_a_damaged_database_has_a_way_back_in_one_command(shell: Shell) -> None:
    shell.ok("send", "me", "the first note")
    copy = shell.json("backup")["file"]
    shell.ok("send", "me", "the second note")
    damage(shell.place)
    refused = shell.run("log")
    assert refused.status == 3
    name = os.path.basename(copy)
    assert f"coterie restore {name} puts the copy of" in refused.err
    assert "coterie restore --salvage keeps what can still be read" in refused.err
    assert f"coterie restore {name}" in shell.run("doctor").out
    restored = shell.run("restore", name, "--yes", "--i-am-human")
    assert restored.status == 0, str(restored)
    assert "the first note" in shell.ok("log")
    assert "the second note" not in shell.ok("log")


def test_what_can_be_read_is_kept(shell: Shell) -> None:
    for note in ("one", "two", "three"):
        shell.ok("send", "me", f"note {note} of mine")
    damage(shell.place, b"note two of", b"note who of")
    assert shell.run("log").status == 3
    kept = shell.run("restore", "--salvage", "--yes", "--i-am-human")
    assert kept.status == 0, str(kept)
    said = shell.ok("log")
    assert ("note one" in said, "note two" in said, "note who" in said, "note three" in said) == (
        True,
        False,
        False,
        True,
    )


def damage(place: Place, what: bytes = b"the second note", by: bytes = b"the second vote") -> None:
    """End the daemon, and change what is on the disk."""
    place.kill()
    place.start()
    place.connect().call("daemon.retire")
    place.daemons[-1].wait()
    path = Path(place.home.database)
    content = path.read_bytes()
    assert what in content
    path.write_bytes(content.replace(what, by))
