"""``coterie log``."""

from __future__ import annotations

import time
from typing import Any

import click

from coterie.cli import say
from coterie.cli.options import examples, json_option
from coterie.cli.table import cut, flowed, quoted
from coterie.cli.times import moment
from coterie.client import connect
from coterie.frames import neutralise
from coterie.limits import LOG_ROWS_MAX

ROWS = 20
MARK = "  | "


@click.command(
    epilog=examples(
        "coterie log", "coterie log --peer bob -n 5", "coterie log --thread m_4t8x --full", "coterie log --before 120"
    ),
)
@click.option("--peer", metavar="PEER", help="Only from and to this peer.")
@click.option("--thread", metavar="MESSAGE", help="Only the thread of this message.")
@click.option("-n", "limit", type=click.IntRange(1, LOG_ROWS_MAX), default=ROWS, show_default=True, help="How many.")
@click.option("--before", type=click.IntRange(min=1), metavar="SEQ", help="Only older ones: to page on.")
@click.option("--full", is_flag=True, help="The whole texts.")
@json_option
def log(peer: str | None, thread: str | None, limit: int, before: int | None, full: bool, as_json: bool) -> None:
    """What was sent, and what became of it.

    The newest comes last. A person sees the messages of everybody on this device, an agent its own.
    """
    found = _fetch({"peer": peer, "thread": thread, "texts": True}, limit, before)
    if as_json:
        say.result_json({"messages": found})
        return
    columns, now = say.width(), time.time()
    for message in found:
        say.result(_heading(message, columns, now))
        say.result(quoted(message["text"], columns) if full else _first_line(message["text"], columns))
    if not found:
        say.result("no messages")
    elif len(found) == limit and found[0]["seq"] > 1:
        say.note(f"older ones: coterie log --before {found[0]['seq']}")


def _fetch(params: dict[str, Any], limit: int, before: int | None) -> list[dict[str, Any]]:
    """The last `limit` messages, oldest first; an answer holds no more than a line does, so there may be several."""
    daemon = connect("cli")
    found: list[dict[str, Any]] = []
    more = True
    while more and len(found) < limit:
        answer = daemon.call("messages.log", {**params, "limit": limit - len(found), "before": before or 0})
        found = answer["messages"] + found
        more = answer["more"] and bool(answer["messages"])
        before = found[0]["seq"] if found else before
    return found


def _heading(message: dict[str, Any], columns: int | None, now: float) -> str:
    who = f"{say.plain(message['from'])} -> {say.plain(message['to'])}"
    reason = say.plain(message["reason"] or "")
    state = f"{message['state']} ({reason})" if reason else message["state"]
    return say.bold(flowed([moment(message["accepted_at"], now), who, state, message["id"]], columns))


def _first_line(text: str, columns: int | None) -> str:
    """The first line that says something; an ellipsis if there is more."""
    lines = [line for line in neutralise(text).split("\n") if line.strip()]
    first = " ".join(lines[0].split()) if lines else ""
    shown = first if columns is None else cut(first, columns - len(MARK) - 2)
    return f"{MARK}{shown}{' …' if len(lines) > 1 and not shown.endswith('…') else ''}"
