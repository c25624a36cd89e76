"""``coterie doctor --live``: a message to each session, the ordinary way, and what became of it."""

from __future__ import annotations

import time
from typing import Any, NamedTuple

from coterie import ids
from coterie.agents.installs.checks.finding import Finding, note, ok, trouble
from coterie.cli.deliver import deliver
from coterie.cli.doctor.sessions import CARRIERS
from coterie.cli.link import Link
from coterie.errors import CoterieError
from coterie.limits import SETTLE_S

TEXT = "coterie doctor: a test message, no answer needed"
LIFE_MORE_S = 60.0
"""How much longer than the wait the message lives. Read an hour later it would mean nothing."""
LOOK_S = 0.2
"""Between two looks at the messages that are not shown yet."""
SEEN, ON_ITS_WAY = ("shown", "acknowledged"), ("queued", "offered")
BY_THEMSELVES = ("inbox", "nudge")
"""Ways by which a message reaches an idle session without its doing."""


class Sent(NamedTuple):
    """A message on its way."""

    message: str
    at: float
    """When it was sent, by the monotonic clock."""


def live(sessions: list[dict[str, Any]], wait_s: float) -> dict[str, Finding]:
    """Write to each session, and wait for the evidence. What was found, by the id of the peer."""
    found: dict[str, Finding] = {}
    try:
        link = Link()
        sent = _send_all(link, sessions, wait_s, found)
        deadline = time.monotonic() + wait_s
        while len(found) < len(sessions):
            late = time.monotonic() >= deadline
            _look(link, sessions, sent, found, wait_s, late=late)
            if not late:
                time.sleep(LOOK_S)
    except CoterieError as error:
        for told in sessions:
            found.setdefault(told["id"], trouble("live", error.message, error.hint))
    return found


def _send_all(link: Link, sessions: list[dict[str, Any]], wait_s: float, found: dict[str, Finding]) -> dict[str, Sent]:
    sent: dict[str, Sent] = {}
    for told in sessions:
        try:
            sent[told["id"]] = _send(link, told["id"], wait_s)
        except CoterieError as error:
            found[told["id"]] = trouble("live", f"nothing could be sent: {error.message}", error.hint)
    return sent


def _look(
    link: Link,
    sessions: list[dict[str, Any]],
    sent: dict[str, Sent],
    found: dict[str, Finding],
    wait_s: float,
    *,
    late: bool,
) -> None:
    """Note of which messages something can be said by now."""
    for told in sessions:
        peer = told["id"]
        if peer not in found:
            row = _row(link, sent[peer].message)
            finding = _settled(sent[peer], row)
            if late and not finding:
                finding = _not_shown(_now(link, told), row, wait_s)
            if finding:
                found[peer] = finding


def _now(link: Link, told: dict[str, Any]) -> dict[str, Any]:
    """What is known of a session by now."""
    sessions: list[dict[str, Any]] = link.call("doctor.sessions")["sessions"]
    return next((session for session in sessions if session["id"] == told["id"]), told)


def _send(link: Link, peer: str, wait_s: float) -> Sent:
    message = ids.new_message_id()
    params = {"id": message, "to": peer, "text": TEXT, "life_s": wait_s + LIFE_MORE_S, "settle_s": SETTLE_S}
    at = time.monotonic()
    deliver(link, params, 0)
    return Sent(message, at)


def _row(link: Link, message: str) -> dict[str, Any]:
    row: dict[str, Any] = link.call("messages.log", {"thread": message, "limit": 1})["messages"][0]
    return row


def _settled(sent: Sent, row: dict[str, Any]) -> Finding | None:
    """What can be said of a message whose way has ended."""
    message, state = sent.message, row["state"]
    if state in SEEN:
        by = CARRIERS.get(row["carrier"], row["carrier"])
        return ok("live", f"{message} was shown after {time.monotonic() - sent.at:.1f} s, by {by}")
    if state not in ON_ITS_WAY:
        return trouble("live", f"{message} is {state}: {row['reason']}", f"coterie log --thread {message}")
    return None


def _not_shown(told: dict[str, Any], row: dict[str, Any], wait_s: float) -> Finding:
    """What is said when nobody waits any longer; `told` is how the session is now."""
    message, reach = row["id"], told["reach"]
    if row["state"] == "offered":
        by = CARRIERS.get(row["carrier"], row["carrier"])
        evidence = f"{message} was offered by {by}, and not confirmed within {wait_s:g} s"
    else:
        evidence = f"{message} is queued after {wait_s:g} s"
    if told["nudge_failure"]:
        return trouble("live", f"{evidence}: {told['nudge_failure']}", "end that session, and resume it")
    if told["busy"]:
        return note("live", f"{evidence}: it is in the middle of a turn", "try again when it is idle")
    if reach in BY_THEMSELVES:
        return trouble("live", evidence, "look at its window")
    if reach == "none":
        return trouble("live", f"{evidence}: nothing reaches it", "end that session, and resume it")
    how = "at its next step" if reach == "hooks" else "when it calls a coterie tool"
    return note("live", f"{evidence}: it comes {how}", "type something in its window, and try again")
