"""coterie peers."""

from __future__ import annotations

import os
import re

from cli.conftest import Shell, parsed
from cli.detached import COTERIE
from conftest import wait_for
from coterie.cli.table import text_width


def test_alone_it_says_who_you_are_and_what_to_do(shell: Shell) -> None:
    ended = shell.run("peers")
    assert ended.status == 0
    first, second = ended.out.splitlines()
    assert first.startswith("you are ")
    assert " (person)  p_" in first
    assert second == "nobody else is here (on this machine)"
    assert "coterie-mcp" in ended.err
    assert "coterie peers --all" in ended.err


def test_everybody_is_a_row_and_nothing_is_cut_in_a_pipe(shell: Shell) -> None:
    api = shell.place.named("api", cwd="/usr")
    api.tool("set_summary", role="builder", summary="builds the api, " + "very " * 50 + "carefully")
    shell.peer("other").send("look at this", to=shell.peer("reviewer", cwd=f"{shell.cwd}/work").card["id"])
    said = shell.ok("peers")
    _, heading, *rows, sums = said.splitlines()
    assert heading.split() == [
        "NAME", "AGENT", "STATE", "DOES", "UNREAD", "WAITS", "REACH", "SIGN", "CPU", "MEM", "ROLE", "WHERE", "BRANCH",
        "ID", "SUMMARY",
    ]  # fmt: skip
    by_name = {row.split()[0]: dict(zip(heading.split(), row.split(), strict=False)) for row in rows}
    assert by_name["api"].items() >= {
        "AGENT": "claude", "STATE": "live", "DOES": "-", "UNREAD": "0", "WAITS": "-", "REACH": "inbox",
        "ROLE": "builder", "WHERE": "/usr", "SUMMARY": "builds",
    }.items()  # fmt: skip
    assert by_name["reviewer"].items() >= {
        "AGENT": "codex", "STATE": "live", "UNREAD": "1", "WAITS": "0s", "REACH": "tools", "WHERE": "~/work",
    }.items()  # fmt: skip
    assert re.fullmatch(r"3 peers: 3 live  1 unread for 0s  (cpu \d+%  )?memory \d+M in \d+ processes", sums)


def test_it_shows_what_a_session_does_and_takes(shell: Shell) -> None:
    api = shell.place.named("api", inbox=False)
    shell.ok("send", "api", "for you")
    api.hook("UserPromptSubmit", prompt="fix the build")
    heading, row, sums = shell.ok("peers").splitlines()[1:]
    assert "works" in row
    assert row.endswith("asked: fix the build")
    assert re.search(r"inbox|hooks", row)
    assert re.search(r" \d+M ", row)
    assert "1 at work" in sums
    api.hook("Stop")
    assert " idle " in shell.ok("peers")
    shell.place.kill()
    assert " idle " not in shell.ok("peers"), "the next daemon has not heard of it yet"
    shell.peer("one")
    shell.peer("two")
    assert len(re.findall(r"\d+M\*", shell.ok("peers"))) == 2, "of two sessions of one process"


def test_your_own_mail_is_the_first_thing_you_see(shell: Shell) -> None:
    me = shell.json("peers")["me"]["id"]
    shell.peer("api").send("?", to=me)
    assert "1 unread for 0s: coterie inbox" in shell.ok("peers").splitlines()[0]


def test_narrow_terminals_get_fewer_columns_and_no_broken_line(shell: Shell) -> None:
    shell.peer("api").call("peers.describe", summary="日本語で書く " * 8)
    ways = [
        (columns, how) for columns in (40, 80) for how in ({"terminal": columns}, {"env": {"COLUMNS": str(columns)}})
    ]
    started = [shell.start("peers", **how) for _, how in ways]
    for (columns, _), ended in zip(ways, [command.finish() for command in started], strict=True):
        said = ended.out.splitlines()
        assert said[0].startswith("you are ")
        (heading,) = [number for number, line in enumerate(said) if line.startswith("NAME")]
        for column in ("STATE", "DOES", "UNREAD"):
            assert column in said[heading]
        for column in ("SUMMARY", "REACH", "CPU", "MEM"):
            assert (column in said[heading]) == (columns == 80)
        assert said[heading + 1].startswith("api ")
        assert said[heading + 2].startswith("1 peer: 1 live")
        assert all(text_width(line) <= columns for line in said)


def test_scopes_and_all(shell: Shell) -> None:
    here, there = str(shell.place.root / "here"), str(shell.place.root / "there")
    os.mkdir(here)
    os.mkdir(there)
    shell.place.named("far", cwd=there).kill()
    shell.peer("near", cwd=here)
    wait_for(lambda: shell.place.row("SELECT state FROM peers WHERE name = 'far'")[0] == "away", "it is away")
    shell.cwd = here
    ways = (["--scope", "directory"], ["--scope", "repo"], [], ["--all"])
    found = [parsed(ended.out)["peers"] for ended in shell.all(*(["peers", "--json", *way] for way in ways))]
    assert [[card["name"] for card in cards] for cards in found] == [["near"], ["near"], ["near"], ["near", "far"]]
    shell.cwd = there
    alone = shell.run("peers", "--scope", "directory")
    assert "nobody else is here (in this directory)" in alone.out
    assert "coterie peers lists the whole machine" in alone.err


def test_a_folder_that_is_no_more_is_told(shell: Shell) -> None:
    gone = "import os; os.mkdir('gone'); os.chdir('gone'); os.rmdir('../gone')"
    ended = shell.after(gone, "peers", "--scope", "directory")
    assert ended.status == 2
    assert "the folder you are in is no more" in ended.err


def test_json_has_stable_keys(shell: Shell) -> None:
    shell.peer("api")
    found = shell.json("peers")
    assert set(found) == {"scope", "me", "peers", "total", "devices"}
    assert found["devices"] == []
    assert set(found["total"]) == {"cpu_percent", "memory_bytes", "processes"}
    assert found["me"]["kind"] == "person"
    assert set(found["peers"][0]) >= {
        "id", "name", "kind", "state", "role", "cwd", "repo", "summary", "reach", "unread", "since",
        "oldest_unread_s", "branch", "busy", "heard_s", "cpu_percent", "cpu_over_s", "memory_bytes", "processes",
        "shared_by",
    }  # fmt: skip


def test_in_an_agents_shell_it_is_that_agent(shell: Shell) -> None:
    api = shell.place.named("api")
    ran = api.run(COTERIE, "peers")
    assert ran["stdout"].startswith("you are api (claude, live)  p_")


def test_a_folder_cannot_speak_to_the_terminal(shell: Shell) -> None:
    shell.peer("api", cwd="/x\x1b[2J\u202ey")
    for how in ({}, {"terminal": 200}):
        said = shell.run("peers", env={"NO_COLOR": "1"}, **how).out
        assert "x[U+001B][2J[U+202E]y" in said
        assert "\x1b" not in said
        assert "\u202e" not in said
