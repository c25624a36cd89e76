"""``coterie inbox``."""

from __future__ import annotations

from typing import Any

import click

from coterie import ids
from coterie.cli import held, say
from coterie.cli.letters import handing_over, letter
from coterie.cli.link import Link
from coterie.cli.options import PERSON, card_of, examples, json_option
from coterie.cli.table import cut
from coterie.frames import ITSELF, SEPARATOR
from coterie.limits import LOG_ROWS_MAX

ROUNDS_MAX = 16
"""Texts of 16 KiB that one command prints. Whoever has more mail than that reads it in portions."""
UNREAD = ("queued", "offered")


@click.command(epilog=examples("coterie inbox", "coterie inbox --peek", "coterie inbox --json"))
@click.option("--peek", is_flag=True, help="List what is unread, a line each, and leave it unread.")
@json_option
def inbox(peek: bool, as_json: bool) -> None:
    """Read your mail.

    What was printed counts as shown. Below it stands what became of the messages you sent, and what other devices ask
    you for.
    """
    link = Link()
    me = card_of(link, None)
    if peek:
        _peek(link, me, as_json=as_json)
    elif as_json:
        _read_json(link, person=me["kind"] == PERSON)
    elif me["kind"] == PERSON:
        _read(link)
    else:
        _read_as_model(link)


def _take(link: Link, call: str) -> dict[str, Any]:
    """A portion of the mail, for the text named `call`."""
    mail: dict[str, Any] = link.call("mail.take", {"call": call, "check": True, "terminal": True})
    return mail


# --- a person -------------------------------------------------------------------------------------------------------


def _read(link: Link) -> None:
    letters, texts, waiting = 0, 0, 1
    while waiting and texts < ROUNDS_MAX:
        call = ids.new_token()
        with handing_over(link, call, person=True):
            mail = _take(link, call)
            parts = _parts(mail, say.width(), first=not texts)
            if parts:
                say.result(("\n" if texts else "") + "\n\n".join(parts))
        letters, texts, waiting = letters + _answerable(mail), texts + bool(parts), mail["waiting"]
        if not mail["letters"]:
            break
    requests = held.waiting(link.call)
    if not texts:
        say.result("no new mail")
    for shown in held.shown(requests, say.width()):
        say.result(f"\n{shown}")
    if letters:
        say.note("to answer: coterie reply ID TEXT")
    if waiting:
        say.note(f"{say.count(waiting, 'message')} more: coterie inbox")


def _parts(mail: dict[str, Any], columns: int | None, *, first: bool) -> list[str]:
    letters = [letter(one, columns) for one in mail["letters"]]
    # What others carry is the same in every portion.
    notes = [_note(text, columns) for text in mail["notes"]] if first else []
    return [*letters, *notes, *_receipts(mail["receipts"])]


def _answerable(mail: dict[str, Any]) -> int:
    """How many messages somebody waits for an answer to: nobody does who was told something by Coterie itself."""
    return sum(one["kind"] != ITSELF for one in mail["letters"])


def _note(text: str, columns: int | None) -> str:
    """A list of headings; how a model would get at the text is left out."""
    first, *headings = text.split("\n")
    why = first.partition(" (for the text")[0]
    return "\n".join([f"{why} (coterie log --full shows it):", *(_clipped(line, columns) for line in headings)])


def _clipped(heading: str, columns: int | None) -> str:
    """A heading on one line of the terminal: what wraps would begin like a line of ours."""
    line = say.plain(heading)
    return line if columns is None else cut(line, columns)


def _receipts(receipts: list[dict[str, Any]]) -> list[str]:
    if not receipts:
        return []
    lines = [f"  {one['id']} to {say.plain(one['to'])}: {_became(one)}" for one in receipts]
    return ["\n".join(["what became of yours:", *lines])]


def _became(receipt: dict[str, Any]) -> str:
    reason = say.plain(receipt["reason"] or "")
    return f"{receipt['state']} ({reason})" if reason else str(receipt["state"])


# --- others ---------------------------------------------------------------------------------------------------------


def _read_as_model(link: Link) -> None:
    """One portion, as a tool result would bring it."""
    call = ids.new_token()
    with handing_over(link, call, person=False):
        mail = _take(link, call)
        parts = [*mail["frames"], *mail["notes"], *_receipts(mail["receipts"])]
        if mail["waiting"]:
            parts.append(f"{say.count(mail['waiting'], 'message')} more: coterie inbox, again")
        say.result(SEPARATOR.join(parts) or "no new mail")


def _read_json(link: Link, *, person: bool) -> None:
    """One portion: `waiting` says how many messages are left for the next."""
    call = ids.new_token()
    requests = held.waiting(link.call) if person else []
    with handing_over(link, call, person=person):
        mail = _take(link, call)
        both = zip(mail["letters"], mail["frames"], strict=True)
        letters = [_public(one, frame, person=person) for one, frame in both]
        kept = {key: mail[key] for key in ("notes", "receipts", "waiting")}
        say.result_json({"letters": letters, **kept, "requests": requests})


def _public(one: dict[str, Any], frame: str, *, person: bool) -> dict[str, Any]:
    """A message for programs. In an agent's session the text stands in its frame only: a model may read it."""
    kept = {key: one[key] for key in ("id", "from", "kind", "thread", "reply_to")}
    return {**kept, "text": one["text"] if person else None, "frame": frame}


def _peek(link: Link, me: dict[str, Any], *, as_json: bool) -> None:
    found = _unread(link, me)
    requests = held.waiting(link.call) if me["kind"] == PERSON else []
    if as_json:
        headings = [{"id": row["id"], "from": row["from"], "heading": row["heading"]} for row in found]
        say.result_json({"unread": headings, "requests": requests})
        return
    say.result(f"{say.count(len(found), 'unread message')}{':' if found else ''}")
    for row in found:
        say.result(_clipped(row["heading"], say.width()))
    if requests:
        say.result(f"{say.count(len(requests), 'request')} of other devices: coterie relay requests")


def _unread(link: Link, me: dict[str, Any]) -> list[dict[str, Any]]:
    """The unread mail of `me`, oldest first, out of the log."""
    found: list[dict[str, Any]] = []
    before = 0
    while len(found) < me["unread"]:
        page = link.call("messages.log", {"peer": me["id"], "limit": LOG_ROWS_MAX, "before": before})["messages"]
        mine = [row for row in page if row["to_id"] == me["id"] and row["state"] in UNREAD]
        found = mine + found
        if len(page) < LOG_ROWS_MAX:
            break
        before = page[0]["seq"]
    return found
