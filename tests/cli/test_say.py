"""The law of the terminal."""

from __future__ import annotations

import json
import os

import pytest

from cli.conftest import Shell, parsed
from coterie.cli import say
from coterie.errors import Refused, Sandboxed


def test_json_is_ascii_without_any_control_character() -> None:
    nasty = {"text": "\x1b[2J\x07\x7f\x9b\u202e\u2028é\n"}
    line = say.json_line(nasty)
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line) == nasty


@pytest.mark.promise("T1")
def test_text_of_peers_is_on_one_line_and_does_nothing() -> None:
    assert say.plain("a\x1b]0;owned\x07\nb\u202e") == "a[U+001B]]0;owned[U+0007] b[U+202E]"


def test_hints_name_commands_instead_of_tools_but_in_a_sandbox(capsys: pytest.CaptureFixture[str]) -> None:
    say.failure(Refused("no", "list_peers shows who is here"), as_json=False)
    say.failure(Sandboxed("no", "use list_peers"), as_json=False)
    assert capsys.readouterr().err.splitlines()[1::2] == [
        "coterie: hint: coterie peers shows who is here",
        "coterie: hint: use list_peers",
    ]


def test_headings_are_bold_on_a_terminal_only_and_not_with_no_color(shell: Shell) -> None:
    shell.ok("send", "me", "hello")
    terminal = {"TERM": "xterm"}
    assert "\x1b[1m" in shell.run("log", terminal=80, env=terminal).out
    for env, how in (
        (terminal | {"NO_COLOR": "1"}, {"terminal": 80}),
        ({"TERM": "dumb"}, {"terminal": 80}),
        (terminal, {}),
    ):
        assert "\x1b" not in shell.run("log", env=env, **how).out


def test_a_reader_that_goes_away_ends_the_command_quietly(shell: Shell) -> None:
    shell.ok("send", "me", "hello")
    for ended in shell.all(["log"], ["peers"], ["status", "--json"], ["nonsense", "--json"], stdout="gone"):
        assert ended.status == 141
        assert "Traceback" not in ended.err
        assert "Exception ignored" not in ended.err


def test_an_output_that_is_full_or_closed_is_a_failure_that_is_told(shell: Shell) -> None:
    full = shell.run("peers", stdout="/dev/full")
    assert full.status == 1
    assert full.err.endswith("coterie: cannot write to standard output: No space left on device\n")
    closed = shell.run("peers", stdout="closed")
    assert closed.status == 1
    assert closed.err.endswith("coterie: cannot write to standard output: it is closed\n")


def test_a_terminal_without_unicode_gets_everything_spelled_out(shell: Shell) -> None:
    shell.ok("send", "me", "caf\u00e9 \u65e5\u672c")
    said = shell.ok("log", env={"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"})
    assert "caf\\xe9 \\u65e5\\u672c" in said


def test_the_width_is_that_of_columns_or_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda _: False)
    for columns, width in (("40", 40), ("3", say.WIDTH_LEAST), ("0", None), ("wide", None), ("", None)):
        monkeypatch.setenv("COLUMNS", columns)
        assert say.width() == width


@pytest.mark.promise("C1")
def test_errors_are_an_object_too_with_the_same_exit_code(shell: Shell) -> None:
    for command, kind, status in (
        (["status"], "unavailable", 3),
        (["send", "nobody", "hi"], "no-match", 1),
        (["send"], "bad-input", 2),
        (["nonsense"], "bad-input", 2),
        (["down"], "no-terminal", 1),
    ):
        ended, plain = shell.all([*command, "--json"], command)
        assert ended.status == status == plain.status
        assert set(parsed(ended.out)["error"]) == {"kind", "message", "hint"}
        assert parsed(ended.out)["error"]["kind"] == kind
        assert ended.err == ""
