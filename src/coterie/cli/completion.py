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
    """The names of peers of this device that begin so."""
    return _names(incomplete, elsewhere=False)


def known_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The same, and those of peers of other devices, with their devices."""
    return _names(incomplete, elsewhere=True)


def _names(incomplete: str, *, elsewhere: bool) -> list[CompletionItem]:
    """Whatever fails, nothing is said: the person is in the middle of a line."""
    from click.shell_completion import CompletionItem

    try:
        daemon = connect("cli", start=False, wait_s=COMPLETION_S, start_s=COMPLETION_S)
        asked = {"everybody": True, "cwd": "/", "scope": "network"}
        listing = daemon.call("peers.list", asked, COMPLETION_S)
    except (CoterieError, OSError):
        return []
    devices = [device for device in listing.get("devices", []) if elsewhere]
    cards = [*listing["peers"], *(card for device in devices for card in device["peers"])]
    return [
        CompletionItem(called, help=f"{card['kind']}, {card['state']}")
        for card in cards
        if (called := card.get("address", card["name"])).casefold().startswith(incomplete.casefold())
        and card["state"] in STATES
    ]


def addresses(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Whom a message can be sent to."""
    from click.shell_completion import CompletionItem

    groups = [CompletionItem(group) for group in GROUPS if group.startswith(incomplete)]
    return [*known_names(ctx, param, incomplete), *groups]


def device_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The names of paired devices that begin so. Whatever fails, nothing is said."""
    from click.shell_completion import CompletionItem

    try:
        daemon = connect("cli", start=False, wait_s=COMPLETION_S, start_s=COMPLETION_S)
        devices = daemon.call("relay.peers", {}, COMPLETION_S)["devices"]
    except (CoterieError, OSError):
        return []
    return [
        CompletionItem(device["name"], help=device["short"])
        for device in devices
        if device["name"].casefold().startswith(incomplete.casefold())
    ]


def right_names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The rights that begin so."""
    from click.shell_completion import CompletionItem

    from coterie.devices import Grant

    return [CompletionItem(grant.value) for grant in Grant if grant.value.startswith(incomplete.casefold())]


def request_ids(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The requests that wait for the person here. Whatever fails, nothing is said."""
    from click.shell_completion import CompletionItem

    try:
        daemon = connect("cli", start=False, wait_s=COMPLETION_S, start_s=COMPLETION_S)
        requests = daemon.call("relay.requests", {}, COMPLETION_S)["requests"]
    except (CoterieError, OSError):
        return []
    return [
        CompletionItem(request["id"], help=f"{request['name']}: {request['wanted']}")
        for request in requests
        if request["incoming"] and request["state"] == "held" and request["id"].startswith(incomplete)
    ]
