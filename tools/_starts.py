"""How long whole processes take: the adapter to its first answers, a hook, a command."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import IO, Any

from _parts import SCRIPTS, Place, place

ADAPTER = os.path.join(SCRIPTS, "coterie-mcp")
HOOK = os.path.join(SCRIPTS, "coterie-hook")
COMMAND = os.path.join(SCRIPTS, "coterie")
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "claude-code", "version": "0"}}
SESSION = "session-bench"


def session_marks(here: Place) -> dict[str, str]:
    """The environment that Claude Code gives its children, without an inbox."""
    return {**here.environ, "CLAUDECODE": "1", "CLAUDE_CODE_SESSION_ID": SESSION}


def initialize(here: Place) -> float:
    """Milliseconds from the spawn of an adapter to its answer to `initialize`."""
    begun = time.monotonic_ns()
    adapter, _ = _spawn(here)
    took = (time.monotonic_ns() - begun) / 1e6
    _end(adapter)
    return took


def first_list() -> float:
    """Milliseconds from the spawn of an adapter, where no daemon ever ran, to the result of its first list_peers."""
    with place("coterie-bench-") as here:
        return _list(here)


def next_list(here: Place) -> float:
    """The same in a home where a daemon ran before; it is ended first."""
    here.end_daemon()
    return _list(here)


def _list(here: Place) -> float:
    begun = time.monotonic_ns()
    adapter, answers = _spawn(here)
    assert adapter.stdin
    call = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "list_peers", "arguments": {}}}
    _write(adapter.stdin, {"jsonrpc": "2.0", "method": "notifications/initialized"}, call)
    answer = json.loads(answers.readline())
    took = (time.monotonic_ns() - begun) / 1e6
    here.daemon()
    _end(adapter)
    if not answer["result"]["content"][0]["text"].startswith("You are "):
        raise RuntimeError(f"no list of peers: {answer}")
    return took


def _spawn(here: Place) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
    adapter = subprocess.Popen([ADAPTER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=session_marks(here))
    assert adapter.stdin
    assert adapter.stdout
    _write(adapter.stdin, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO})
    answer = json.loads(adapter.stdout.readline())
    if answer["result"]["serverInfo"]["name"] != "coterie":
        raise RuntimeError(f"not our adapter: {answer}")
    return adapter, adapter.stdout


def _write(to: IO[bytes], *messages: dict[str, Any]) -> None:
    to.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
    to.flush()


def _end(adapter: subprocess.Popen[bytes]) -> None:
    assert adapter.stdin
    assert adapter.stdout
    adapter.stdin.close()
    adapter.wait()
    adapter.stdout.close()


def hook(here: Place, session: str) -> float:
    """Milliseconds that our hook takes at a prompt, as a whole process."""
    told = {"hook_event_name": "UserPromptSubmit", "session_id": session, "cwd": here.root, "prompt": "go on"}
    return _whole([HOOK, "claude"], session_marks(here), json.dumps(told).encode())


def peers(here: Place) -> float:
    """Milliseconds that ``coterie peers`` takes, as a whole process."""
    return _whole([COMMAND, "peers"], here.environ, b"")


def _whole(command: list[str], environ: dict[str, str], told: bytes) -> float:
    begun = time.monotonic_ns()
    done = subprocess.run(command, input=told, env=environ, capture_output=True, check=False)
    took = (time.monotonic_ns() - begun) / 1e6
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {done.stderr.decode(errors='replace')[-300:]}")
    return took
