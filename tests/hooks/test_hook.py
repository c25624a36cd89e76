"""The hook as a process: it tells the daemon, brings mail, and never breaks a session."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import Place
from coterie.hooks.main import INPUT_BYTES_MAX

HOOK = [sys.executable, "-P", "-m", "coterie.hooks.main"]


def hook(place: Place, said: str | bytes, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    data = said.encode() if isinstance(said, str) else said
    return subprocess.run(
        [*HOOK, *(arguments or ["claude"])], input=data, capture_output=True, env=place.environ, check=False
    )


def told(**fields: object) -> str:
    return json.dumps({"hook_event_name": "UserPromptSubmit", "session_id": "session-web", "cwd": "/", **fields})


def test_without_a_daemon_it_starts_none_and_the_session_goes_on(place: Place) -> None:
    ran = hook(place, told(prompt="hello"))
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert b"the daemon is not running" in ran.stderr
    assert os.listdir(place.home.folder) == []


@pytest.mark.parametrize(
    "said", ["", "{", "[]", "7", b"\xff", '{"hook_event_name": 7, "session_id": []}', "[" * 10_000]
)
def test_whatever_it_is_told_the_session_goes_on(daemon: Place, said: str | bytes) -> None:
    ran = hook(daemon, said)
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert b"Traceback" not in ran.stderr


def test_an_event_that_says_nothing_to_us_is_left_alone(daemon: Place) -> None:
    ran = hook(daemon, told(hook_event_name="Notification"))
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"", b"")


def test_an_unknown_session_is_no_trouble(daemon: Place) -> None:
    ran = hook(daemon, told(session_id="never seen", prompt="hello"))
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert daemon.row("SELECT count(*) FROM peers")[0] == 0


def test_the_start_of_a_session_makes_it_known_before_its_adapter(daemon: Place) -> None:
    assert hook(daemon, told(hook_event_name="SessionStart", source="startup")).returncode == 0
    # No process is known whose end could be noticed, so nobody says that it lives.
    assert daemon.row("SELECT kind, state FROM peers") == ("claude", "loaded")
    daemon.agent("session-web").tool("list_peers")
    assert daemon.row("SELECT kind, state FROM peers") == ("claude", "live")


def test_a_wrong_command_line_is_the_only_failure(daemon: Place) -> None:
    ran = hook(daemon, "", "unknown-agent")
    assert ran.returncode == 2
    assert b"usage: coterie-hook claude|codex|gemini|opencode" in ran.stderr


def test_a_stopped_daemon_does_not_hold_up_the_session_for_long(daemon: Place) -> None:
    daemon.named("web")
    os.kill(daemon.pid(), 19)
    ran = hook(daemon, told(prompt="hello"))
    os.kill(daemon.pid(), 18)
    assert (ran.returncode, ran.stdout) == (0, b"")
    assert f"kill -CONT {daemon.pid()}".encode() in ran.stderr


def test_mail_comes_as_context_and_nothing_else_is_printed(daemon: Place) -> None:
    api, web = daemon.named("api"), daemon.named("web", inbox=False)
    message = api.tool("send_message", to="web", message="look here").split()[0]
    printed = web.hook("UserPromptSubmit", prompt="hello")
    assert list(printed) == ["hookSpecificOutput"]
    assert printed["hookSpecificOutput"]["hookEventName"] == "UserPromptSubmit"
    assert printed["hookSpecificOutput"]["additionalContext"].endswith(f"[end of {message}]")
    web.hook("Stop")
    assert web.hook("UserPromptSubmit", prompt="hello") == {}


def test_what_came_with_a_prompt_that_was_taken_back_comes_again(daemon: Place) -> None:
    """Esc right after Enter: Claude Code puts the prompt back into its input, and what hooks added to it is gone."""
    api, web = daemon.named("api"), daemon.named("web", inbox=False)
    message = api.tool("send_message", to="web", message="look here").split()[0]
    for _ in range(2):
        printed = web.hook("UserPromptSubmit", prompt="hello")
        assert message in printed["hookSpecificOutput"]["additionalContext"]
        assert daemon.state(message) == "offered"
    web.hook("Stop")
    daemon.wait_state(message, "shown")


def test_it_loads_only_what_is_light(daemon: Place) -> None:
    report = daemon.root / "modules"
    save = f"open({str(report)!r}, 'w').write(' '.join(sys.modules))"
    script = f"import sys; from coterie.hooks.main import main; main(); {save}"
    bare = subprocess.run(
        [sys.executable, "-P", "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True, check=True
    )
    command = [sys.executable, "-P", "-c", script, "claude"]
    subprocess.run(command, input=told(prompt="x").encode(), env=daemon.environ, check=True, capture_output=True)
    added = set(Path(report).read_text().split()) - set(bare.stdout.split())
    heavy = {"asyncio", "sqlite3", "typing", "dataclasses", "subprocess", "pathlib", "argparse", "logging", "hashlib"}
    assert not added & heavy


def start_of(session: str, more: str) -> str:
    """The start of a session, and with it whatever a client may pass on from others."""
    return told(hook_event_name="SessionStart", session_id=session)[:-1] + f", {more}}}"


@pytest.mark.parametrize(
    "more",
    [
        '"tool_response": ' + '{"d": ' * 300 + '"\\ud83d"' + "}" * 300,
        '"tool_response": {"content": 1, "content": 2}',
        '"session_id": "twice"',
    ],
    ids=["deep", "twice", "twice at the top"],
)
def test_what_a_client_passes_on_from_others_loses_no_event(daemon: Place, more: str) -> None:
    ran = hook(daemon, start_of("twice", more))
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert "twice" in daemon.row("SELECT session FROM sessions")


def test_an_event_that_is_too_large_is_named_and_taken_to_its_end(daemon: Place) -> None:
    said = start_of("large", '"tool_response": "' + "x" * INPUT_BYTES_MAX * 2 + '"').encode()
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([*HOOK, "claude"], env=daemon.environ, **pipes) as process:
        assert process.stdin
        assert process.stderr
        process.stdin.write(said)  # A client that did not expect a closed pipe would fail here.
        process.stdin.close()
        complaint = process.stderr.read().decode()
    assert process.returncode == 0
    assert f"the event that claude told has {len(said)} bytes" in complaint
    assert daemon.row("SELECT count(*) FROM peers")[0] == 0
