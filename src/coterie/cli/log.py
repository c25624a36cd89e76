"""``coterie log`` and ``coterie search``."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import click

from coterie.cli import say
from coterie.cli.completion import known_names
from coterie.cli.lines import first_line, hit_line
from coterie.cli.options import examples, json_option
from coterie.cli.progress import Progress
from coterie.cli.table import flowed, quoted
from coterie.cli.times import moment
from coterie.client import Client, connect
from coterie.limits import LOG_ROWS_MAX

ROWS = 20


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What both commands take."""
    for option in (
        json_option,
        click.option("--full", is_flag=True, help="The whole texts."),
        click.option("--before", type=click.IntRange(min=1), metavar="SEQ", help="Only older ones: to page on."),
        click.option(
            "-n", "limit", type=click.IntRange(1, LOG_ROWS_MAX), default=ROWS, show_default=True, help="How many."
        ),
        click.option("--thread", metavar="MESSAGE", help="Only the thread of this message."),
        click.option("--peer", metavar="PEER", shell_complete=known_names, help="Only from and to this peer."),
    ):
        command = option(command)
    return command


@click.command(
    epilog=examples(
        "coterie log",
        "coterie log --peer bob -n 5",
        "coterie log --thread m_4t8x --full",
        "coterie log --search deploy",
    ),
)
@click.option("--search", "words", metavar="WORDS", help="Only those that hold these words.")
@_options
def log(words: str | None, limit: int, as_json: bool, full: bool, **narrow: Any) -> None:
    """What was sent, and what became of it.

    The newest comes last. A person sees the messages of everybody on this device, an agent its own.

    A message is found if it holds every word of --search, whatever their case and accents; "words in quotes" stand
    side by side, and a * ends the beginning of a word.
    """
    _show(words, limit, narrow, as_json=as_json, full=full)


@click.command(
    epilog=examples("coterie search deploy", 'coterie search "staging server" --peer bob', "coterie search migr*")
)
@click.argument("words", nargs=-1, required=True)
@_options
def search(words: tuple[str, ...], limit: int, as_json: bool, full: bool, **narrow: Any) -> None:
    """Find messages by their words.

    The newest comes last. Each word must be in the message, whatever its case and accents; an argument of several words
    is a phrase, and a * ends the beginning of a word. The same as coterie log --search.
    """
    terms = [f'"{word}"' if " " in word.strip() and '"' not in word else word for word in words]
    _show(" ".join(terms), limit, narrow, as_json=as_json, full=full)


def _show(words: str | None, limit: int, narrow: dict[str, Any], *, as_json: bool, full: bool) -> None:
    found = _fetch(words, limit, narrow)
    if as_json:
        say.result_json({"messages": found})
        return
    columns, now = say.width(), time.time()
    for message in found:
        say.result(_heading(message, columns, now))
        say.result(_text(message, columns, full=full))
    if not found:
        say.result("no messages" if words is None else "no message holds that")
    elif len(found) == limit and found[0]["seq"] > 1:
        say.note(f"older ones: coterie log --before {found[0]['seq']}{' and the same again' if words else ''}")


def _fetch(words: str | None, limit: int, narrow: dict[str, Any]) -> list[dict[str, Any]]:
    """The last `limit` messages, oldest first; an answer holds no more than a line does, so there may be several."""
    daemon = connect("cli")
    found: list[dict[str, Any]] = []
    before, more = narrow["before"], True
    while more and len(found) < limit:
        params = {**narrow, "limit": limit - len(found), "before": before or 0}
        answer = (
            daemon.call("messages.log", {**params, "texts": True}) if words is None else _find(daemon, words, params)
        )
        found = answer["messages"] + found
        more = answer["more"] and bool(answer["messages"])
        before = found[0]["seq"] if found else before
    return found


def _find(daemon: Client, words: str, params: dict[str, Any]) -> dict[str, Any]:
    """One page of what is found. The daemon may have to take in what was sent since somebody searched last."""
    with Progress("taking messages into the index") as progress:
        while True:
            answer: dict[str, Any] = daemon.call("messages.search", {**params, "words": words})
            if not answer["left"]:
                return answer
            progress.at(answer["total"] - answer["left"], answer["total"])


def _heading(message: dict[str, Any], columns: int | None, now: float) -> str:
    who = f"{say.plain(message['from'])} -> {say.plain(message['to'])}"
    reason = say.plain(message["reason"] or "")
    state = f"{message['state']} ({reason})" if reason else message["state"]
    return say.bold(flowed([moment(message["accepted_at"], now), who, state, message["id"]], columns))


def _text(message: dict[str, Any], columns: int | None, *, full: bool) -> str:
    if full:
        return quoted(message["text"], columns)
    return (
        hit_line(message["text"], message["hits"], columns)
        if "hits" in message
        else first_line(message["text"], columns)
    )
