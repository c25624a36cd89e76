"""coterie config: what holds, where it comes from, and who may set it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cli.conftest import Shell
from cli.detached import COTERIE
from conftest import wait_for
from coterie.config import KEYS
from coterie.limits import GIT_S


def file(shell: Shell, text: str, mode: int = 0o600) -> Path:
    path = Path(shell.place.home.config)
    path.touch(mode)
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


def enter_repository(shell: Shell, text: str) -> Path:
    folder = shell.place.root / "repo"
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    (folder / ".coterie.toml").write_text(text)
    shell.cwd = str(folder)
    return folder / ".coterie.toml"


# --- what holds -------------------------------------------------------------------------------------------------------


def test_every_key_is_listed_with_its_value_and_meaning_and_no_daemon_is_started(shell: Shell) -> None:
    said = shell.ok("config")
    assert said.startswith("~/home/config.toml  (not there; the defaults hold)\n")
    for key in KEYS.values():
        assert f"\n{key.name} = " in said
        assert f"\n    {key.meaning}\n" in said
    assert said.count("(default)") == len(KEYS)
    assert os.listdir(shell.place.home.folder) == []


@pytest.mark.parametrize("columns", [20, 40, 80])
def test_it_fits_the_terminal(shell: Shell, columns: int) -> None:
    file(shell, "guards.hops = 1\n")
    said = shell.ok("config", env={"COLUMNS": str(columns)})
    assert max(map(len, said.splitlines())) <= columns
    assert "guards.hops = 1" in said


def test_it_says_where_a_value_comes_from(shell: Shell) -> None:
    file(shell, '# mine\n[guards]\nhops = 2\nthread = 9\n\n["mail"]\nlife_days = 1.5\n')
    path = enter_repository(shell, "guards.hops = 1\nguards.thread = 100\n")
    said = shell.ok("config")
    assert "guards.hops = 1  (~/repo/.coterie.toml, line 1)\n" in said
    assert "guards.thread = 9  (~/home/config.toml, line 4)\n" in said
    assert "mail.life_days = 1.5  (~/home/config.toml, line 7)\n" in said
    found = {row["key"]: row for row in shell.json("config")["keys"]}
    assert found["guards.hops"]["origin"] == {"source": "repository", "path": str(path), "line": 1}
    assert found["guards.thread"]["origin"]["source"] == "file"
    assert found["guards.fan_out"]["origin"] == {"source": "default", "path": None, "line": None}
    assert (found["mail.life_days"]["value"], found["mail.life_days"]["default"]) == (1.5, 7.0)


def test_one_key_is_told_with_all_there_is_to_know(shell: Shell) -> None:
    said = shell.ok("config", "summary.files").splitlines()
    assert said[0] == "summary.files = true  (default)"
    assert said[2:] == ["    It is true or false; true by default.", "    A repository may turn it off."]
    assert "A repository may not set it." in shell.ok("config", "history.days")
    assert "A repository may set it lower." in shell.ok("config", "guards.hops")
    assert [row["key"] for row in shell.json("config", "guards.hops")["keys"]] == ["guards.hops"]


def test_where_the_file_is(shell: Shell) -> None:
    assert shell.ok("config", "--path") == f"{shell.place.home.config}\n"
    assert shell.json("config", "--path") == {"path": shell.place.home.config, "exists": False}


def test_wrong_usage_is_said(shell: Shell) -> None:
    cases = (
        (["guards.pair_brust"], "did you mean guards.pair_burst?"),
        (["set", "guards.hops"], "set takes a key and a value"),
        (["unset"], "unset takes a key"),
        (["guards.hops", "3"], "to set it: coterie config set guards.hops 3"),
        (["set", "guards.hopps", "1", "--i-am-human"], "did you mean guards.hops?"),
        (["set", "guards.hops", "many", "--i-am-human"], "a whole number from 0 to 100"),
        (["unset", "guards.hopps", "--i-am-human"], "did you mean guards.hops?"),
    )
    for (words, says), ended in zip(cases, shell.all(*(["config", *words] for words, _ in cases)), strict=True):
        assert (ended.status, ended.out) == (2, ""), words
        assert says in ended.err


# --- mistakes ---------------------------------------------------------------------------------------------------------


def test_a_mistake_is_named_with_its_line_and_exits_1(shell: Shell) -> None:
    file(shell, "[guards]\n# few\npair_brust = 3\n")
    ended = shell.run("config")
    assert (ended.status, ended.out) == (1, "")
    where = f"{shell.place.home.config}, line 3: guards.pair_brust"
    assert f"coterie: {where} is no key; did you mean guards.pair_burst?\n" in ended.err
    assert "coterie config unset guards.pair_brust" in ended.err
    assert shell.json("config")["error"]["kind"] == "bad-config"
    shell.place.start()
    assert "did you mean guards.pair_burst?" in shell.ok("status")
    doctor = shell.run("doctor", env={"COLUMNS": ""})
    assert doctor.status == 1
    assert f"{where} is no key" in doctor.out


def test_a_file_that_others_may_write_is_refused_with_the_fix(shell: Shell) -> None:
    path = file(shell, "", 0o622)
    ended = shell.run("config")
    assert ended.status == 1
    assert f"hint: chmod go-w {path}" in ended.err


def test_of_a_repositorys_mistake_the_person_is_told_and_the_rest_holds(shell: Shell) -> None:
    path = enter_repository(shell, "[history]\ndays = 1\n")
    ended = shell.run("config")
    assert ended.status == 0
    assert "history.days = 30  (default)" in ended.out
    assert f"{path}, line 2: history.days is not for a repository to set (nothing in that file counts)" in ended.err
    assert len(shell.json("config")["problems"]) == 1
    assert f"{path}, line 2: history.days" in shell.run("doctor", env={"COLUMNS": ""}).out


def test_doctor_counts_what_is_set(shell: Shell) -> None:
    assert "every setting has its default" in shell.run("doctor", "--verbose").out
    file(shell, "guards.hops = 2\nguards.thread = 9\n")
    enter_repository(shell, "guards.thread = 5\n")
    assert "1 setting of yours, 1 setting of the repository's" in shell.run("doctor", "--verbose").out


HANGS = "import coterie.settings as f, coterie.cli.config as c; f.reading = lambda root: ['sleep', '60']; c.GIT_S = 0.5"


@pytest.mark.promise("S6")
def test_a_repository_that_hangs_is_not_waited_for(shell: Shell) -> None:
    assert GIT_S <= 2
    enter_repository(shell, "")
    ended = shell.after(HANGS, "config", "guards.hops")
    assert ended.status == 0
    assert "could not be read within 0.5 s" in ended.err
    assert "guards.hops = 3" in ended.out
    assert "guards.hops = 3" in shell.ok("config", env={"PATH": "/nowhere"})


# --- setting ----------------------------------------------------------------------------------------------------------

MINE = "# my settings\r\n[guards]\r\nhops = 3 # few\r\n\r\n# the desktop\r\n[notify]\r\n"


def test_a_person_sets_and_unsets_and_every_other_byte_stays(shell: Shell) -> None:
    path = file(shell, MINE, 0o640)
    assert shell.ok("config", "set", "guards.hops", "1", "--i-am-human").startswith("guards.hops is 1 now")
    shell.ok("config", "set", "notify.desktop", "true", "--i-am-human")
    text = MINE.replace("hops = 3", "hops = 1")
    assert path.read_bytes().decode() == text + "desktop = true\r\n"
    assert path.stat().st_mode & 0o777 == 0o640
    assert shell.ok("config", "unset", "notify.desktop", "--i-am-human") == "notify.desktop is false, its default\n"
    assert path.read_bytes().decode() == text
    assert "was not set" in shell.run("config", "unset", "notify.desktop", "--i-am-human").err
    shell.ok("config", "set", "mail.life_days", "0.5", "--i-am-human")
    assert path.read_bytes().decode() == f"{text}\r\n[mail]\r\nlife_days = 0.5\r\n"
    assert "config.toml." not in str(os.listdir(shell.place.home.folder))
    log = Path(shell.place.home.log).read_text()
    assert "said --i-am-human: coterie config set KEY VALUE" in log


def test_a_new_file_is_nobody_elses_to_read_and_a_running_daemon_takes_it(shell: Shell) -> None:
    web = shell.place.named("web")
    assert shell.json("config", "set", "guards.fan_out", "1", "--i-am-human") == {
        "key": "guards.fan_out", "value": 1, "path": shell.place.home.config, "set": True,
    }  # fmt: skip
    assert Path(shell.place.home.config).stat().st_mode & 0o777 == 0o600
    for name in ("a", "b"):
        shell.peer(name)
    wait_for(lambda: "an agent may" in web.tool("send_message", to="all", message="to all"), "the daemon takes it")


def test_at_a_terminal_nothing_more_is_asked_of_the_person(shell: Shell) -> None:
    ended = shell.run("config", "set", "guards.hops", "1", terminal=80)
    assert (ended.status, "guards.hops is 1 now" in ended.out) == (0, True)
    refused = shell.run("config", "set", "guards.hops", "2")
    assert refused.status == 1
    assert "hint: without one: coterie config set guards.hops 2 --i-am-human (it is logged)" in refused.err
    assert Path(shell.place.home.config).read_text() == "[guards]\nhops = 1\n"


@pytest.mark.promise("S5")
def test_agents_look_and_do_not_set(shell: Shell) -> None:
    path = file(shell, "guards.hops = 2\n")
    web = shell.place.named("web")
    assert "guards.hops = 2" in web.run(COTERIE, "config")["stdout"]
    for words in (["set", "guards.hops", "9"], ["unset", "guards.hops"]):
        ran = web.run(COTERIE, "config", *words, "--i-am-human")
        assert ran["status"] == 1
        assert "only a person may do this" in ran["stderr"]
        assert f"ask the person to type: coterie config {' '.join(words)}" in ran["stderr"]
    assert path.read_text() == "guards.hops = 2\n"


def test_a_mistake_in_the_file_is_taken_out_and_keeps_others_from_being_set(shell: Shell) -> None:
    path = file(shell, "guards.hops = 2\nguards.hopps = 3\n")
    ended = shell.run("config", "set", "guards.hops", "1", "--i-am-human")
    assert ended.status == 1
    assert "line 2: guards.hopps is no key" in ended.err
    assert shell.ok("config", "unset", "guards.hopps", "--i-am-human") == "guards.hopps was taken out\n"
    assert path.read_text() == "guards.hops = 2\n"


@pytest.mark.parametrize(
    ("text", "words", "says"),
    [
        ("guards = { hops = 2 }\n", ["set", "guards.thread", "9"], "cannot be edited from here"),
        ("guards = { hops = 2 }\n", ["unset", "guards.hops"], "cannot be edited from here"),
        ("guards.hops = \n", ["set", "guards.hops", "9"], "is not TOML"),
    ],
)
def test_what_cannot_be_edited_is_left_as_it_is(shell: Shell, text: str, words: list[str], says: str) -> None:
    path = file(shell, text)
    ended = shell.run("config", *words, "--i-am-human")
    assert ended.status == 1
    assert says in ended.err
    assert path.read_text() == text


def test_where_no_daemon_can_be_had_the_person_is_taken_at_their_word(shell: Shell) -> None:
    Path(shell.place.home.database).write_bytes(b"no database at all, but long enough to be looked at" * 50)
    os.chmod(shell.place.home.database, 0o600)
    ended = shell.run("config", "set", "guards.hops", "1", "--i-am-human")
    assert ended.status == 0, str(ended)
    assert "the daemon could not be asked who you are" in ended.err
    refused = shell.run("config", "set", "guards.hops", "2", "--i-am-human", env={"CLAUDECODE": "1"})
    assert refused.status == 1
    assert "ask the person to type: coterie config set guards.hops 2" in refused.err


def test_texts_and_lists_are_set_and_shown_as_they_stand_in_a_file(shell: Shell) -> None:
    path = file(shell, "# mine\n[relay]\nname = 'old'  # what others call it\n")
    said = shell.ok("config", "set", "relay.name", "laptop", "--i-am-human")
    assert said.startswith('relay.name is "laptop" now;')
    said = shell.ok("config", "set", "relay.share", "name, state", "--i-am-human")
    assert said.startswith('relay.share is ["name", "state"] now;')
    wanted = '# mine\n[relay]\nname = "laptop"  # what others call it\nshare = ["name", "state"]\n'
    assert path.read_text() == wanted
    assert shell.json("config", "relay.share")["keys"][0]["value"] == ["name", "state"]
    assert shell.ok("config", "set", "relay.auto_connect", "", "--i-am-human").startswith(
        "relay.auto_connect is [] now;"
    )
    shell.ok("config", "unset", "relay.share", "--i-am-human")
    assert "share" not in path.read_text()
