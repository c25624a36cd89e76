"""How an agent was started, read from real processes."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from conftest import must_have
from coterie.agents.command_line import arguments, on_terminal, parent_past_shells

NOBODY = 1 << 30
"""No process has this pid: it is beyond what Linux gives out."""


@pytest.fixture(autouse=True)
def proc() -> None:
    must_have(sys.platform.startswith("linux"), "/proc")


@pytest.fixture
def waiting() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(["cat", "-u"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    process.stdin.write(b"\n")
    process.stdin.flush()
    process.stdout.readline()  # While it is still being started, the kernel knows no command line.
    yield process
    process.communicate()


def test_the_command_line_of_a_process(waiting: subprocess.Popen[bytes]) -> None:
    assert arguments(waiting.pid) == ["cat", "-u"]


def test_of_no_process_nothing_is_known_and_the_usual_is_taken() -> None:
    assert arguments(NOBODY) == []
    assert on_terminal(NOBODY)


def test_a_pipe_is_no_terminal(waiting: subprocess.Popen[bytes]) -> None:
    assert not on_terminal(waiting.pid)


def test_a_terminal_is_one() -> None:
    outer, inner = pty.openpty()
    try:
        process = subprocess.Popen(["sleep", "60"], stdin=inner, stdout=inner)
        assert on_terminal(process.pid)
        process.kill()
        process.wait()
    finally:
        os.close(outer)
        os.close(inner)


@pytest.mark.parametrize("shells", [[], ["sh", "-c"], ["bash", "-c"]])
def test_shells_between_an_agent_and_its_hook_are_looked_past(shells: list[str]) -> None:
    script = "from coterie.agents.command_line import parent_past_shells; print(parent_past_shells())"
    child = [sys.executable, "-P", "-c", script]
    # The second command keeps the shell from making way for the first.
    command = [*shells, '"$0" "$@"; true', *child] if shells else child
    told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert int(told) == os.getpid()


def test_a_row_of_shells_without_end_is_not_followed() -> None:
    script = textwrap.dedent("""
        import coterie.agents.command_line as line
        line._read = lambda pid, name: f"{pid} (bash) S {pid + 1} 0"
        print(line.parent_past_shells())
    """)
    told = subprocess.run([sys.executable, "-P", "-c", script], stdout=subprocess.PIPE, text=True, check=True).stdout
    assert int(told) == os.getpid() + 4


def test_our_own_parent() -> None:
    assert parent_past_shells() > 0
