"""``coterie restore``."""

from __future__ import annotations

import fcntl
import os
import shlex
import sys
import time
from typing import Any

import click

from coterie.cli import say
from coterie.cli.apart import ask
from coterie.cli.backup import PROCESS, contents
from coterie.cli.options import examples, human_option, json_option, short_path
from coterie.cli.person import check_person
from coterie.client import connect, lock_holder
from coterie.errors import BadInput, CoterieError, Refused, Silent, Unavailable
from coterie.files import Home, home, make_folder, open_private

END_S = 10.0
"""How long the daemon may take to leave. It gives itself two seconds, and sessions may start another in between."""
LOOK_S = 0.01


@click.command(epilog=examples("coterie backup --list", "coterie restore NAME", "coterie restore --salvage"))
@click.argument("file", required=False, type=click.Path())
@click.option("--salvage", is_flag=True, help="Keep what can still be read of the database that is there.")
@click.option("--yes", is_flag=True, help="Do not ask me.")
@human_option
@json_option
def restore(file: str | None, salvage: bool, yes: bool, i_am_human: bool, as_json: bool) -> None:
    """Put a copy of the database in its place.

    FILE is the name of a copy in the folder for backups, or a path. The copy is looked through first, and you are told
    what is lost with it. What is there now is kept in that folder. Sessions that run go on with what was restored.
    """
    if (file is None) != salvage:
        raise BadInput("name a copy, or say --salvage", "coterie backup --list shows the copies")
    line = f"coterie restore {'--salvage' if file is None else shlex.quote(file)}"
    check_person("backups.restore", line, i_am_human=i_am_human)
    place = home()
    make_folder(place.folder)
    work = ("salvage",) if file is None else ("ready", _path(file, place))
    ready = ask(PROCESS, *work, during="looking through the copy")
    try:
        _ask_person(ready, line, yes=yes)
        lock = _lock(place)
    except BaseException:
        ask(PROCESS, "drop")
        raise
    try:
        if salvage:  # What was sent while the person was asked is kept too.
            ready = ask(PROCESS, *work, during="reading what can be read")
        done = ask(PROCESS, "put", keep=(lock,))
    finally:
        os.close(lock)
    _start(place, done)
    if as_json:
        say.result_json({**ready, **done})
        return
    say.result(f"restored: {contents(ready)}")
    if done["replaced"]:
        say.note(f"what it replaced is kept: {short_path(done['replaced'])}")


def _path(file: str, place: Home) -> str:
    """A bare name is that of a copy in the folder for backups, unless there is such a file here."""
    kept = os.path.join(place.backups, file)
    return kept if os.path.basename(file) == file and not os.path.exists(file) else os.path.abspath(file)


def _ask_person(ready: dict[str, Any], line: str, *, yes: bool) -> None:
    say.note(f"the copy holds {contents(ready)}")
    for said in _warnings(ready):
        say.note(said)
    if yes:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise Refused("nobody can be asked here, and nothing was changed", f"to do it all the same: {line} --yes")
    if not click.confirm("put it in the place of the database?", err=True):
        raise Refused("nothing was changed")


def _warnings(ready: dict[str, Any]) -> list[str]:
    said = []
    if ready["lost"]:
        said.append(f"{say.count(ready['lost'], 'message')} that the database has now {_is(ready['lost'])} not in it")
    if ready["again"]:
        said.append(
            f"{say.count(ready['again'], 'message')} that {'was' if ready['again'] == 1 else 'were'} read since "
            f"{_is(ready['again'])} unread in it, and may be shown again"
        )
    if ready["lost"] is None:
        said.append("the database that is there cannot be read; what was sent since is lost with it")
    return said


def _is(number: int) -> str:
    return "is" if number == 1 else "are"


def _lock(place: Home) -> int:
    """The daemon's lock, after the daemon has left. Raises `Silent` if it does not."""
    deadline = time.monotonic() + END_S
    lock = open_private(place.lock, os.O_RDWR)
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            _retire()
        else:
            return lock
        if time.monotonic() > deadline:
            os.close(lock)
            pid = lock_holder(place)
            raise Silent(f"the daemon (pid {pid}) does not leave; nothing was changed", f"if it is stuck: kill {pid}")
        time.sleep(LOOK_S)


def _retire() -> None:
    """Ask the daemon to leave, whichever has the lock now."""
    try:
        daemon = connect("cli", start=False, start_s=LOOK_S)
        try:
            daemon.call("daemon.retire", {"why": "a copy is put in the place of the database"})
        finally:
            daemon.close()
    except Unavailable:
        return  # It is coming up, or has just left.


def _start(place: Home, done: dict[str, Any]) -> None:
    """Have a daemon serve what was restored, unless coterie is switched off."""
    if os.path.lexists(place.off):
        return
    try:
        connect("cli").close()
    except CoterieError as error:
        kept = f"; what was there before is {done['replaced']}" if done["replaced"] else ""
        raise type(error)(f"restored, and the daemon does not start: {error.message}", f"{error.hint}{kept}") from error
