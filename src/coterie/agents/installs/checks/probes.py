"""The programs that a check starts, each for a bounded time: an agent's ``--version``, and the handshake of an MCP
server. Neither leaves anything behind: the first keeps its files in a folder that is thrown away, the second says
nothing that would make it a session.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from coterie.agents.installs.programs import VERSION
from coterie.errors import BadLine
from coterie.jsonline import LineReader, decode, encode

VERSION_S = 5.0
"""How long a program may take to say its version. Measured: 0.01 to 1.1 s, the last by Gemini CLI."""
START_S = 5.0
"""How long an MCP server may take for its handshake. Ours takes 0.05 s; clients give ten seconds and more."""
END_S = 1.0
"""How long a probed server may take to end once its input ends; then it is killed."""
SAID_BYTES_MAX = 65_536
REVISION = "2025-06-18"
"""The revision of MCP that is asked for: the one that all four clients are served in."""
CLIENT = "coterie-doctor"
PASSED = ("HOME", "PATH", "LANG", "LC_ALL", "TERM", "USER", "LOGNAME", "TMPDIR")
"""Variables that a probed program gets of the caller's: what Codex passes on, the least that any client does."""


class Answer(NamedTuple):
    """What came of a program."""

    text: str = ""
    """What it said; empty if it failed."""
    failure: str = ""


def environment(environ: Mapping[str, str], given: Mapping[str, str]) -> dict[str, str]:
    """The environment of a probed program: the least, and what its entry gives it."""
    return {**{name: environ[name] for name in PASSED if name in environ}, **given}


# --- versions -----------------------------------------------------------------------------------------------------


def version(program: str, scratch: Sequence[str], environ: Mapping[str, str]) -> Answer:
    """What an agent's program says its version is. `scratch` are the variables that move its files: they lead to a
    folder that is thrown away, as some of the programs write even then. A wrapper may need them where they are, so
    one that fails is asked once more without.
    """
    with tempfile.TemporaryDirectory(prefix="coterie-") as folder:
        moved = {**environ, **dict.fromkeys(scratch, folder)}
        first = _version(program, moved)
    return first if first.text or not scratch else _version(program, dict(environ))


def _version(program: str, environ: dict[str, str]) -> Answer:
    try:
        with _started([program, "--version"], environ) as process:
            said, complaint = process.communicate(timeout=VERSION_S)
    except subprocess.TimeoutExpired:
        return Answer(failure=f"it did not say its version within {VERSION_S:g} s")
    except OSError as error:
        return Answer(failure=f"it cannot be run: {error.strerror}")
    if process.returncode:
        return Answer(failure=f"it ended with status {process.returncode}: {_last_line(complaint or said)}")
    found = VERSION.search(said.decode(errors="replace"))
    return Answer(found[0]) if found else Answer(failure="it says no version")


@contextlib.contextmanager
def _started(command: Sequence[str], environ: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A program in a group of its own, all of which is ended at the end."""
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        command, env=dict(environ), cwd="/", stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()


def _last_line(said: bytes) -> str:
    lines = said[-SAID_BYTES_MAX:].decode(errors="replace").strip().splitlines()
    return lines[-1][:200] if lines else "it said nothing"


# --- the handshake ------------------------------------------------------------------------------------------------


def handshake(command: Sequence[str], environ: Mapping[str, str]) -> Answer:
    """Start an MCP server as a client does, and take its ``initialize`` and ``tools/list``. Returns its version.

    It is never told ``notifications/initialized``, so that ours registers no session and starts no daemon.
    """
    try:
        with _started(command, environ) as process:
            asked = [
                ("initialize", {"protocolVersion": REVISION, "capabilities": {}, "clientInfo": _ME}),
                ("tools/list", {}),
            ]
            deadline = time.monotonic() + START_S
            first, _ = (_asked(process, number, *request, deadline) for number, request in enumerate(asked, start=1))
            assert process.stdin
            process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(END_S)
    except _Failed as error:
        return Answer(failure=str(error))
    except OSError as error:
        return Answer(failure=f"it cannot be started: {error.strerror}")
    server = first.get("serverInfo")
    told = server.get("version") if isinstance(server, dict) else None
    return Answer(str(told)[:40] or "?")


_ME = {"name": CLIENT, "version": "1"}


class _Failed(Exception):
    """The handshake did not come off."""


def _asked(
    process: subprocess.Popen[bytes], number: int, method: str, params: Mapping[str, object], deadline: float
) -> dict[str, object]:
    """The result of a request."""
    assert process.stdin
    assert process.stdout
    try:
        process.stdin.write(encode({"jsonrpc": "2.0", "id": number, "method": method, "params": dict(params)}))
        process.stdin.flush()
    except BrokenPipeError:
        raise _Failed(_why_ended(process)) from None
    reader = LineReader()
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([process.stdout], [], [], left)[0]:
            raise _Failed(f"it did not answer {method} within {START_S:g} s")
        data = os.read(process.stdout.fileno(), SAID_BYTES_MAX)
        if not data:
            raise _Failed(_why_ended(process))
        for line in reader.feed(data):
            answer = _understood(line)
            if answer.get("id") == number:
                result = answer.get("result")
                if not isinstance(result, dict):
                    raise _Failed(f"it refused {method}")
                return result


def _understood(line: object) -> dict[str, object]:
    if not isinstance(line, bytes):
        raise _Failed("it says something that is no MCP")
    try:
        answer = decode(line)
    except BadLine:
        raise _Failed("it says something that is no MCP") from None
    return answer if isinstance(answer, dict) else {}


def _why_ended(process: subprocess.Popen[bytes]) -> str:
    try:
        _, complaint = process.communicate(timeout=END_S)
    except (subprocess.TimeoutExpired, ValueError):
        return "it closed its output"
    return f"it ended with status {process.returncode}: {_last_line(complaint)}"


class Handshakes:
    """Handshakes, each command tried once however many agents are to start it."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._lock = threading.Lock()
        self._known: dict[tuple[object, ...], Callable[[], Answer]] = {}

    def of(self, command: Sequence[str], given: Mapping[str, str]) -> Answer:
        """What comes of a command in the environment that its entry gives it."""
        environ = environment(self._environ, given)
        key = (*command, *sorted(given.items()))
        with self._lock:
            once = self._known.setdefault(key, _Once(lambda: handshake(command, environ)))
        return once()


class _Once:
    """A result that is worked out by whoever asks first, while the others wait."""

    def __init__(self, work: Callable[[], Answer]) -> None:
        self._work = work
        self._lock = threading.Lock()
        self._result: Answer | None = None

    def __call__(self) -> Answer:
        with self._lock:
            if self._result is None:
                self._result = self._work()
            return self._result


def found(program: str, environ: Mapping[str, str]) -> str | None:
    """Where the program of a command is, or None if there is none that can be run."""
    return shutil.which(program, path=environ.get("PATH") or os.defpath)
