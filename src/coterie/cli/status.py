"""``coterie status``."""

from __future__ import annotations

from typing import Any

import click

from coterie import __version__
from coterie.cli import say
from coterie.cli.options import examples, json_option
from coterie.cli.times import span
from coterie.client import connect


@click.command(epilog=examples("coterie status", "coterie status --json"))
@json_option
def status(as_json: bool) -> None:
    """How the daemon is, and where its files are.

    Starts nothing: without a daemon it says so and exits 3.
    """
    found = connect("cli", start=False).call("daemon.status")
    if as_json:
        say.result_json({"running": True, **found})
        return
    for label, value in _lines(found):
        say.result(f"{label:<10}{say.plain(value)}")


def _lines(found: dict[str, Any]) -> list[tuple[str, str]]:
    other = "" if found["version"] == __version__ else f" (this command is {__version__})"
    troubles = found.get("troubles") or [trouble for trouble in [found["trouble"]] if trouble]  # An older daemon's.
    return [
        ("daemon", f"running, pid {found['pid']}, for {span(found['up_s'])}"),
        *(("trouble", f"{trouble['message']}; {trouble['hint']}") for trouble in troubles),
        ("version", f"{found['version']}{other}, protocol {found['protocol']}, schema {found['schema']}"),
        ("peers", _counts(found["peers"])),
        ("messages", _counts(found["messages"])),
        *(("unread", _waiting(unread)) for unread in [found.get("unread")] if unread and unread["messages"]),
        *(("relay", _relay(relay)) for relay in [found.get("relay")] if relay),
        *(("requests", f"{number} for you: coterie inbox") for number in [found.get("requests")] if number),
        ("clients", f"{found['connections']} connected"),
        ("home", found["home"]),
        ("socket", found["socket"]),
        ("database", f"{found['database']} (SQLite {found['sqlite']})"),
        ("config", found.get("config", "not known to this daemon")),
        ("log", found["log"]),
    ]


def _waiting(unread: dict[str, Any]) -> str:
    yours = f"; {unread['yours']} for you: coterie inbox" if unread["yours"] else ""
    whose = f"{say.count(unread['messages'], 'message')} of {say.count(unread['peers'], 'peer')}"
    return f"{whose}, the oldest for {span(unread['oldest_s'] or 0)}{yours}"


def _relay(relay: dict[str, Any]) -> str:
    listening = f"listens on {', '.join(relay['listening'])}" if relay["listening"] else "does not listen"
    devices = f"{relay['connected']} of {say.count(relay['devices'], 'device')} connected"
    return f"{listening}; {devices}" if relay["devices"] else listening


def _counts(by_state: dict[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in sorted(by_state.items())) or "none"
