"""A group of commands of which the module is loaded when one is used."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Entry(NamedTuple):
    """Where a command of that name is, and its line in the list of commands, for which nothing needs to be loaded."""

    module: str
    """Below coterie.cli."""
    line: str


class LazyGroup(click.Group):
    """What a group needs of its commands before one is used comes from their entries."""

    entries: Mapping[str, Entry] = {}
    """The commands, in the order of the help."""
    aliases: Mapping[str, str] = {}
    """Names that are understood and not listed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the help."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, loaded now."""
        name = self.aliases.get(cmd_name, cmd_name)
        entry = self.entries.get(name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(f"coterie.cli.{entry.module}"), name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so, without loading any."""
        from click.shell_completion import CompletionItem  # It loads some 3 ms worth of others.

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        found = [name for name in self.entries if name.startswith(incomplete)]
        return [CompletionItem(name, help=self.entries[name].line) for name in found]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.line) for name, entry in self.entries.items()])
