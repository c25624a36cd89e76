"""``coterie completion``, and the names of peers that it completes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from coterie.cli import say
from coterie.cli.options import examples, json_option
from coterie.client import connect
from coterie.errors import CoterieError
from coterie.limits import COMPLETION_S

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_COTERIE_COMPLETE"
"""By which a shell asks this program to complete; click serves it."""
GROUPS = ("all", "me", "repo")
"""Addresses that are nobody's name."""
STATES = ("live", "loaded", "away")
"""Peers that are offered: one that has ended reads nothing."""


@click.command(
    epilog=examples(
        'eval "$(coterie completion bash)"      in ~/.bashrc; for zsh in ~/.zshrc',
        "coterie completion fish | source       in ~/.config/fish/config.fish",
        "coterie completion zsh --json",
    ),
)
@click.argument("shell", type=click.Choice(SHELLS))
@json_option
def completion(shell: str, as_json: bool) -> None:
    """Print what lets your shell complete commands and names.

    Names of peers come from the daemon, if it runs; none is started for it.
    """
    from click.shell_completion import ShellComplete, get_completion_class

    from coterie.cli.main import coterie

    kind = get_completion_class(shell)
    assert kind is not None
    # Not by the class of bash itself, whose source() first asks whatever bash is on PATH for its version.
    script = ShellComplete.source(kind(coterie, {}, "coterie", VARIABLE)).strip("\n")
    if as_json:
        say.result_json({"shell": shell, "script": script})
    else:
        say.result(script)


def peer_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of peers that begin so. Whatever fails, nothing is said: the person is in the middle of a line."""
    from click.shell_completion import CompletionItem

    try:
        daemon = connect("cli", start=False, wait_s=COMPLETION_S, start_s=COMPLETION_S)
        cards = daemon.call("peers.list", {"everybody": True, "cwd": "/"}, COMPLETION_S)["peers"]
    except (CoterieError, OSError):
        return []
    return [
        CompletionItem(card["name"], help=f"{card['kind']}, {card['state']}")
        for card in cards
        if card["state"] in STATES and card["name"].casefold().startswith(incomplete.casefold())
    ]


def addresses(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Whom a message can be sent to."""
    from click.shell_completion import CompletionItem

    groups = [CompletionItem(group) for group in GROUPS if group.startswith(incomplete)]
    return [*peer_names(ctx, param, incomplete), *groups]
