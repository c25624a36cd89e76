"""``coterie relay``: other devices. The module of a command is loaded when it is used."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

import click

from coterie.cli import say
from coterie.cli.options import examples

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class Entry(NamedTuple):
    """Where a command is, and its line in the list."""

    module: str
    line: str


COMMANDS = {
    "invite": Entry("inviting", "Invite a device: a code that it joins with, once."),
    "join": Entry("joining", "Pair with the device that made an invitation."),
    "pair": Entry("inviting", "Invite by a raw code alone."),
    "accept": Entry("joining", "Pair by a raw code with the device at an address."),
    "peers": Entry("listing", "The paired devices."),
    "status": Entry("listing", "Whether this device listens, who is connected, and what waits."),
    "identity": Entry("listing", "Who this device is."),
    "preview": Entry("listing", "What other devices are shown of the sessions here."),
    "discover": Entry("listing", "Devices in reach."),
    "serve": Entry("linking", "Listen for paired devices, from now on."),
    "connect": Entry("linking", "Keep a link to a paired device."),
    "disconnect": Entry("linking", "Have no link to a device."),
    "rename": Entry("linking", "Call a device otherwise here."),
    "forget": Entry("linking", "Cut a device off now, and refuse its key from now on."),
    "grant": Entry("rights", "Give a device rights here."),
    "revoke": Entry("rights", "Take rights from a device, at once."),
    "ask": Entry("rights", "Ask a device for a right there."),
    "requests": Entry("rights", "What devices ask of you, and what was asked of them."),
    "approve": Entry("rights", "Give what is asked for."),
    "refuse": Entry("rights", "Give nothing, and say so."),
}


class Relay(click.Group):
    """The commands on other devices."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the help."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name, loaded now."""
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command: click.Command = getattr(import_module(f"coterie.cli.relay.{entry.module}"), cmd_name)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """The commands that begin so, without loading any."""
        from click.shell_completion import CompletionItem  # It loads some 3 ms worth of others.

        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        found = [name for name in COMMANDS if name.startswith(incomplete)]
        return [CompletionItem(name, help=COMMANDS[name].line) for name in found]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.line) for name, entry in COMMANDS.items()])


@click.group(
    cls=Relay,
    invoke_without_command=True,
    short_help="Other devices: pair, connect, and say what they may do.",
    epilog=examples("coterie relay invite", "coterie relay join", "coterie relay peers"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def relay(ctx: click.Context) -> None:
    """Other devices of yours, or of people whom you trust: pair with them, and their sessions and yours can talk.

    On one device type: coterie relay invite. On the other: coterie relay join, and then the code that the first shows.
    Every command takes --json.
    """
    if ctx.invoked_subcommand is None:
        say.result(ctx.get_help())
