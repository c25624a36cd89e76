"""What happened, in one line each: the words of ``coterie watch``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coterie.cli import say
from coterie.cli.options import short_path
from coterie.cli.standing import OFFERED
from coterie.cli.table import GAP, cut
from coterie.cli.times import time_of_day

Event = dict[str, Any]
ALARM = "! "
"""Before what a person should look at; bold besides, where there is bold."""
LINE_CHARS = 200
"""Of a text, what an event shows, as the daemon has it."""
ITSELF = "coterie"
"""The sender of notices; each is told of by an event of its own."""


def line(event: Event, columns: int | None) -> str | None:
    """An event on one line, cut to the terminal; None for what another line says already."""
    words = _BY_KIND[event["kind"]](event) if event["kind"] in _BY_KIND else None
    if words is None:
        return None
    alarm = event["kind"] in ("limit", "notice") or _is_open(event)
    fields = [f"{ALARM if alarm else ''}{time_of_day(event['at'])}", *filter(None, words)]
    shown = GAP.join(fields)
    shown = shown if columns is None else cut(shown, columns)
    return say.bold(shown) if alarm else shown


def _is_open(event: Event) -> bool:
    """Whether it is a request that waits for the person."""
    request = event.get("request") or {}
    return bool(request.get("incoming") and request["state"] == "held")


def _who(event: Event) -> str:
    return f"{say.plain(event['from'])} -> {say.plain(event['to'])}"


def _message(event: Event) -> list[str] | None:
    if event["from_id"] == ITSELF and not event.get("past"):
        return None
    state = "sent" if event["state"] == "queued" else f"sent, {_state(event)}"
    return [_who(event), state, event["id"], f"| {say.plain(event['line'])}"]


def _receipt(event: Event) -> list[str]:
    if event.get("outcome"):
        state = f"not by {event['carrier']}: {say.plain(event['reason'])}"
        return [_who(event), f"{event['state']}, {state}", event["id"]]
    return [_who(event), _state(event), event["id"]]


def _state(event: Event) -> str:
    state, reason = event["state"], say.plain(event["reason"] or "")
    if state == "offered":
        return f"offered {OFFERED.get(event['carrier'] or '', reason)}".rstrip()
    if state == "shown":
        return "shown"
    if state == "acknowledged" and reason.startswith("answered"):
        return reason
    return f"{state} ({reason})" if reason else str(state)


def _limit(event: Event) -> list[str]:
    again = f"again in {event['retry_s']:.0f} s" if event.get("retry_s") is not None else ""
    return [_who(event), f"refused ({event['limit']})", say.plain(event["message"]), again]


def _notice(event: Event) -> list[str]:
    return ["notice to you", say.plain(event["text"]), event["id"]]


def _peer(event: Event) -> list[str]:
    peer = event["peer"]
    told = [_CHANGES[change](event, peer) for change in event["change"]]
    return [f"{say.plain(event['was'])} ({say.plain(peer['kind'])})", "; ".join(told)]


def _came(event: Event, peer: dict[str, Any]) -> str:
    if peer.get("device"):
        return "is there"
    branch = f" on {say.plain(peer['branch'])}" if peer["branch"] else ""
    return f"is here, in {say.plain(short_path(peer['cwd']))}{branch}"


def _device(event: Event) -> list[str] | None:
    device = event["device"]
    words = {**_DEVICE_CHANGES, **_STANDINGS.get(device["standing"], {})}
    name = say.plain(device["name"])
    told = [words[change].format(name=name) for change in event["change"] if change in words]
    return [f"device {name}", "; ".join(told)] if told else None


def _request(event: Event) -> list[str]:
    request = event["request"]
    what = f"a message, {request['message']}" if request["message"] else f"the right {say.plain(request['wanted'])}"
    if request["incoming"]:
        became = "waits for you" if request["state"] == "held" else request["state"]
        return [f"device {say.plain(request['name'])}", f"wants {what}: {became}", request["id"]]
    became = "waits for its person" if request["told"] else "it is asked"
    became = became if request["state"] == "held" else request["state"]
    return [f"device {say.plain(request['name'])}", f"asked for {what}: {became}", request["id"]]


_DEVICE_CHANGES = {
    "came": "is paired with this one",
    "standing": "is paired with this one",
    "name": "is called {name} now",
    "certificate": "has a new key",
    "grants": "has other rights here now: coterie relay peers",
    "connected": "is connected",
    "disconnected": "is not connected any more: mail for it waits here",
}
"""What is told of a change of a device; of its addresses nothing."""
_STANDINGS = {
    "provisional": {"came": "is being paired", "standing": "is being paired"},
    "forgotten": {"standing": "was forgotten", "grants": "has no rights here any more"},
}


_CHANGES: dict[str, Callable[[Event, dict[str, Any]], str]] = {
    "came": _came,
    "away": lambda event, peer: "went away: its mail waits",
    "ended": lambda event, peer: "ended",
    "name": lambda event, peer: f"is called {say.plain(peer['name'])} now",
    "role": lambda event, peer: f"has the role {say.plain(peer['role'])}" if peer["role"] else "has no role now",
    "summary": lambda event, peer: f"does: {say.plain(peer['summary']) or '-'}",
    "branch": lambda event, peer: f"is on {say.plain(peer['branch'])}" if peer["branch"] else "is on no branch",
    "asked": lambda event, peer: f"was asked: {say.plain(peer['asked'])}",
    "busy": lambda event, peer: "works",
    "idle": lambda event, peer: "is idle",
}
_BY_KIND: dict[str, Callable[[Event], list[str] | None]] = {
    "message": _message,
    "receipt": _receipt,
    "limit": _limit,
    "notice": _notice,
    "peer": _peer,
    "device": _device,
    "request": _request,
    "gone": lambda event: ["lost the daemon; waiting until one is there"],
    "back": lambda event: [_back(event)],
}


def _back(event: Event) -> str:
    missed = event["missed"]
    number = f"{say.count(missed, 'line')}{' or more' if event['more'] else ''}"
    rest = "; the rest: coterie log" if event["more"] else ""
    return f"the daemon is back; missed meanwhile: {number if missed else 'nothing'}{rest}"
