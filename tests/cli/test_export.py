"""coterie export: everything that was sent as JSON lines, that end only where they are whole."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from typing import Any

from cli.conftest import Shell
from cli.detached import COTERIE
from conftest import Place, must_have
from coterie import ids


def lines(text: str) -> list[dict[str, Any]]:
    assert text.isascii()
    return [json.loads(line) for line in text.splitlines()]


def texts(found: list[dict[str, Any]]) -> list[str]:
    return [line["text"] for line in found if line["type"] == "message"]


def test_what_it_holds(shell: Shell) -> None:
    shell.place.start()
    alice, bob = shell.place.named("alice"), shell.place.named("bob")
    question = alice.tool("send_message", to="bob", message="Wo ist größer.toml? 🚀\x1b[31m").split()[0]
    bob.wait_inbox("größer.toml")
    shell.ok("send", "me", "a note")
    found = lines(shell.ok("export"))
    header, end = found[0], found[-1]
    assert (header["type"], header["format"], header["version"]) == ("header", "coterie-export", 1)
    assert end == {"type": "end", "messages": 2, "peers": 3, "upto": header["upto"]}
    assert {line["name"] for line in found if line["type"] == "peer"} >= {"alice", "bob"}
    assert len(texts(found)) == 2
    sent = next(line for line in found if line.get("id") == question)
    assert "größer.toml? 🚀" in sent["text"]
    assert [offer["carrier"] for offer in sent["offers"]] == ["inbox"]


def test_what_is_asked_for(shell: Shell) -> None:
    shell.place.start()
    alice, bob = shell.peer("alice"), shell.peer("bob")
    first = alice.send("the first", to="bob")
    bob.read("the first")
    bob.send("an answer", reply_to=first)
    bob.send("to carol", to="me")
    assert texts(lines(shell.ok("export", "--thread", first))) == ["the first", "an answer"]
    assert texts(lines(shell.ok("export", "--peer", "alice"))) == ["the first", "an answer"]
    assert texts(lines(shell.ok("export", "--since", "1h"))) == ["the first", "an answer", "to carol"]
    assert texts(lines(shell.ok("export", "--since", "2999-01-01"))) == []
    assert shell.run("export", "--since", "whenever").status == 2
    assert shell.run("export", "--peer", "nobody").status == 1


def test_many_in_pages(shell: Shell) -> None:
    shell.place.start()
    connection = shell.place.connect()
    sent = [f"{number} " + "x" * 3000 for number in range(450)]
    for text in sent:
        connection.call("messages.send", {"id": ids.new_message_id(), "to": "me", "text": text})
    assert texts(lines(shell.ok("export"))) == sent


def test_a_file_of_its_own(shell: Shell) -> None:
    shell.ok("send", "me", "a note")
    path = shell.place.root / "mail.jsonl"
    assert "1 message, 1 peer" in shell.ok("export", str(path))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert lines(path.read_text())[-1]["type"] == "end"
    again = shell.run("export", str(path))
    assert (again.status, "--force" in again.err) == (2, True)
    shell.ok("send", "me", "another")
    assert shell.json("export", str(path), "--force")["messages"] == 2
    assert len(texts(lines(path.read_text()))) == 2
    link = shell.place.root / "link.partial"
    link.symlink_to(shell.place.root / "elsewhere")
    assert shell.run("export", str(shell.place.root / "link")).status == 0
    assert not (shell.place.root / "elsewhere").exists()


def test_an_agent_gets_its_own(daemon: Place) -> None:
    alice, bob, carol = daemon.named("alice"), daemon.named("bob"), daemon.named("carol")
    alice.tool("send_message", to="bob", message="for bob")
    carol.tool("send_message", to="bob", message="for bob too")
    bob.wait_inbox("for bob too")
    ran = alice.run(COTERIE, "export")
    assert ran["status"] == 0
    found = lines(ran["stdout"])
    assert texts(found) == ["for bob"]
    assert sorted(line["name"] for line in found if line["type"] == "peer") == ["alice", "bob"]


def test_a_reader_that_went_away(shell: Shell) -> None:
    shell.ok("send", "me", "a note")
    assert shell.run("export", stdout="gone").status == 141
    full = shell.run("export", stdout="/dev/full")
    assert (full.status, "cannot write" in full.err) == (1, True)


def test_no_room_for_the_file(shell: Shell, as_root: None) -> None:
    shell.place.start()
    connection = shell.place.connect()
    for _ in range(60):
        connection.call("messages.send", {"id": ids.new_message_id(), "to": "me", "text": "x" * 3000})
    small = shell.place.root / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(small)]
    must_have(subprocess.run(mount, check=False, capture_output=True).returncode == 0, "the right to mount")
    try:
        for what in (["export", str(small / "mail.jsonl")], ["backup", str(small / "copy.db")]):
            ended = shell.run(*what)
            assert ended.status == 1, str(ended)
            assert "there is no room for" in ended.err
            assert os.listdir(small) == []
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_without_a_daemon_one_is_started(shell: Shell) -> None:
    shell.ok("send", "me", "a note")
    shell.place.kill()
    assert texts(lines(shell.ok("export"))) == ["a note"]
