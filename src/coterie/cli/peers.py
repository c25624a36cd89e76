"""``coterie peers``."""

from __future__ import annotations

from typing import Any

import click

from coterie.cli import say
from coterie.cli.elsewhere import sections
from coterie.cli.options import PERSON, current_folder, examples, json_option, short_path
from coterie.cli.sizes import memory, percent
from coterie.cli.table import Column, flowed, table
from coterie.cli.times import span
from coterie.client import connect

SCOPES = ("network", "machine", "directory", "repo")
EVERYWHERE = ("network", "machine")
"""Scopes that are the same wherever one stands."""
COLUMNS = (
    Column("NAME", 0),  # Never cut but on its own: it is typed to write to a peer.
    Column("AGENT", 5, least=6),
    Column("STATE", 1),
    Column("DOES", 2),
    Column("UNREAD", 3, right=True),
    Column("WAITS", 9, right=True),
    Column("REACH", 6),
    Column("SIGN", 12, right=True),
    Column("CPU", 7, right=True),
    Column("MEM", 8, right=True),
    Column("ROLE", 11, least=8),
    Column("WHERE", 10, least=12, tail=True),
    Column("BRANCH", 13, least=8),
    Column("ID", 14),
    Column("SUMMARY", 4, least=20),
)
NONE = "-"
"""In a cell with nothing in it, so that columns stay countable for other programs."""
UNKNOWN = dict.fromkeys(
    (
        "oldest_unread_s",
        "branch",
        "busy",
        "heard_s",
        "cpu_percent",
        "cpu_over_s",
        "memory_bytes",
        "processes",
        "shared_by",
    )
)
TOTAL = {"cpu_percent": None, "memory_bytes": 0, "processes": 0}
SHARED = "*"
"""Behind what the processes of several sessions take together."""


@click.command(
    epilog=examples("coterie peers", "coterie peers --scope repo", "coterie peers --all --json"),
)
@click.option("--scope", type=click.Choice(SCOPES), default=SCOPES[0], help="Whom to list.  [default: network]")
@click.option("--all", "everybody", is_flag=True, help="Those too that are away or have ended.")
@json_option
def peers(scope: str, everybody: bool, as_json: bool) -> None:
    """Who is here, beginning with you. Then who is on the devices that this one is paired with.

    REACH is how a message gets to a peer now: inbox (it is pushed), nudge (its client is told that there is mail),
    hooks (at its next step), tools (when it calls a coterie tool), terminal (a person's), none (it waits).

    DOES says whether it works or idles, where hooks tell. WAITS is how long its oldest unread message waits, SIGN how
    long ago it gave its last sign. CPU is the share of one core since you last looked, MEM the resident memory; both
    are those of its process and all below it, with a * where several sessions share them.

    Scope network is this machine and, in a section each, the paired devices, as far as they show their sessions. To
    write to one of them: coterie send NAME@DEVICE.

    On a narrow terminal the columns that say least are left out; a wide one, a pipe and --json have all.
    """
    cwd = "/" if scope in EVERYWHERE else current_folder()
    params = {"scope": scope, "cwd": cwd, "everybody": everybody, "usage": True}
    listing = _known(connect("cli").call("peers.list", params))
    if as_json:
        say.result_json({"scope": scope, **{key: listing[key] for key in ("me", "peers", "total", "devices")}})
        return
    say.result(_me(listing["me"]))
    if listing["peers"]:
        _show(listing)
    else:
        _nobody(scope, everybody)
    if scope == "network":
        for line in sections(listing["devices"], say.width()):
            say.result(line)


def _known(listing: dict[str, Any]) -> dict[str, Any]:
    """A listing with all its keys: a daemon from before an upgrade knows less."""
    me = {**UNKNOWN, **listing["me"]} if listing["me"] else None
    return {
        "me": me,
        "peers": [{**UNKNOWN, **card} for card in listing["peers"]],
        "total": listing.get("total", TOTAL),
        "devices": listing.get("devices", []),
    }


def _me(card: dict[str, Any] | None) -> str:
    if card is None:
        return "you are a session that is not registered with coterie: nobody can write to you"
    state = "" if card["kind"] == PERSON else f", {say.plain(card['state'])}"
    role = f", role {say.plain(card['role'])}" if card["role"] else ""
    fields = [f"you are {say.plain(card['name'])} ({say.plain(card['kind'])}{state}{role})", card["id"]]
    if card["unread"]:
        fields.append(f"{card['unread']} unread for {span(card['oldest_unread_s'] or 0)}: coterie inbox")
    return flowed(fields, say.width())


def _show(listing: dict[str, Any]) -> None:
    heading, *lines = table(COLUMNS, [_row(card) for card in listing["peers"]], say.width())
    say.result(say.bold(heading))
    for line in lines:
        say.result(line)
    say.result(flowed(_sums(listing), say.width()))


def _row(card: dict[str, Any]) -> list[str]:
    shared = SHARED if (card["shared_by"] or 0) > 1 else ""
    cells = {
        **card,
        "cwd": short_path(card["cwd"]),
        # The branch has a column of its own, where there is room for it.
        "summary": card["summary"].removeprefix(f"on {card['branch']}; "),
        "does": does(card["busy"]),
        "waits": NONE if card["oldest_unread_s"] is None else span(card["oldest_unread_s"]),
        "sign": NONE if card["heard_s"] is None else span(card["heard_s"]),
        "cpu": percent(card["cpu_percent"]) + shared * (card["cpu_percent"] is not None),
        "mem": memory(card["memory_bytes"]) + shared,
    }
    keys = ("name", "kind", "state", "does", "unread", "waits", "reach", "sign", "cpu", "mem", "role", "cwd", "branch")
    return [say.plain(NONE if cells[key] is None else cells[key]) or NONE for key in (*keys, "id", "summary")]


def does(busy: bool | None) -> str:
    """Whether a session works, in a word."""
    return NONE if busy is None else "works" if busy else "idle"


def _sums(listing: dict[str, Any]) -> list[str]:
    cards, total = listing["peers"], listing["total"]
    states = [card["state"] for card in cards]
    by_state = ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))
    unread = [card for card in cards if card["unread"]]
    waits = f" for {span(max(card['oldest_unread_s'] or 0 for card in unread))}" if unread else ""
    works = sum(card["busy"] is True for card in cards)
    return [
        f"{say.count(len(cards), 'peer')}: {by_state}",
        *([f"{works} at work"] if works else []),
        f"{sum(card['unread'] for card in cards)} unread{waits}",
        *([f"cpu {percent(total['cpu_percent'])}"] if total["cpu_percent"] is not None else []),
        *([f"memory {memory(total['memory_bytes'])} in {processes(total)}"] if total["processes"] else []),
    ]


def processes(total: dict[str, Any]) -> str:
    """``1 process``, ``2 processes``."""
    return f"{total['processes']} process{'es' * (total['processes'] != 1)}"


def _nobody(scope: str, everybody: bool) -> None:
    where = "on this machine" if scope in EVERYWHERE else f"in this {scope}"
    say.result(f"nobody else is here ({where})")
    say.note("an agent session is here once it has started its coterie-mcp")
    wider = [] if scope in EVERYWHERE else ["coterie peers lists the whole machine"]
    if not everybody:
        wider.append("coterie peers --all lists those who are away, too")
    for line in wider:
        say.note(f"hint: {line}")
