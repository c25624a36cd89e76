"""``coterie backup``."""

from __future__ import annotations

import os
import time
from typing import Any

import click

from coterie.cli import say
from coterie.cli.apart import ask
from coterie.cli.options import examples, json_option, short_path
from coterie.cli.person import check_no_agent
from coterie.cli.sizes import memory
from coterie.cli.times import moment
from coterie.errors import BadInput

PROCESS = "coterie.store.backup"


@click.command(epilog=examples("coterie backup", "coterie backup ~/coterie.db", "coterie backup --list"))
@click.argument("file", required=False, type=click.Path())
@click.option("--list", "listing", is_flag=True, help="Show the copies that there are.")
@json_option
def backup(file: str | None, listing: bool, as_json: bool) -> None:
    """Copy the database, while it is used.

    A copy has everybody's mail and is yours alone. Without a name it goes to the folder for backups. Nobody waits
    meanwhile. To put one back: coterie restore.
    """
    if listing and file:
        raise BadInput("name a file, or say --list", "coterie backup --help")
    if listing:
        _show(ask(PROCESS, "list"), as_json=as_json)
        return
    check_no_agent("backups.may", "coterie backup")
    target = os.path.abspath(file) if file else ""
    made = ask(PROCESS, "make", target, during="copying the database")
    if as_json:
        say.result_json(made)
    else:
        say.result(f"{short_path(made['file'])}: {contents(made)}")


def contents(copy: dict[str, Any]) -> str:
    """What a copy holds, in words."""
    now = time.time()
    found = f"{say.count(copy['messages'], 'message')} ({copy['unread']} unread), {say.count(copy['peers'], 'peer')}"
    last = f", the last message of {moment(copy['last_at'], now)}" if copy["last_at"] else ""
    return f"{found}{last}, {memory(copy['bytes'])}"


def _show(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        say.result_json(found)
        return
    for copy in found["backups"]:
        name = say.plain(os.path.basename(copy["file"]))
        say.result(f"{name}: {copy['problem'] or contents(copy)}")
    if found["backups"]:
        say.note(f"they are in {short_path(found['folder'])}; to put one back: coterie restore NAME")
    else:
        say.result(f"no copies in {short_path(found['folder'])}")
