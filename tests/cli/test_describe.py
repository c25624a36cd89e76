"""coterie name and role."""

from __future__ import annotations

from cli.conftest import Shell
from cli.detached import COTERIE


def test_a_person_can_show_and_set_their_name(shell: Shell) -> None:
    before = shell.ok("name").strip()
    assert before
    assert shell.ok("name", "chief") == "your name is chief now\n"
    assert shell.ok("name") == "chief\n"
    assert shell.json("name")["peer"]["name"] == "chief"


def test_a_role_is_set_and_cleared(shell: Shell) -> None:
    empty = shell.run("role")
    assert (empty.status, empty.out, empty.err) == (0, "", "coterie: no role is set\n")
    assert shell.ok("role", "reviewer") == "your role is reviewer now\n"
    assert shell.ok("role") == "reviewer\n"
    assert shell.ok("role", "") == "your role is cleared\n"
    assert shell.ok("role") == ""


def test_a_person_names_others_and_an_agent_does_not(shell: Shell) -> None:
    api = shell.place.named("api")
    card = shell.json("role", "--peer", "api")["peer"]
    assert shell.ok("name", "--peer", card["id"][:8]) == "api\n"
    assert shell.ok("role", "builder", "--peer", "API") == "api's role is builder now\n"
    assert shell.ok("name", "backend", "--peer", "api") == f"{card['id']}'s name is backend now\n"
    refused = api.run(COTERIE, "name", "boss", "--peer", "backend")
    assert refused["status"] == 1
    assert "only a person" in refused["stderr"]
    assert api.run(COTERIE, "name", "mine")["stdout"] == "your name is mine now\n"


def test_bad_names_are_refused(shell: Shell) -> None:
    shell.peer("api")
    cases = (
        (["name", ""], 2, "the new name is empty"),
        (["name", "", "--peer", "api"], 2, "the new name is empty"),
        (["name", "two words"], 2, "cannot be a name"),
        (["name", "all"], 2, "means something else"),
        (["name", "api"], 1, "is taken by p_"),
        (["name", "x", "--peer", "nobody"], 1, "nobody here is called"),
        (["name", "--peer", "nobody"], 1, "the name of no single peer"),
        (["role", "two words"], 2, "cannot be a role"),
    )
    for (arguments, status, says), ended in zip(cases, shell.all(*(case[0] for case in cases)), strict=True):
        assert (ended.status, ended.out) == (status, ""), arguments
        assert says in ended.err
