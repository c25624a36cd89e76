"""``coterie relay peers``, ``status``, ``identity``, ``preview`` and ``discover``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from coterie.cli import say
from coterie.cli.completion import device_names
from coterie.cli.options import examples, json_option
from coterie.cli.relay.words import dashed, labelled, link_state, mail
from coterie.cli.table import Column, table
from coterie.cli.times import span
from coterie.client import connect
from coterie.devices import short

COLUMNS = (
    Column("NAME", 0),
    Column("STATE", 1),
    Column("MAIL", 2, right=True),
    Column("MAY", 3, least=8),
    Column("MAY WE", 5, least=8),
    Column("ADDRESS", 4, least=12),
    Column("ID", 6),
)
SESSIONS = (
    Column("NAME", 0),
    Column("AGENT", 2, least=6),
    Column("STATE", 1),
    Column("ROLE", 4, least=8),
    Column("REPO", 5, least=8),
    Column("SUMMARY", 3, least=20),
)
NONE = "-"


@click.command(epilog=examples("coterie relay peers", "coterie relay peers --json"))
@json_option
def peers(as_json: bool) -> None:
    """The paired devices.

    MAIL counts the messages that wait here for it. MAY is what a device may do here, MAY WE what it lets this one do
    there, as far as it has said so.
    """
    told = connect("cli").call("relay.peers")
    if as_json:
        say.result_json(told)
        return
    devices = told["devices"]
    if not devices:
        say.note("no device is paired with this one")
        say.note("hint: coterie relay invite")
        return
    heading, *lines = table(COLUMNS, [_row(device) for device in devices], say.width())
    say.result("\n".join([say.bold(heading), *lines]))
    for device in devices:
        if device["links_wanted"] and not device["connected"] and device["words"]:
            say.note(f"{say.plain(device['name'])}: {say.plain(device['words'])}")


def _row(device: dict[str, Any]) -> list[str]:
    cells = (
        device["name"],
        link_state(device),
        str(device["outbox"]["messages"] or NONE),
        " ".join(device["grants"]),
        "?" if device["theirs"] is None else " ".join(device["theirs"]),
        (device["addresses"] or [NONE])[0],
        device["short"],
    )
    return [say.plain(cell) or NONE for cell in cells]


@click.command(epilog=examples("coterie relay status", "coterie relay status --json"))
@json_option
def status(as_json: bool) -> None:
    """Whether this device listens, who is connected, and what waits."""
    told = connect("cli").call("relay.status")
    if as_json:
        say.result_json(told)
        return
    for label, text in _status(told):
        say.result(labelled(label, text))


def _status(told: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if told["id"]:
        yield "device", f"{say.plain(told['name'])} ({short(told['id'])})"
    where = f"listens on {', '.join(told['listening'])}" if told["listening"] else "does not listen"
    yield "relay", f"{'on' if told['enabled'] else 'off'}, {where}"
    if told["problem"]:
        yield "problem", f"{say.plain(told['problem']['message'])}: {say.plain(told['problem']['hint'])}"
    if told["addresses"]:
        yield "reached at", ", ".join(told["addresses"])
    yield "devices", f"{told['devices']} paired, {told['connected']} connected"
    if told["invitation_s"] is not None:
        yield "invitation", f"open for {span(told['invitation_s'])} yet"
    if told["locked"]:
        yield "invitation", "locked: five codes were burnt within an hour; coterie relay invite --unlock"
    yield "mail", f"{mail(told['outbox'])} for other devices"
    if told["requests"]:
        yield "requests", f"{told['requests']} for you to decide: coterie relay requests"
    yield "shows", f"{' '.join(told['share']) or 'nothing'} of its sessions"
    yield "tasks", "none: they come with delegation, which is not there yet"


@click.command(epilog=examples("coterie relay identity"))
@json_option
def identity(as_json: bool) -> None:
    """Who this device is.

    Its name is a label that anybody may bear; its id is the hash of its key, with check digits.
    """
    told = connect("cli").call("relay.identity")
    if as_json:
        say.result_json(told)
        return
    say.result(f"{say.plain(told['name'])}\n{dashed(told['shown'])}")


@click.command(epilog=examples("coterie relay preview", "coterie relay preview laptop"))
@click.argument("device", required=False, shell_complete=device_names)
@json_option
def preview(device: str | None, as_json: bool) -> None:
    """What other devices are shown of the sessions here.

    The setting relay.share says which of it, and a device is shown it if it has the right to see.
    """
    told = connect("cli").call("relay.preview", {"device": device} if device else {})
    if as_json:
        say.result_json(told)
        return
    say.note(f"shown: {' '.join(told['share']) or 'nothing'}; to change it: coterie config set relay.share")
    if not told["devices"]:
        say.result("no device is paired; one that has the right to see would be shown:")
        _sessions(told["sessions"])
    for each in told["devices"]:
        if each["see"]:
            say.result(f"{say.plain(each['name'])} is shown:")
            _sessions(each["sessions"])
        else:
            say.result(f"{say.plain(each['name'])} is shown nothing: it has not the right to see")


def _sessions(sessions: list[dict[str, Any]]) -> None:
    if not sessions:
        say.result("  no session")
        return
    rows = [
        [say.plain(session.get(key) or "") or NONE for key in ("name", "kind", "state", "role", "repo", "summary")]
        for session in sessions
    ]
    heading, *lines = table(SESSIONS, rows, say.width())
    say.result("\n".join([say.bold(heading), *lines]))


@click.command(epilog=examples("coterie relay discover"))
@json_option
def discover(as_json: bool) -> None:
    """Devices in reach. Nothing is looked for on the network yet: the paired ones are listed."""
    told = connect("cli").call("relay.discover")
    if as_json:
        say.result_json(told)
        return
    say.note(told["message"] if told["devices"] else "devices cannot be discovered yet, and none is paired")
    if told["devices"]:
        columns = (Column("IDENTITY", 0), Column("ADDRESS", 1))
        rows = [[say.plain(each["name"]), (each["addresses"] or [NONE])[0]] for each in told["devices"]]
        heading, *lines = table(columns, rows, say.width())
        say.result("\n".join([say.bold(heading), *lines]))
