"""What several commands take in the same way."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Protocol

import click

from coterie.errors import BadInput, NoMatch, Refused
from coterie.limits import ID_PREFIX_MIN

json_option: Callable[..., Any] = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object, in ASCII."
)
human_option: Callable[..., Any] = click.option(
    "--i-am-human", is_flag=True, help="For a person without a terminal; it is logged."
)

PERSON = "person"
"""The kind of the peer that stands for a person."""


def examples(*lines: str) -> str:
    r"""An epilog of command lines; the ``\b`` keeps click from filling them into a paragraph."""
    return "\n".join(["\b", "Examples:", *(f"  {line}" for line in lines)])


def current_folder() -> str:
    """Where the command runs. Raises `BadInput` if that folder was removed."""
    try:
        return os.fsencode(os.getcwd()).decode("utf-8", "replace")
    except FileNotFoundError:
        raise BadInput("the folder you are in is no more", "cd to one that is") from None


def short_path(path: str) -> str:
    """`path` with ``~`` for the home folder."""
    home = os.path.expanduser("~")
    if path == home or path.startswith(home.rstrip("/") + "/"):
        return "~" + path[len(home.rstrip("/")) :]
    return path


class Asked(Protocol):
    """Whatever a method can be called on."""

    def call(self, method: str, params: dict[str, Any] | None = None, /) -> Any:
        """Call a method."""


def whoever_asks(daemon: Asked) -> dict[str, Any] | None:
    """The card of the peer that this command speaks for; None in the shell of an agent that is not registered."""
    me: dict[str, Any] | None = daemon.call("peers.list", {"scope": "directory", "cwd": "/"})["me"]
    return me


def card_of(daemon: Asked, peer: str | None) -> dict[str, Any]:
    """The card of the peer with this name, id or beginning of an id; without one, of whoever asks.

    Raises `NoMatch`, and `Refused` if whoever asks is no peer.
    """
    if peer is None:
        me = whoever_asks(daemon)
        if me is None:
            raise Refused(
                "this shell belongs to an agent session that is not registered with coterie",
                "use the coterie tools inside the session, or name a peer: --peer",
            )
        return me
    listing = daemon.call("peers.list", {"everybody": True, "cwd": "/"})
    cards = [card for card in (listing["me"], *listing["peers"]) if card]
    start = "p_" + peer.lower().removeprefix("p_")
    by_id = [card for card in cards if len(start) >= 2 + ID_PREFIX_MIN and card["id"].startswith(start)]
    found: list[dict[str, Any]] = [card for card in cards if card["name"].casefold() == peer.casefold()] or by_id
    if len(found) != 1:
        raise NoMatch(f"{peer[:60]!r} is the name of no single peer", "coterie peers --all lists names and ids")
    return found[0]
