"""The list of commands, their help, and what they load."""

from __future__ import annotations

import os
from importlib import import_module

import click
import pytest

from cli.conftest import Shell
from cli.detached import COTERIE
from coterie.cli import relay
from coterie.cli.main import ALIASES, COMMANDS, coterie


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.promise("C1")
def test_every_command_has_help_with_an_example_and_json(name: str) -> None:
    entry = COMMANDS[name]
    command = getattr(import_module(f"coterie.cli.{entry.module}"), name)
    context = click.Context(command, info_name=f"coterie {name}")
    text = command.get_help(context)
    assert "Examples:\n" in text
    assert f"    coterie {name}" in text
    assert "--json" in text
    assert command.get_short_help_str(200) == entry.line
    assert max(len(line) for line in text.splitlines()) <= 80


def test_help_lists_the_commands_and_the_exit_codes_without_loading_any(shell: Shell) -> None:
    loaded = "print(*(m for m in sys.modules if m.startswith('coterie.')), file=sys.stderr)"
    ended = shell.after("", "--help", then=loaded)
    assert all(f"\n  {name} " in ended.out for name in COMMANDS)
    assert not any(alias in ended.out for alias in ALIASES)
    for code in ("0    done", "1    refused", "2    wrong usage", "3    the daemon", "4    not yet"):
        assert code in ended.out
    assert set(ended.err.split()) == {
        "coterie.cli",
        "coterie.cli.lazy",
        "coterie.cli.main",
        "coterie.cli.say",
        "coterie.errors",
        "coterie.frames",
        "coterie.limits",
    }
    assert shell.ok() == ended.out


def test_peers_loads_little(shell: Shell) -> None:
    ended = shell.after("", "peers", then="print(*sys.modules, file=sys.stderr)")
    loaded = set(ended.err.split())
    assert "coterie.client" in loaded
    heavy = {"rich", "asyncio", "sqlite3", "ssl", "subprocess", "logging", "psutil", "tempfile", "pathlib", "hashlib"}
    assert not loaded & heavy
    assert not [name for name in loaded if name.startswith(("coterie.daemon", "coterie.store"))]


def test_no_command_imports_the_daemon_or_the_store() -> None:
    for entry in (*COMMANDS.values(), *relay.COMMANDS.values()):
        import_module(f"coterie.cli.{entry.module}")
    allowed = {
        "agents",
        "client",
        "config",
        "settings",
        "errors",
        "limits",
        "ids",
        "files",
        "frames",
        "texts",
        "cli",
        "__version__",
    }
    folder = os.path.dirname(import_module("coterie.cli").__file__ or "")
    for name in sorted(file for file in os.listdir(folder) if file.endswith(".py")):
        with open(os.path.join(folder, name)) as source:
            lines = [line.split() for line in source if line.startswith(("from coterie", "import coterie"))]
        used = {(words[1] + "." + words[3]).split(".")[1] for words in lines}
        assert used <= allowed, name


def test_usage_errors_are_in_our_words_and_exit_2(shell: Shell) -> None:
    cases = (
        (["nonsense"], "no such command 'nonsense'"),
        (["peers", "--scope", "moon"], "coterie peers --help"),
        (["send"], "missing argument 'TO'"),
        (["log", "-n", "0"], "coterie log --help"),
        (["send", "bob", "-v", "hi"], "before a text that begins with a dash write --"),
    )
    for (command, says), ended in zip(cases, shell.all(*(command for command, _ in cases)), strict=True):
        assert (ended.status, ended.out) == (2, ""), command
        assert says in ended.err
        assert all(line.startswith("coterie: ") for line in ended.err.splitlines())


def test_arguments_that_are_not_utf8_are_refused(shell: Shell) -> None:
    shell.place.start()
    ended = shell.run("send", "me", os.fsdecode(b"\xff\xfe"))
    assert ended.status == 2
    assert "not UTF-8" in ended.err


def test_the_version_is_told(shell: Shell) -> None:
    assert shell.ok("--version").startswith("coterie ")


def test_the_group_is_what_the_package_names() -> None:
    assert isinstance(coterie, click.Group)
    assert os.access(COTERIE, os.X_OK)
