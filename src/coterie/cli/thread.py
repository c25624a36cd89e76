"""``coterie thread``."""

from __future__ import annotations

import time
from typing import Any

import click

from coterie.cli import say
from coterie.cli.lines import first_line
from coterie.cli.options import examples, json_option
from coterie.cli.standing import standing, tries
from coterie.cli.table import GAP, cut, flowed, quoted, wrapped
from coterie.cli.times import moment
from coterie.client import connect

THREAD_MESSAGES_MAX = 1_000
"""Messages that one command reads. Agents are stopped at 60 without a word of a person."""


@click.command(epilog=examples("coterie thread m_4t8x", "coterie thread m_4t8x --full", "coterie thread m_4t8x --json"))
@click.argument("message")
@click.option("--full", is_flag=True, help="The whole texts.")
@json_option
def thread(message: str, full: bool, as_json: bool) -> None:
    """A whole conversation, and why it is not answered.

    Where it comes from, every message of it with where it stands, and what was made of it.

    MESSAGE is any message of it: an id, or the beginning of one. Indented above and below stand the messages that led
    to it and those that were made of it in other threads. An agent sees what is from or to itself.
    """
    found = _fetch(message)
    if as_json:
        say.result_json(found)
        return
    columns, now = say.width(), time.time()
    for line in _lines(found, columns, now, full=full):
        say.result(line)


def _fetch(message: str) -> dict[str, Any]:
    daemon = connect("cli")
    found: dict[str, Any] = daemon.call("messages.thread", {"message": message, "chain": True})
    page = found
    while page["more"] and page["messages"] and len(found["messages"]) < THREAD_MESSAGES_MAX:
        page = daemon.call("messages.thread", {"message": message, "before": page["messages"][0]["seq"]})
        found["messages"] = page["messages"] + found["messages"]
    found["more"] = page["more"] and bool(page["messages"])
    return found


def _lines(found: dict[str, Any], columns: int | None, now: float, *, full: bool) -> list[str]:
    lines = _chain("led to it:", list(_nested(found["causes"])), columns, now)
    if found["more"]:
        lines.append("(older messages of this thread: coterie log --thread)")
    for message in found["messages"]:
        lines += [_heading(message, found["thread"], columns, now)]
        lines += [quoted(message["text"], columns) if full else first_line(message["text"], columns)]
        lines += [part for line in _below(message, now) for part in _folded(f"= {line}", columns)]
    lines += [
        _fitted(f"{say.plain(wait['waiter'])} waits now for {say.plain(wait['for'])}", columns)
        for wait in found["waits"]
    ]
    made = [(row, row["depth"] - 1) for row in found["made"]]
    lines += _chain("made of it in other threads:", made, columns, now)
    if found["made_more"]:
        lines.append(f"{GAP}and more")
    return lines


def _nested(causes: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    """Each cause one step further in than the one before it."""
    return [(row, step) for step, row in enumerate(causes)]


def _chain(title: str, rows: list[tuple[dict[str, Any], int]], columns: int | None, now: float) -> list[str]:
    if not rows:
        return []
    return [say.bold(_fitted(title, columns)), *(_fitted(_link(row, step, now), columns) for row, step in rows)]


def _link(row: dict[str, Any], step: int, now: float) -> str:
    who = f"{say.plain(row['from'])} -> {say.plain(row['to'])}"
    return GAP * (step + 1) + GAP.join([row["id"], moment(row["accepted_at"], now), who, row["state"], _said(row)])


def _said(row: dict[str, Any]) -> str:
    """The beginning of a text, out of the heading that every carrier shows."""
    return say.plain(row["line"])


def _heading(message: dict[str, Any], about: str, columns: int | None, now: float) -> str:
    who = f"{say.plain(message['from'])} -> {say.plain(message['to'])}"
    answers = [f"answers {message['reply_to']}"] if message["reply_to"] else []
    fields = [moment(message["accepted_at"], now), who, message["state"], message["id"], *answers]
    return say.bold(flowed(fields, columns))


def _below(message: dict[str, Any], now: float) -> list[str]:
    """Where it stands, what was tried in vain, and whom it came through."""
    others = {peer["id"] for peer in message["path"]} - {message["from_id"], message["to_id"]}
    through = [say.plain(peer["name"]) for peer in message["path"]]
    because = message["cause"] if message["cause"] != message["reply_to"] else None
    return [
        standing(message, now),
        *tries(message, now),
        *([f"came through {' -> '.join(through)}"] if others else []),
        *([f"because of {because}"] if because else []),
    ]


def _folded(line: str, columns: int | None) -> list[str]:
    """A line of ours below a heading; on a narrow terminal, on several."""
    if columns is None:
        return [GAP + line]
    return [GAP + part for part in wrapped(line, columns - len(GAP))]


def _fitted(line: str, columns: int | None) -> str:
    return line if columns is None else cut(line, columns)
