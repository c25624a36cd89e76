"""``coterie export``."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import click

from coterie import __version__
from coterie.cli import say
from coterie.cli.link import Link
from coterie.cli.options import examples, json_option
from coterie.cli.progress import Progress
from coterie.cli.times import since
from coterie.errors import BadInput, CoterieError, DiskFull
from coterie.files import FILE_MODE, NO_ROOM

FORMAT, VERSION = "coterie-export", 1
"""Raised when a member changes its meaning or goes; new ones may come at any time."""
PROGRESS_ROWS = 500
"""Messages between two words of how far it is: some hundredths of a second."""

Write = Callable[[str], None]


@click.command(
    epilog=examples(
        "coterie export mail.jsonl",
        "coterie export --peer web --since 2d",
        "coterie export | jq -r 'select(.text).text'",
    )
)
@click.argument("file", required=False, type=click.Path())
@click.option("--peer", metavar="PEER", help="Only from and to this peer.")
@click.option("--thread", metavar="MESSAGE", help="Only the thread of this message.")
@click.option("--since", "when", metavar="WHEN", help="Only what was sent since: 2h, 3d, 2026-11-02.")
@click.option("--force", is_flag=True, help="Overwrite the file.")
@json_option
def export(
    file: str | None, peer: str | None, thread: str | None, when: str | None, force: bool, as_json: bool
) -> None:
    """Write peers and messages as JSON lines.

    They go to FILE, or to standard output. The first line says what it is, the last how many messages there were:
    without it an export is not whole. A person gets everybody's messages, an agent its own.
    """
    now = time.time()
    params = {"peer": peer, "thread": thread, "since": since(when, now) if when else 0}
    daemon = Link()
    begun = daemon.call("export.begin", params)
    with Progress("exporting") as progress:
        lines = _lines(daemon, begun, params, now, progress)
        if file is None:
            for line in lines:
                say.result(line)
            return
        path = os.path.abspath(file)
        written = _to_file(path, lines, force=force)
    if as_json:
        say.result_json({"file": path, "messages": written, "upto": begun["upto"]})
    else:
        say.result(f"{path}: {say.count(written, 'message')}, {say.count(len(begun['peers']), 'peer')}")


def _lines(
    daemon: Link, begun: dict[str, Any], params: dict[str, Any], now: float, progress: Progress
) -> Iterator[str]:
    asked = {name: value for name, value in params.items() if value}
    header = {"format": FORMAT, "version": VERSION, "exported_at": now, "device": platform.node()}
    yield _line("header", {**header, "coterie": __version__, "asked": asked, "upto": begun["upto"]})
    for peer in begun["peers"]:
        yield _line("peer", peer)
    written = 0
    for message in _messages(daemon, {**params, "upto": begun["upto"]}):
        yield _line("message", message)
        written += 1
        if written % PROGRESS_ROWS == 0:
            progress.at(written, begun["messages"])
    yield _line("end", {"messages": written, "peers": len(begun["peers"]), "upto": begun["upto"]})


def _messages(daemon: Link, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
    after, more = 0, True
    while more:
        page = daemon.call("export.page", {**params, "after": after})
        yield from page["messages"]
        more = page["more"]
        after = page["messages"][-1]["seq"] if page["messages"] else after


def _line(kind: str, value: dict[str, Any]) -> str:
    return say.json_line({"type": kind, **value})


# --- a file -----------------------------------------------------------------------------------------------------------


def _to_file(path: str, lines: Iterator[str], *, force: bool) -> int:
    """Write an export; the file has its name once it is whole and on the disk. Returns how many messages it holds."""
    if os.path.lexists(path) and not force:
        raise BadInput(f"{path} is there already", "name another file, or say --force")
    partial = f"{path}.partial"
    try:
        count = _written(partial, lines)
        os.replace(partial, path)
    except OSError as error:
        _discard(partial)
        raise _why(error, path) from error
    except BaseException:
        _discard(partial)
        raise
    return count


def _written(partial: str, lines: Iterator[str]) -> int:
    _discard(partial)  # What an export left that was killed.
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    count = 0
    with open(descriptor, "w", encoding="ascii") as file:
        for line in lines:
            file.write(line + "\n")
            count += line.startswith('{"type": "message"')
        file.flush()
        os.fsync(file.fileno())
    return count


def _discard(partial: str) -> None:
    if os.path.lexists(partial):
        os.unlink(partial)


def _why(error: OSError, path: str) -> CoterieError:
    if error.errno in NO_ROOM:
        return DiskFull(f"there is no room for {path}: nothing was kept of it", "make room, or name another place")
    return CoterieError(f"{path} cannot be written: {error.strerror}", "name another file")
