"""Edits of TOML texts keep every other byte, whatever the text looks like."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.agents.installs.changes import Change, Toml, changed
from coterie.texts import BadText, Path
from coterie.texts.tomltext import delete, parse, set_value, statements

OURS: Path = ("mcp_servers", "coterie")
PUT = [
    Change((*OURS, "command"), "/opt/é/coterie-mcp"),
    Change((*OURS, "tools", "list_peers", "approval_mode"), "approve"),
    Change((*OURS, "env", "COTERIE_HOME"), "/x y"),
]
TABLES = [
    '[model_providers.mock] # [mcp_servers.coterie]\nname = "a # b" # c\nlist = [\n  "]", # ]\n  "x",\n]\n',
    '[mcp_servers.other]\ncommand = "other"\nargs = ["[mcp_servers.coterie]"]\n',
    '[mcp_servers.other.tools.x]\napproval_mode = "prompt"\n',
    '[projects."/home/a.b/[c]"]\ntrust_level = "trusted"\n',
    "['quo\"ted'.\"dot.ted\"]\na.b.c = 1\n'd e' = 1979-05-27T07:32:00Z\n",
    '[texts]\nlong = """\n[mcp_servers.coterie]\ncommand = "no"\n"""\nraw = \'\'\'\n[[x]]\'\'\'\n'
    'end = """a\\"""b"""""\n',
    '[[steps]]\nname = "1"\n\n[[steps]]\nname = "2"\n',
    "[empty]\n",
    "[inline]\npoint = { x = 1, y = [1, 2], z = { a = '}' } }\n",
    "  [indented]  \n\tkey = -1.5e3\n",
]
TOP = ["", 'model = "x"\n', "# only a comment\n", 'a.b = 1\n"c d" = true # yes\n']


@st.composite
def texts(draw: st.DrawFn) -> str:
    """Tables in some order, with what people put between them; its last line may lack its end."""
    tables = draw(st.lists(st.sampled_from(TABLES), unique=True, max_size=6))
    if '[mcp_servers.other.tools.x]\napproval_mode = "prompt"\n' in tables:
        tables.sort(key=lambda table: "tools.x" in table)
    between = st.sampled_from(["", "\n", "\n\n", "# a comment\n", "\n# [mcp_servers.coterie]\n\n"])
    text = draw(st.sampled_from(TOP)) + "".join(draw(between) + table for table in tables) + draw(between)
    return text.replace("\n", "\r\n") if draw(st.booleans()) else text


@given(text=texts())
def test_in_and_out_again_gives_back_the_bytes(text: str) -> None:
    before = parse(text)
    inside = changed(text, PUT, Toml())
    assert inside.startswith(text)
    assert parse(inside)["mcp_servers"]["coterie"]["command"] == "/opt/é/coterie-mcp"
    assert changed(inside, PUT, Toml()) == inside
    assert parse(delete(inside, OURS)) == before
    assert delete(inside, OURS) == text


@given(text=texts(), later=texts())
def test_what_others_add_behind_ours_stays(text: str, later: str) -> None:
    try:
        whole = changed(text, PUT, Toml()) + "\n[later]\nx = 1\n" + later.removeprefix('model = "x"')
        tomllib.loads(whole)
    except tomllib.TOMLDecodeError:
        return
    data = parse(whole)
    del data["mcp_servers"]["coterie"]
    if not data["mcp_servers"]:
        del data["mcp_servers"]
    assert parse(delete(whole, OURS)) == data


@given(text=texts())
def test_every_statement_is_found(text: str) -> None:
    for statement in statements(text):
        assert statement.path
        if not statement.is_header:
            value = text[statement.value : statement.end]
            assert tomllib.loads(f"k = {value}"), value


def test_a_value_is_replaced_and_a_line_added_where_the_table_is() -> None:
    text = '[mcp_servers.coterie]\ncommand = "old" # mine\ntimeout = 3\n\n[other]\nx = 1\n'
    renewed = changed(text, PUT[:1], Toml())
    assert renewed == text.replace('"old"', '"/opt/é/coterie-mcp"')
    more = set_value(text, (*OURS, "enabled"), "yes")
    assert more == text.replace("timeout = 3\n", 'timeout = 3\nenabled = "yes"\n')


def test_what_stands_inside_our_table_goes_with_it_and_what_stands_around_stays() -> None:
    ours = '[mcp_servers.coterie]\n# inside\ncommand = "c"\n'
    assert delete(f"x = 1\n\n# before\n{ours}# after\n\n[b]\n", OURS) == "x = 1\n\n# before\n# after\n\n[b]\n"


def test_a_last_line_without_an_end_gets_one() -> None:
    assert set_value("[a]\nx = 1", ("a", "y"), "z") == '[a]\nx = 1\ny = "z"\n'
    assert set_value("x = 1", ("a", "y"), "z") == 'x = 1\n\n[a]\ny = "z"\n'


@pytest.mark.parametrize(
    "text",
    [
        'mcp_servers = { coterie = { command = "coterie-mcp" } }\n',
        'mcp_servers.other.command = "x"\nmcp_servers.coterie = { command = "x" }\n',
        '[mcp_servers]\ncoterie = { command = "/old/coterie-mcp" }\n',
        '[[mcp_servers]]\nname = "coterie"\n',
    ],
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(BadText):
        changed(text, PUT, Toml())


@pytest.mark.parametrize(
    "text",
    [
        '[mcp_servers]\ncoterie = { command = "c" }\nother = { command = "o" }\n',
        '[mcp_servers]\ncoterie.command = "c"\ncoterie.env.X = "1"\nother = { command = "o" }\n',
        'mcp_servers.coterie.command = "c"\nmcp_servers.other.command = "o"\n',
    ],
)
def test_another_form_is_taken_out(text: str) -> None:
    assert parse(delete(text, OURS)) == {"mcp_servers": {"other": {"command": "o"}}}


def test_what_does_not_parse_is_refused_with_its_place() -> None:
    with pytest.raises(BadText, match="line 2, column 5"):
        parse("a = 1\nb = \n")
    assert parse("\ufeffa = 1") == {"a": 1}
