"""How mail is shown, to a person as letters and to a model in the frames that it knows; and when it counts as shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coterie.cli import say
from coterie.cli.link import Link
from coterie.cli.table import flowed, quoted
from coterie.errors import CoterieError, Unavailable
from coterie.frames import ITSELF

KINDS = {"visitor": "a person there"}
"""Kinds that a person knows by other words: a visitor is a person of another device, as that device says."""


def letter(mail: dict[str, Any], columns: int | None) -> str:
    """One message for a person: who, which, and the text, quoted."""
    itself = mail["kind"] == ITSELF
    kind = KINDS.get(mail["kind"], say.plain(mail["kind"]))
    sender = "notice of coterie itself" if itself else f"from {say.plain(mail['from'])} ({kind})"
    fields = [sender, mail["id"]]
    if mail["reply_to"]:
        fields.append(f"answers {mail['reply_to']}")
    if mail["thread"] != mail["id"]:
        fields.append(f"thread {mail['thread']}")
    return under(fields, mail["text"], columns)


def under(fields: list[str], text: str, columns: int | None) -> str:
    """A peer's text, quoted, below a heading of ours."""
    return f"{say.bold(flowed(fields, columns))}\n{quoted(text, columns)}"


@contextmanager
def handing_over(link: Link, call: str, *, person: bool) -> Iterator[None]:
    """While the text named `call` is taken and printed. Once it is out it counts as shown, and not before; if it does
    not get out, whatever the reason, it stays unread.

    What an agent's shell prints may never reach its model, so there it counts as written, and the daemon waits for
    evidence.
    """
    try:
        yield
        say.flush()
    except Unavailable:
        raise  # Nobody is there to be told.
    except BaseException:
        _give_back(link, call)
        raise
    try:
        if person:
            link.call("mail.shown", {"call": call})
        else:
            link.call("mail.written", {"calls": [call]})
    except CoterieError as error:
        raise type(error)(f"{error.message}; what is printed above may come again", error.hint) from None


def _give_back(link: Link, call: str) -> None:
    try:
        link.call("mail.failed", {"call": call})
    except CoterieError as error:
        say.note(f"mail was not printed, and may count as read ({error.message}): coterie log --full")
