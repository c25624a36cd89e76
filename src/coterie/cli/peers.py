"""``coterie peers``."""

from __future__ import annotations

from typing import Any

import click

from coterie.cli import say
from coterie.cli.options import PERSON, current_folder, examples, json_option, short_path
from coterie.cli.table import Column, flowed, table
from coterie.client import connect

SCOPES = ("machine", "directory", "repo")
COLUMNS = (
    Column("NAME", 0),  # Never cut but on its own: it is typed to write to a peer.
    Column("AGENT", 2, least=8),
    Column("STATE", 1),
    Column("ROLE", 7, least=8),
    Column("WHERE", 3, least=12, tail=True),
    Column("REACH", 8),
    Column("UNREAD", 5, right=True),
    Column("ID", 6),
    Column("SUMMARY", 4, least=16),
)
NONE = "-"
"""In a cell with nothing in it, so that columns stay countable for other programs."""


@click.command(
    epilog=examples("coterie peers", "coterie peers --scope repo", "coterie peers --all --json"),
)
@click.option("--scope", type=click.Choice(SCOPES), default=SCOPES[0], help="Whom to list.  [default: machine]")
@click.option("--all", "everybody", is_flag=True, help="Those too that are away or have ended.")
@json_option
def peers(scope: str, everybody: bool, as_json: bool) -> None:
    """Who is here, beginning with you.

    REACH is how a message gets to a peer now: inbox (it is pushed), nudge (its client is told that there is mail),
    hooks (at its next step), tools (when it calls a coterie tool), terminal (a person's), none (it waits).
    """
    cwd = "/" if scope == SCOPES[0] else current_folder()  # The machine is the same wherever one stands.
    params = {"scope": scope, "cwd": cwd, "everybody": everybody}
    listing = connect("cli").call("peers.list", params)
    if as_json:
        say.result_json({"scope": scope, "me": listing["me"], "peers": listing["peers"]})
        return
    say.result(_me(listing["me"]))
    if listing["peers"]:
        _show(listing["peers"])
    else:
        _nobody(scope, everybody)


def _me(card: dict[str, Any] | None) -> str:
    if card is None:
        return "you are a session that is not registered with coterie: nobody can write to you"
    state = "" if card["kind"] == PERSON else f", {say.plain(card['state'])}"
    role = f", role {say.plain(card['role'])}" if card["role"] else ""
    fields = [f"you are {say.plain(card['name'])} ({say.plain(card['kind'])}{state}{role})", card["id"]]
    if card["unread"]:
        fields.append(f"{card['unread']} unread: coterie inbox")
    return flowed(fields, say.width())


def _show(cards: list[dict[str, Any]]) -> None:
    heading, *lines = table(COLUMNS, [_row(card) for card in cards], say.width())
    say.result(say.bold(heading))
    for line in lines:
        say.result(line)


def _row(card: dict[str, Any]) -> list[str]:
    keys = ("name", "kind", "state", "role", "cwd", "reach", "unread", "id", "summary")
    cells = {**card, "cwd": short_path(card["cwd"])}
    return [say.plain(cells[key]) or NONE for key in keys]


def _nobody(scope: str, everybody: bool) -> None:
    where = "on this machine" if scope == SCOPES[0] else f"in this {scope}"
    say.result(f"nobody else is here ({where})")
    say.note("an agent session is here once it has started its coterie-mcp")
    wider = [] if scope == SCOPES[0] else ["coterie peers lists the whole machine"]
    if not everybody:
        wider.append("coterie peers --all lists those who are away, too")
    for line in wider:
        say.note(f"hint: {line}")
