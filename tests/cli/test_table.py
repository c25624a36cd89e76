"""Columns, cutting and wrapping."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.cli.table import Column, cut, flowed, quoted, table, text_width, wrapped
from coterie.frames import neutralise

COLUMNS = (
    Column("NAME", 0, least=6),
    Column("STATE", 1),
    Column("WHERE", 2, least=8, tail=True),
    Column("N", 3, right=True),
    Column("SUMMARY", 4, least=10),
)
ROWS = (
    ["api", "live", "~/work/of/somebody/api", "7", "builds the api"],
    ["日本語の名前", "away", "-", "12", "e\u0301crit des tests très longs, vraiment"],
)
visible = st.text(st.characters(exclude_categories=("Cs", "Cc", "Cf", "Mn", "Me", "Zl", "Zp", "Cn", "Co")))


@pytest.mark.parametrize(
    ("text", "width"), [("abc", 3), ("日本", 4), ("e\u0301", 1), ("…", 1), ("ﾊﾝ", 2), ("👍", 2), ("\u2764\ufe0f", 2)]
)
def test_widths_are_those_of_terminals(text: str, width: int) -> None:
    assert text_width(text) == width


def test_without_a_limit_nothing_is_cut() -> None:
    heading, first, second = table(COLUMNS, ROWS, None)
    assert heading == "NAME          STATE  WHERE                    N  SUMMARY"
    assert first == "api           live   ~/work/of/somebody/api   7  builds the api"
    assert second.startswith("日本語の名前  away   -                       12  e\u0301crit")


def test_no_line_is_wider_than_the_terminal_and_columns_stand_below_each_other() -> None:
    for width in range(20, 120):
        lines = table(COLUMNS, ROWS, width)
        assert all(text_width(line) <= width for line in lines)
        assert all(line.startswith(name) for line, name in zip(lines, ("NAME", "api", "日本"), strict=True))
        column = lines[0].index("STATE")
        assert text_width(lines[2].partition("away")[0]) == column
        assert lines[1].index("live") == column


def test_the_least_important_columns_go_first() -> None:
    titles = {tuple(table(COLUMNS, ROWS, width)[0].split()) for width in range(20, 120)}
    full = tuple(column.title for column in COLUMNS)
    assert titles == {full[:kept] for kept in range(2, 6)}


def test_paths_keep_their_end() -> None:
    assert cut("~/work/of/somebody/api", 10, tail=True) == "…ebody/api"
    assert cut("a long story", 8) == "a long…"
    assert cut("日本語", 4) == "日…"
    assert cut("日本語", 4, tail=True) == "…語"


@given(visible, st.integers(2, 40))
def test_a_cut_text_fits(text: str, width: int) -> None:
    assert text_width(cut(text, width)) <= width
    assert text_width(cut(text, width, tail=True)) <= width


@given(visible, st.integers(2, 40))
def test_wrapping_loses_nothing_but_spaces(text: str, width: int) -> None:
    pieces = wrapped(text, width)
    assert all(text_width(piece) <= width for piece in pieces)
    assert "".join(pieces).replace(" ", "") == text.replace(" ", "")


@given(st.text(), st.one_of(st.none(), st.integers(20, 100)))
def test_every_line_of_a_quoted_text_is_behind_the_quote_and_fits(text: str, width: int | None) -> None:
    lines = quoted(text, width).split("\n")
    assert all(line.startswith("  |") for line in lines)
    assert width is None or all(text_width(line) <= width for line in lines)
    shown = "".join(line.removeprefix("  |") for line in lines)
    assert "".join(shown.split()) == "".join(neutralise(text).split())


def test_a_line_cannot_wrap_into_one_of_ours() -> None:
    evil = " " * 36 + "from root (person)  m_000000000000"
    assert all(line.startswith("  |") for line in quoted(evil, 40).split("\n"))


def test_fields_flow_onto_further_lines() -> None:
    fields = ["09:15", "api -> web", "acknowledged (answered)", "m_4t8x0b6n2c5v"]
    assert flowed(fields, None) == "09:15  api -> web  acknowledged (answered)  m_4t8x0b6n2c5v"
    assert flowed(fields, 40) == "09:15  api -> web\n  acknowledged (answered)\n  m_4t8x0b6n2c5v"
    assert flowed(["x" * 50], 20) == "x" * 19 + "…"
