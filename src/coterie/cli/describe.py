"""``coterie name`` and ``coterie role``."""

from __future__ import annotations

import click

from coterie.cli import say
from coterie.cli.completion import peer_names
from coterie.cli.options import card_of, examples, json_option
from coterie.client import connect
from coterie.errors import BadInput

_peer_option = click.option(
    "--peer",
    metavar="PEER",
    shell_complete=peer_names,
    help="Another peer's: a name or an id. Only a person may set it.",
)


@click.command(
    epilog=examples("coterie name", "coterie name frontend", "coterie name backend --peer p_7f3k"),
)
@click.argument("new", required=False)
@_peer_option
@json_option
def name(new: str | None, peer: str | None, as_json: bool) -> None:
    """Show or set your name, or a peer's.

    Without NEW it shows the name that is set.
    """
    if new is not None and not new.strip():
        raise BadInput("the new name is empty", "a name is letters, digits, dots, dashes and underscores")
    _describe("name", new, peer, as_json=as_json)


@click.command(
    epilog=examples("coterie role", "coterie role reviewer", "coterie role builder --peer bob", 'coterie role ""'),
)
@click.argument("new", required=False)
@_peer_option
@json_option
def role(new: str | None, peer: str | None, as_json: bool) -> None:
    """Show or set your role, or a peer's.

    Without NEW it shows the role that is set; an empty text clears it. Whoever writes to role:reviewer reaches
    every reviewer that is here.
    """
    _describe("role", new, peer, as_json=as_json)


def _describe(what: str, new: str | None, peer: str | None, *, as_json: bool) -> None:
    daemon = connect("cli")
    if new is None:
        card = card_of(daemon, peer)
    elif peer is None:
        card = daemon.call("peers.describe", {what: new})["peer"]
    else:
        card = daemon.call("peers.rename_other", {what: new, "peer": peer})["peer"]
    value = say.plain(card[what])
    if as_json:
        say.result_json({"peer": card})
    elif new is not None:
        whose = "your" if peer is None else f"{card['id']}'s" if what == "name" else f"{say.plain(card['name'])}'s"
        say.result(f"{whose} {what} is {value} now" if value else f"{whose} {what} is cleared")
    elif value:
        say.result(value)
    else:
        say.note(f"no {what} is set")
