"""Completion at the shell, in real shells."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time

import pytest

from cli.conftest import Shell
from cli.detached import COTERIE
from coterie.cli.main import COMMANDS

# What the shell would offer for a line whose last word is being typed; `compopt` works within a completion only.
BASH = """
compopt() { :; }
eval "$(coterie completion bash)"
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
_coterie_completion coterie
printf '%s\\n' "${COMPREPLY[@]}"
"""
FISH = """
coterie completion fish | source
complete --do-complete "$argv"
"""
ZSH = """
compdef() { }; compadd() { print -l -- "$@" }; _describe() { print -l -- ${(P)3} }
eval "$(coterie completion zsh)"
words=("$@"); CURRENT=$#
_coterie_completion
"""


def offered(shell: Shell, *words: str, program: list[str] | None = None) -> list[str]:
    """What bash offers for the last of the words."""
    environ = {**shell.place.environ, "PATH": f"{os.path.dirname(COTERIE)}:{os.environ['PATH']}"}
    command = program or ["bash", "--norc", "-c", BASH, "bash"]
    ended = subprocess.run([*command, "coterie", *words], env=environ, capture_output=True, text=True, timeout=20)
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return [line for line in ended.stdout.split("\n") if line]


def test_commands_and_options_are_completed(shell: Shell) -> None:
    assert offered(shell, "") == list(COMMANDS)
    assert offered(shell, "in") == ["inbox", "init"]
    assert offered(shell, "log", "--pe") == ["--peer"]
    assert offered(shell, "completion", "") == ["bash", "zsh", "fish"]


def test_names_of_peers_are_completed(shell: Shell) -> None:
    shell.place.start()
    for name in ("web", "webhook", "api"):
        shell.peer(name)
    assert sorted(offered(shell, "send", "we")) == ["web", "webhook"]
    assert sorted(offered(shell, "send", "a")) == ["all", "api"]
    for words in (["kill", "WE"], ["name", "--peer", "we"], ["role", "x", "--peer", "we"], ["log", "--peer", "we"]):
        assert sorted(offered(shell, *words)) == ["web", "webhook"], words


def test_keys_are_completed_where_a_key_belongs(shell: Shell) -> None:
    assert offered(shell, "config", "guards.h") == ["guards.hops"]
    assert offered(shell, "config", "set", "guards.ho") == ["guards.hops"]
    assert offered(shell, "config", "s") == ["summary.prompts", "summary.files", "set"]
    assert offered(shell, "config", "guards.hops", "g") == []
    assert offered(shell, "config", "set", "guards.hops", "g") == []


def test_without_a_daemon_there_are_no_names_and_none_is_started(shell: Shell) -> None:
    assert offered(shell, "kill", "") == []
    assert offered(shell, "send", "") == ["all", "me", "repo"]
    assert os.listdir(shell.place.home.folder) == []


def test_whatever_fails_the_line_is_left_alone(shell: Shell) -> None:
    os.chmod(shell.place.home.folder, 0o755)
    assert offered(shell, "kill", "") == []
    os.chmod(shell.place.home.folder, 0o700)
    shell.place.start()
    shell.ok("down", "--i-am-human")
    assert offered(shell, "kill", "") == []
    os.unlink(shell.place.home.off)
    shell.place.start()
    pid = shell.place.pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert offered(shell, "kill", "") == []
        assert time.monotonic() - began < 10
    finally:
        os.kill(pid, signal.SIGCONT)


def test_the_script_is_printed_and_says_nothing_else(shell: Shell) -> None:
    for name in ("bash", "zsh", "fish"):
        ended = shell.run("completion", name, env={"PATH": "/nowhere"})
        assert (ended.status, ended.err) == (0, "")
        assert "_COTERIE_COMPLETE" in ended.out
        assert shell.json("completion", name) == {"shell": name, "script": ended.out.removesuffix("\n")}
    assert shell.run("completion", "tcsh").status == 2


@pytest.mark.skipif(not shutil.which("zsh"), reason="needs zsh")
def test_zsh_completes(shell: Shell) -> None:
    shell.place.start()
    shell.peer("web")
    assert "web" in " ".join(offered(shell, "send", "we", program=["zsh", "-f", "-c", ZSH, "zsh"]))


@pytest.mark.skipif(not shutil.which("fish"), reason="needs fish")
def test_fish_completes(shell: Shell) -> None:
    shell.place.start()
    shell.peer("web")
    environ = {**shell.place.environ, "PATH": f"{os.path.dirname(COTERIE)}:{os.environ['PATH']}"}
    command = ["fish", "--no-config", "-c", FISH, "coterie send we"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=20)
    assert "web" in ended.stdout.split()
