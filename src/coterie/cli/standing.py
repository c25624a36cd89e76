"""Where a message stands, and why there is no answer to it yet, in plain words.

What is said of the future is what the daemon knows now: a session that is away may come back another way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from coterie.cli import say
from coterie.cli.times import ago, moment, span

NUDGED = {
    "started": "its client was told and began a turn",
    "steered": "its client was told in the middle of its turn",
    "queued": "its client was told and keeps it for the end of its turn",
}
OFFERED = {
    "inbox": "through its inbox",
    "wait": "as the answer that it waits for",
    "hook": "by a hook",
    "tool": "with the result of a tool",
    "terminal": "at its terminal",
}
Known = dict[str, Any]


def standing(message: Known, now: float) -> str:
    """How far a message got, and what it waits for."""
    words = _BY_STATE.get(message["state"])
    return words(message, now) if words else _over(message, now)


def _over(message: Known, now: float) -> str:
    reason = say.plain(message["reason"] or "")
    if reason.startswith("answered by "):
        return f"answered {ago(now - message['changed_at'])} by {reason.removeprefix('answered by ')}"
    return f"{message['state']} {ago(now - message['changed_at'])}{f': {reason}' if reason else ''}"


def _queued(message: Known, now: float) -> str:
    return f"waits for {span(now - message['accepted_at'])}: {_why_queued(message, now)}{_kept(message, now)}"


def _why_queued(message: Known, now: float) -> str:
    name, known = say.plain(message["to"]), message["recipient"]
    if known.get("there"):
        return there(known["there"])
    if known["state"] == "away":
        return f"{name} is away since {moment(known['since'], now)}"
    if known["state"] == "ended":
        return f"{name} has ended"
    under_way = next((offer for offer in message["offers"] if offer["outcome"] == "open"), None)
    if under_way:
        return f"it is on its way {OFFERED.get(under_way['carrier'], '')}".rstrip()
    if known["nudge"]:
        return f"{NUDGED[known['nudge']]}, and did not fetch it yet"
    if known["nudge_failure"]:
        return say.plain(known["nudge_failure"])
    return "; ".join([reached(known["reach"], name), *_doing(message, now)])


def there(known: Known) -> str:
    """Where a queued message is that goes to another device."""
    device = say.plain(known["device"])
    if known["held"]:
        return f"stored on {device}, held for the person there"
    if known["stored"]:
        return f"stored on {device}"
    if known["connected"]:
        return f"about to go to {device}"
    unseen_s = known["unseen_s"]
    return f"waits here for {device} (not connected{f' for {span(unseen_s)}' if unseen_s is not None else ''})"


def reached(reach: str, name: str) -> str:
    """When a queued message gets to the peer called `name`, who is reached so (``coterie peers``: REACH)."""
    ways = {
        "terminal": f"{name} reads it with coterie inbox",
        "inbox": f"its inbox is full until {name} reads",
        "nudge": f"{name} is about to be told of it",
        "hooks": f"{name} gets it at its next step or prompt, or when it calls a coterie tool",
        "tools": f"{name} looks when it calls a coterie tool",
    }
    return ways.get(reach, f"nothing reaches {name} now")


def _kept(message: Known, now: float) -> str:
    return f"; kept until {moment(message['expires_at'], now)}"


def _offered(message: Known, now: float) -> str:
    offer = next((offer for offer in reversed(message["offers"]) if offer["outcome"] == "open"), None)
    way = OFFERED.get(message["carrier"] or message["reason"], "")
    at = f" {ago(now - offer['opened_at'])}" if offer else ""
    return "; ".join([f"offered {way}{at}, no sign yet that it was read".replace("  ", " "), *_doing(message, now)])


def _shown(message: Known, now: float) -> str:
    return "; ".join([f"shown {ago(now - message['changed_at'])}, not answered", *_doing(message, now)])


def _doing(message: Known, now: float) -> Iterator[str]:
    """What its recipient does now, as far as that is known."""
    name, known = say.plain(message["to"]), message["recipient"]
    elsewhere = known.get("there")
    if elsewhere and not elsewhere["connected"]:
        yield f"{say.plain(elsewhere['device'])} is not connected"
    elif known["state"] == "away":
        yield f"{name} is away since {moment(known['since'], now)}"
    elif known["state"] == "ended":
        yield f"{name} has ended"
    elif known["busy"]:
        yield f"{name} is at work"
    elif known["busy"] is False:
        yield f"{name} is idle, last sign {ago(now - known['heard'])}" if known["heard"] else f"{name} is idle"
    elif known["heard"] is not None:
        yield f"last sign of {name} {ago(now - known['heard'])}"


_BY_STATE: dict[str, Callable[[Known, float], str]] = {"queued": _queued, "offered": _offered, "shown": _shown}


def tries(message: Known, now: float) -> list[str]:
    """The attempts to bring a message that came to nothing, a line each."""
    return [
        f"{offer['carrier']} at {moment(offer['opened_at'], now)}: {offer['outcome']}"
        f"{': ' + say.plain(offer['reason']) if offer['reason'] else ''}"
        for offer in message["offers"]
        if offer["outcome"] in ("failed", "lapsed")
    ]
