"""The machine: the switch, folder and socket, the daemon, other daemons, the database, the disk, our programs."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from coterie import __version__
from coterie.agents.installs.checks.finding import Finding, note, ok, trouble
from coterie.agents.installs.checks.look import ancestors, home_of
from coterie.agents.installs.programs import ours
from coterie.cli.config import here
from coterie.cli.options import short_path
from coterie.cli.say import count
from coterie.cli.times import span
from coterie.client import Client, connect
from coterie.config import Source
from coterie.errors import (
    BadConfig,
    CoterieError,
    Refused,
    Sandboxed,
    Silent,
    SwitchedOff,
    Unavailable,
    UnknownMethod,
    Unsafe,
)
from coterie.files import Home, check_file, check_folder, check_socket
from coterie.limits import DATABASE_CHECK_S, DISK_FREE_MIN, DOCTOR_CALL_S, KIB, MIB

WAL_MENDED = (3, 51, 3)
"""Before this, two connections that write and checkpoint at once can corrupt a database with a log."""
COMES_UP_S = 0.5
"""A daemon that has the lock and does not listen is coming up, which takes 0.2 s; or something is wrong."""
OF_WHOM = ((Source.FILE, "yours"), (Source.REPOSITORY, "the repository's"))
HEALTH_S = DATABASE_CHECK_S + 5.0
"""How long the process that looks at the database may take, its start on a busy machine included."""


class Daemon(NamedTuple):
    """What is known of the daemon."""

    findings: list[Finding]
    client: Client | None = None
    """A connection to it, if it answers."""
    sessions: list[dict[str, Any]] = []  # noqa: RUF012 (never changed)


# --- files ------------------------------------------------------------------------------------------------------------


def switched(place: Home) -> Iterator[Finding]:
    """Whether Coterie is switched on."""
    if os.path.lexists(place.off):
        yield trouble("switched-on", "coterie is switched off on this machine", "coterie up")


def files(place: Home) -> Iterator[Finding]:
    """Whether folder, socket and files are ours alone."""
    if not os.path.lexists(place.folder):
        yield note("files", f"{short_path(place.folder)} is not there yet: no daemon ever ran")
        return
    bad = [problem for problem in map(_unsafe, _checked(place)) if problem]
    for error in bad:
        yield trouble("files", error.message, error.hint)
    if not bad:
        yield ok("files", f"{short_path(place.folder)} and all in it are yours alone")


def _checked(place: Home) -> Iterator[Callable[[], object]]:
    yield lambda: check_folder(place.folder)
    if place.socket_folder != place.folder and os.path.lexists(place.socket_folder):
        yield lambda: check_folder(place.socket_folder)
    yield lambda: check_socket(place.socket)
    for path in (place.database, place.lock, place.log):
        yield lambda path=path: check_file(path)  # type: ignore[misc]


def _unsafe(check: Callable[[], object]) -> Unsafe | None:
    try:
        check()
    except Unsafe as error:
        return error
    except OSError:  # It lies in a folder that is a finding already.
        return None
    return None


def configured(cwd: str) -> Iterator[Finding]:
    """Whether the person's configuration counts, and that of the repository at `cwd`."""
    try:
        found, problem = here(cwd)
    except BadConfig as error:
        yield trouble("config", f"{error.message} (nothing in that file counts)", error.hint)
        return
    if problem:
        yield trouble("config", f"{problem.message} (nothing in that file counts)", problem.hint)
        return
    sources = [origin.source for origin in found.origins.values()]
    named = [(sources.count(source), whose) for source, whose in OF_WHOM if source in sources]
    counts = [f"{count(number, 'setting')} of {whose}" for number, whose in named]
    yield ok("config", ", ".join(counts) or "every setting has its default", detail=True)


def room(place: Home) -> Iterator[Finding]:
    """Whether the disk has room."""
    where = next(path for path in ancestors(place.folder) if os.path.isdir(path))
    found = os.statvfs(where)
    free = found.f_bavail * found.f_frsize
    if free < DISK_FREE_MIN:
        yield trouble("disk", f"{_size(free)} free where {short_path(place.folder)} lies", "make room")
    else:
        yield ok("disk", f"{_size(free)} are free on the disk", detail=True)


def _size(number: float) -> str:
    for unit, size in (("GiB", KIB * MIB), ("MiB", MIB), ("KiB", KIB)):
        if number >= size:
            return f"{number / size:.1f} {unit}"
    return f"{number:.0f} bytes"


# --- the daemon -------------------------------------------------------------------------------------------------------


def daemon(place: Home) -> Daemon:
    """Ask the daemon that runs; none is started."""
    try:
        client = _connected(place)
    except (SwitchedOff, Unsafe):  # A finding of its own.
        return Daemon([])
    except Sandboxed as error:
        return Daemon([note("daemon", error.message, "run coterie doctor in a shell of your own")])
    except Silent as error:
        return Daemon([trouble("daemon", error.message, error.hint)])
    except Unavailable as error:
        return Daemon([_absent(place, error, _serving(place))])
    except Refused as error:
        return Daemon([trouble("daemon", error.message, "coterie down, then: coterie up")])
    try:
        return Daemon(_told(client), client, _sessions(client))
    except CoterieError as error:
        return Daemon([trouble("daemon", error.message, error.hint)])


def _connected(place: Home) -> Client:
    options: dict[str, Any] = {"start": False, "at": place, "wait_s": DOCTOR_CALL_S, "start_s": DOCTOR_CALL_S}
    try:
        return connect("doctor", **options)
    except Unavailable as error:
        if type(error) is not Unavailable or not _serving(place):
            raise
    time.sleep(COMES_UP_S)
    return connect("doctor", **options)


def _serving(place: Home) -> int | None:
    """The pid of the daemon that holds the lock, as far as /proc tells."""
    return next((p.pid for p in running() if p.is_daemon and p.has_lock and p.home == place.folder), None)


def _absent(place: Home, error: Unavailable, serving: int | None) -> Finding:
    if serving:
        return trouble(
            "daemon", f"pid {serving} is the daemon, and cannot be reached: {error.message}", f"kill {serving}"
        )
    return note("daemon", "the daemon is not running: the next session or command that needs it starts it")


def _told(client: Client) -> list[Finding]:
    told = client.call("daemon.status", wait_s=DOCTOR_CALL_S)
    pid, version = told["pid"], told["version"]
    findings = []
    if version != __version__:
        evidence = f"the daemon (pid {pid}) runs coterie {version}, and {__version__} is installed"
        findings.append(trouble("daemon", evidence, f"kill {pid} (sessions come back by themselves)"))
    else:
        findings.append(ok("daemon", f"the daemon runs for {span(told['up_s'])}: pid {pid}, coterie {version}"))
    if told["trouble"]:
        findings.append(trouble("store", told["trouble"]["message"], told["trouble"]["hint"]))
    desktop = told.get("desktop_trouble")
    if desktop:
        findings.append(trouble("desktop", desktop["message"], desktop["hint"]))
    return [*findings, *_relay(told)]


def _relay(told: dict[str, Any]) -> Iterator[Finding]:
    """Other devices: what keeps them from being reached."""
    relay, problem = told.get("relay"), told.get("relay_trouble")
    if problem:
        yield trouble("relay", problem["message"], problem["hint"])
    if not relay or not (relay["enabled"] or relay["devices"]):
        return
    if relay["listening"] and not relay["addresses"]:
        evidence = f"the relay listens on {', '.join(relay['listening'])}, which no other machine reaches"
        yield note("relay", evidence, "if they are to: coterie config unset relay.listen_addr")
    elif not problem:
        where = f"listens on {', '.join(relay['listening'])}" if relay["listening"] else "does not listen"
        devices = f"{relay['connected']} of {relay['devices']} paired connected"
        yield ok("relay", f"the relay {where}; {devices}")


def _sessions(client: Client) -> list[dict[str, Any]]:
    try:
        found: list[dict[str, Any]] = client.call("doctor.sessions", wait_s=DOCTOR_CALL_S)["sessions"]
    except UnknownMethod:  # An older daemon, which is a finding already.
        return []
    return found


# --- other daemons and homes ------------------------------------------------------------------------------------------


class Running(NamedTuple):
    """A process of ours."""

    pid: int
    is_daemon: bool
    home: str
    has_lock: bool = False
    """Whether it is the daemon that holds the lock of its home as it is now."""


def others(place: Home, running: list[Running]) -> Iterator[Finding]:
    """Processes of ours that never meet those of this home."""
    second = [p.pid for p in running if p.is_daemon and p.home == place.folder and not p.has_lock]
    for pid in second:
        yield trouble("second-daemon", f"pid {pid} is a daemon of the same folder that nobody reaches", f"kill {pid}")
    elsewhere = sorted({p.home for p in running if not p.is_daemon and p.home != place.folder})
    for path in elsewhere:
        count = sum(not p.is_daemon and p.home == path for p in running)
        which = "1 session uses" if count == 1 else f"{count} sessions use"
        evidence = f"{which} the coterie in {short_path(path)}, and never meet those of this one"
        yield note("other-home", evidence, f"if that is not meant, set COTERIE_HOME there: {place.folder}")


def running() -> list[Running]:
    """Adapters and daemons of this user, as /proc tells; none where there is no /proc."""
    if not os.path.isdir("/proc/self"):
        return []
    found = (_running(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [process for process in found if process]


def _running(pid: int) -> Running | None:
    try:
        if os.stat(f"/proc/{pid}").st_uid != os.getuid():
            return None
        if int(_file(pid, "stat").rpartition(b")")[2].split()[1]) == os.getpid():  # A probe of ours.
            return None
        words = [os.fsdecode(word) for word in _file(pid, "cmdline").split(b"\0")]
        is_daemon = "coterie.daemon" in words[:6]
        if not is_daemon and not any(os.path.basename(word) == "coterie-mcp" for word in words[:3]):
            return None
        pairs = (os.fsdecode(entry).partition("=") for entry in _file(pid, "environ").split(b"\0"))
        environ = {name: value for name, _, value in pairs}
        folder = home_of(environ)
        return Running(pid, is_daemon, folder, is_daemon and _has_open(pid, Home(folder).lock))
    except OSError:  # It has ended meanwhile.
        return None


def _has_open(pid: int, path: str) -> bool:
    """Whether a process has this very file open. One that was removed is another file, whatever its name."""
    try:
        wanted = os.stat(path)
    except FileNotFoundError:
        return False
    folder = f"/proc/{pid}/fd"
    return any(os.path.samestat(wanted, found) for found in map(_stat, _entries(folder)) if found)


def _entries(folder: str) -> list[str]:
    return [os.path.join(folder, name) for name in os.listdir(folder)]


def _stat(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except OSError:  # It was closed meanwhile.
        return None


def _file(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


# --- the database -----------------------------------------------------------------------------------------------------


def database(place: Home) -> Iterator[Finding]:
    """Whether the database is whole, and of a schema that this code knows."""
    command = [sys.executable, "-P", "-m", "coterie.store.health", place.database]
    try:
        done = subprocess.run(command, capture_output=True, timeout=HEALTH_S, check=True, stdin=subprocess.DEVNULL)
        told = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        yield note("database", f"the database could not be looked at within {HEALTH_S:g} s")
        return
    except (subprocess.CalledProcessError, ValueError) as error:
        yield trouble("database", f"the database could not be looked at ({type(error).__name__})", "please report it")
        return
    yield from _of_database(place, told)
    yield _sqlite(told["sqlite"])


def _of_database(place: Home, told: dict[str, Any]) -> Iterator[Finding]:
    if told["problem"]:
        yield trouble("database", told["problem"]["message"], told["problem"]["hint"])
    elif told["bytes"] is None:
        yield note("database", "there is no database yet")
    elif told["whole"] is None:
        evidence = f"the database ({_size(told['bytes'])}) is too large to be looked through in a moment"
        yield note("database", evidence)
    else:
        later = "" if told["schema"] == told["newest"] else f", to be brought to {told['newest']} by the next daemon"
        yield ok("database", f"the database is whole: schema {told['schema']}{later}, {_size(told['bytes'])}")


def _sqlite(version: str) -> Finding:
    known = tuple(int(part) for part in version.split(".")[:3] if part.isdigit())
    if known >= WAL_MENDED:
        return ok("sqlite", f"SQLite {version}", detail=True)
    evidence = f"SQLite {version}, with the defect of logs before 3.51.3; harmless here, as one connection writes"
    return ok("sqlite", evidence, detail=True)


# --- our programs -----------------------------------------------------------------------------------------------------


def programs(environ: Mapping[str, str]) -> Iterator[Finding]:
    """What this command is, and whether it lies where things last."""
    version = platform.python_version()
    yield ok("python", f"Python {version}, {short_path(sys.executable)}", detail=True)
    yield ok("version", f"coterie {__version__}", detail=True)
    if not sys.platform.startswith("linux"):
        yield note("system", f"coterie was not tested on {platform.system()}")
    for anywhere, found in ((True, trouble), (False, note)):
        try:
            ours(environ, anywhere=anywhere)
        except Refused as error:
            yield found("programs", error.message, error.hint)
            return
