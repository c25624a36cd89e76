"""``coterie watch``."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any

import click

from coterie.cli import happenings, say
from coterie.cli.elsewhere import away
from coterie.cli.happenings import LINE_CHARS, Event
from coterie.cli.options import current_folder, examples, json_option
from coterie.cli.peers import does
from coterie.cli.table import flowed
from coterie.cli.times import span
from coterie.client import Client, connect
from coterie.errors import BadInput, Sandboxed, Unavailable
from coterie.frames import one_line
from coterie.limits import LOG_ROWS_MAX

LOOK_S = 1.0
"""While no daemon runs, how often it is looked whether one does: three system calls. Nothing tells of its coming."""
OPEN_MAX = 1_000
"""Messages that are not over whose state is remembered, to tell what became of them while no daemon was heard."""
CATCH_UP_MAX = 1_000
"""Messages read back after that."""
OVER = ("acknowledged", "expired", "refused", "dead")
HERE = "."


@click.command(
    epilog=examples("coterie watch", "coterie watch --peer bob -n 5", "coterie watch --repo", "coterie watch --json")
)
@click.option("--peer", metavar="PEER", help="Only what is about this peer.")
@click.option("--thread", metavar="MESSAGE", help="Only the thread of this message.")
@click.option(
    "--repo", metavar="[DIR]", is_flag=False, flag_value=HERE, help="Only peers in this repository.  [default: here]"
)
@click.option("-n", "--last", type=click.IntRange(0, LOG_ROWS_MAX), default=0, help="Begin with the last messages.")
@json_option
def watch(peer: str | None, thread: str | None, repo: str | None, last: int, as_json: bool) -> None:
    """What happens, as it happens.

    A line each, until Ctrl-C: messages and how far they get, peers that come, go, work and idle, also those that paired
    devices show, and, behind a "!", what a guard refused and what you were told about it. It begins with who is here
    and what is unread.

    When the daemon goes away it waits for the next one, and tells what it missed. With --json every line is an object.
    """
    Watcher({"peer": peer, "thread": thread, "repo": _folder(repo)}, as_json=as_json).run(last)


def _folder(repo: str | None) -> str | None:
    if repo is None:
        return None
    folder = os.path.realpath(os.path.join(current_folder(), repo))
    if not os.path.isdir(folder):
        raise BadInput(f"{repo!r} is no folder", "name one inside the repository")
    return folder


class Watcher:
    """One run of the command: what it wants to hear of, and what it knows already."""

    def __init__(self, wanted: dict[str, Any], *, as_json: bool) -> None:
        self._wanted = wanted
        self._as_json = as_json
        self._upto = 0
        """The number of the newest message that was told of."""
        self._open: dict[str, tuple[int, str]] = {}
        """The number and the last known state of each message that is not over, the oldest first."""

    def run(self, last: int) -> None:
        """Follow, for ever."""
        client = connect("cli")
        self._upto = self._follow(client)
        self._begin(client, last)
        while True:
            try:
                while True:
                    self._tell(client.next_event())
            except Unavailable:
                client.close()
                self._say({"kind": "gone", "at": time.time()})
            client = self._again()

    def _follow(self, client: Client) -> int:
        """Follow, and return the number of the newest message of before."""
        told = client.follow(self._wanted)
        # A peer may get another name, and a prefix another meaning.
        self._wanted = {**self._wanted, "peer": told["peer"], "thread": told["thread"]}
        seq: int = told["seq"]
        return seq

    def _tell(self, event: Event | None) -> None:
        if event is None:
            return
        if event["kind"] == "message" and event["seq"] <= self._upto:
            return  # It was in the log already.
        if event["kind"] in ("message", "receipt"):
            event["past"] = False
            self._remember(event)
        self._say(event)

    def _tell_past(self, event: Event) -> None:
        self._remember(event)
        self._say(event)

    def _remember(self, event: Event) -> None:
        self._upto = max(self._upto, event["seq"])
        if event["state"] in OVER:
            self._open.pop(event["id"], None)
            return
        self._open[event["id"]] = event["seq"], event["state"]
        if len(self._open) > OPEN_MAX:
            del self._open[next(iter(self._open))]

    def _say(self, event: Event) -> None:
        shown = say.json_line(event) if self._as_json else happenings.line(event, say.width())
        if shown is not None:
            say.result(shown)
            say.flush()

    # --- what is now ------------------------------------------------------------------------------------------

    def _begin(self, client: Client, last: int) -> None:
        listing = client.call("peers.list", self._scope())
        me, peers, devices = listing["me"], listing["peers"], listing.get("devices", [])
        if self._wanted["peer"]:
            peers = [*peers, *(card for device in devices for card in device.get("peers", []))]
            peers = [card for card in peers if card["id"] == self._wanted["peer"]]
        devices = [] if self._wanted["peer"] or self._wanted["repo"] else devices
        if self._as_json:
            self._say({"kind": "now", "at": time.time(), "me": me, "peers": peers, "devices": devices})
        else:
            say.result(say.bold(flowed([*_now(me, peers), *map(_there, devices)], say.width())))
            say.flush()
        if last:
            ids = set_of_ids(client, self._wanted["repo"])
            for row in self._log(client, {"limit": last}):
                if _is_of(row, ids):
                    self._tell_past(_event("message", row))

    def _scope(self) -> dict[str, Any]:
        repo = self._wanted["repo"]
        return {"scope": "repo", "cwd": repo} if repo else {"scope": "network", "cwd": "/"}

    # --- after the daemon was away ----------------------------------------------------------------------------

    def _again(self) -> Client:
        """Wait for the next daemon, follow it, and tell what was missed."""
        while True:
            try:
                return self._caught_up(connect("cli", start=False))
            except Sandboxed:
                raise
            except Unavailable:  # Switched off, too: the person may switch it on again.
                time.sleep(LOOK_S)

    def _caught_up(self, client: Client) -> Client:
        try:
            upto = self._follow(client)
            missed, more = self._missed(client, upto)
        except BaseException:
            client.close()
            raise
        self._say({"kind": "back", "at": time.time(), "missed": len(missed), "more": more})
        for event in missed:
            self._tell_past(event)
        self._upto = max(self._upto, upto)
        return client

    def _missed(self, client: Client, upto: int) -> tuple[list[Event], bool]:
        """What the log has that was not told: messages, and what became of those that were. And whether there is
        more than is read back.
        """
        oldest = min((seq for seq, _ in self._open.values()), default=self._upto + 1)
        after = min(oldest - 1, self._upto)
        found: list[dict[str, Any]] = []
        before: int | None = upto + 1
        while before is not None and len(found) < CATCH_UP_MAX:
            page = self._log(client, {"limit": LOG_ROWS_MAX, "after": after, "before": before})
            found = page + found
            before = page[0]["seq"] if page else None
        ids = set_of_ids(client, self._wanted["repo"])
        return [event for row in found if _is_of(row, ids) and (event := self._news(row))], before is not None

    def _news(self, row: dict[str, Any]) -> Event | None:
        """What a message out of the log says that was not told, if anything."""
        if row["seq"] > self._upto:
            return _event("message", row)
        known = self._open.get(row["id"])
        return _event("receipt", row) if known and known[1] != row["state"] else None

    def _log(self, client: Client, params: dict[str, Any]) -> list[dict[str, Any]]:
        narrowed = {key: self._wanted[key] for key in ("peer", "thread")}
        found: list[dict[str, Any]] = client.call("messages.log", {**narrowed, **params, "texts": True})["messages"]
        return found


def set_of_ids(client: Client, repo: str | None) -> set[str] | None:
    """The peers of a repository, those too that are away; None for everybody."""
    if repo is None:
        return None
    listing = client.call("peers.list", {"scope": "repo", "cwd": repo, "everybody": True})
    return {card["id"] for card in listing["peers"]}


KEPT = ("id", "seq", "thread", "reply_to", "from", "from_id", "to", "to_id", "state", "reason", "carrier")


def _is_of(row: dict[str, Any], ids: set[str] | None) -> bool:
    return ids is None or row["from_id"] in ids or row["to_id"] in ids


def _event(kind: str, row: dict[str, Any]) -> Event:
    """A message out of the log, as the event that it was."""
    at = row["accepted_at" if kind == "message" else "changed_at"]
    line = one_line(row["text"], LINE_CHARS)
    return {"kind": kind, "at": at, **{key: row[key] for key in KEPT}, "line": line, "past": True}


def _now(me: dict[str, Any] | None, peers: list[dict[str, Any]]) -> Iterator[str]:
    """Who is here, and what waits."""
    yield f"now {len(peers)} here:" if peers else "nobody is here now"
    for card in peers:
        facts = [say.plain(card["kind"]), *([does(card["busy"])] if card["busy"] is not None else [])]
        yield f"{say.plain(card.get('address', card['name']))} ({', '.join([*facts, *_unread(card)])})"
    if me and me["unread"]:
        yield f"you: {', '.join(_unread(me))}: coterie inbox"


def _there(device: dict[str, Any]) -> str:
    name = say.plain(device["name"])
    return f"{say.count(device['sessions'], 'session')} on {name}" if device["connected"] else f"{name} {away(device)}"


def _unread(card: dict[str, Any]) -> list[str]:
    return [f"{card['unread']} unread for {span(card['oldest_unread_s'] or 0)}"] if card["unread"] else []
