"""``coterie``: the list of commands, and what every error becomes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import takewhile

import click

from coterie import __version__
from coterie.cli import say
from coterie.cli.lazy import Entry, LazyGroup
from coterie.errors import BadInput, CoterieError

COMMANDS = {
    "peers": Entry("peers", "Who is here, beginning with you."),
    "send": Entry("send", "Send a message, and say how far it got."),
    "inbox": Entry("inbox", "Read your mail."),
    "reply": Entry("send", "Answer a message."),
    "log": Entry("log", "What was sent, and what became of it."),
    "search": Entry("log", "Find messages by their words."),
    "thread": Entry("thread", "A whole conversation, and why it is not answered."),
    "watch": Entry("watch", "What happens, as it happens."),
    "name": Entry("describe", "Show or set your name, or a peer's."),
    "role": Entry("describe", "Show or set your role, or a peer's."),
    "relay": Entry("relay", "Other devices: pair, connect, and say what they may do."),
    "init": Entry("init", "Set up the agents on this machine, or take it back."),
    "doctor": Entry("doctor", "What really works, and what to do about the rest."),
    "kill": Entry("kill", "End the session of a peer."),
    "config": Entry("config", "Every setting, its value and where that comes from; set one."),
    "export": Entry("export", "Write peers and messages as JSON lines."),
    "backup": Entry("backup", "Copy the database, while it is used."),
    "restore": Entry("restore", "Put a copy of the database in its place."),
    "status": Entry("status", "How the daemon is, and where its files are."),
    "up": Entry("power", "Switch coterie on, and start its daemon."),
    "down": Entry("power", "Switch coterie off on this machine, until: coterie up."),
    "completion": Entry("completion", "Print what lets your shell complete commands and names."),
}
ALIASES = {"kill-broker": "down"}
"""Names that other systems have for a command; understood and not listed."""


class Commands(LazyGroup):
    """The commands."""

    entries, aliases = COMMANDS, ALIASES


def _exit_codes() -> str:
    return "\n".join(["\b", "Exit codes:", *(f"  {code:<4} {meaning}" for code, meaning in say.EXIT_CODES)])


@click.group(
    cls=Commands,
    invoke_without_command=True,
    epilog=_exit_codes(),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, prog_name="coterie", message="%(prog)s %(version)s")
@click.pass_context
def coterie(ctx: click.Context) -> None:
    """Let the coding agents on this machine find each other and talk.

    Every command takes --json.
    """
    if ctx.invoked_subcommand is None:
        say.result(ctx.get_help())


def main() -> int:
    """Run the command line. Returns the exit code."""
    say.prepare()
    arguments = sys.argv[1:]
    as_json = "--json" in takewhile(lambda argument: argument != "--", arguments)
    try:
        try:
            return _run(arguments)
        except CoterieError as error:
            return say.failure(error, as_json=as_json)
    except say.OutputGone as gone:
        return say.output_gone(gone)
    except KeyboardInterrupt:
        return say.INTERRUPTED


def _run(arguments: Sequence[str]) -> int:
    """Run a command to its end. Raises `CoterieError` whatever went wrong."""
    try:
        status = coterie.main(args=arguments, prog_name="coterie", standalone_mode=False)
    except click.UsageError as error:
        raise _usage(error) from None
    except click.Abort:  # Ctrl-C, where the command has nothing to say about it.
        return say.INTERRUPTED
    except UnicodeEncodeError:
        raise BadInput("the arguments are not UTF-8", "write the text in UTF-8") from None
    except OSError as error:
        raise CoterieError(f"the system refused: {error}", "coterie status says where everything is") from error
    say.flush()
    return int(status or say.DONE)


def _usage(error: click.UsageError) -> BadInput:
    """A usage error in our words."""
    message = error.format_message().strip().rstrip(".")
    message = message[:1].lower() + message[1:]
    path = error.ctx.command_path if error.ctx else "coterie"
    hint = f"{path} --help"
    if isinstance(error, click.NoSuchOption) and path.endswith(("send", "reply")):
        hint = f"{hint}; before a text that begins with a dash write --"
    return BadInput(message, hint)
