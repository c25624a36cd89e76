"""The carrier of OpenCode, against a real socket in the place of our plugin's."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import coterie.agents.carriers.opencode as module
from coterie.agents import carriers
from coterie.agents.carriers.carrier import Nudge
from coterie.errors import Unavailable, Unsafe

Answer = Callable[[dict[str, Any]], bytes | None]


@pytest.fixture
def folder() -> Iterator[Path]:
    """Its path is short, as a socket lies in it."""
    with tempfile.TemporaryDirectory(prefix="coterie-") as name:
        yield Path(name)


def nudge(folder: Path, answer: Answer, mode: int = 0o600) -> Nudge:
    """A nudge to a plugin that answers so; None: it never does."""
    left: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        left.append(asyncio.Event())
        said = answer(json.loads(await reader.readline()))
        if said is not None:
            writer.write(said)
        else:
            await reader.read()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        left[-1].set()

    async def run() -> Nudge:
        path = str(folder / "s")
        server = await asyncio.start_unix_server(serve, path)
        os.chmod(path, mode)
        carrier = carriers.make("opencode")
        try:
            return await carrier.nudge(path, "ses_1", "a word")
        finally:
            await carrier.close()
            server.close()
            for closed in left:
                await closed.wait()

    return asyncio.run(run())


@pytest.mark.parametrize("word", ["started", "steered", "queued"])
def test_the_plugin_says_what_became_of_it(folder: Path, word: str) -> None:
    told: list[dict[str, Any]] = []

    def answer(line: dict[str, Any]) -> bytes:
        told.append(line)
        return json.dumps({"nudge": word}).encode() + b"\n"

    assert nudge(folder, answer) is Nudge(word)
    until = told[0].pop("until")
    assert told == [{"session": "ses_1", "text": "a word"}]
    assert abs(until - time.time() - module.ANSWER_S) < 5


@pytest.mark.parametrize(
    ("said", "error", "unanswered"),
    [
        (b'{"error": "the session is not open here"}\n', "did not take it: the session is not open here", False),
        (b'{"nudge": "unheard of"}\n', "did not take it", True),
        (b"[]\n", "did not take it", True),
        (b"nonsense\n", "unexpected", True),
        (b"", "unexpected", True),
        (b"x" * 10_000 + b"\n", "unexpected", True),
    ],
)
def test_whatever_else_it_says_is_no_success(folder: Path, said: bytes, error: str, unanswered: bool) -> None:
    with pytest.raises(Unavailable, match=error) as raised:
        nudge(folder, lambda line: said)
    assert raised.value.hint
    assert raised.value.unanswered is unanswered, "whether it may have been prompted"


def test_a_plugin_that_does_not_answer_is_not_waited_for_long(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.1)
    with pytest.raises(Unavailable, match=r"did not answer within 0\.1 s") as raised:
        nudge(folder, lambda line: None)
    assert raised.value.unanswered


def test_a_client_that_is_gone(folder: Path) -> None:
    path = str(folder / "s")
    with pytest.raises(Unavailable, match="does not listen any more"):
        asyncio.run(module.carrier().nudge(path, "ses_1", "a word"))

    async def leave_a_socket() -> None:
        (await asyncio.start_unix_server(lambda reader, writer: None, path)).close()

    asyncio.run(leave_a_socket())
    os.chmod(path, 0o600)
    with pytest.raises(Unavailable, match="cannot be reached: Connection refused") as raised:
        asyncio.run(module.carrier().nudge(path, "ses_1", "a word"))
    assert not raised.value.unanswered


def test_a_socket_that_others_may_open_is_not_spoken_to(folder: Path) -> None:
    with pytest.raises(Unsafe, match="open to other users"):
        nudge(folder, lambda line: b"{}\n", mode=0o666)


def test_a_link_is_not_followed(folder: Path) -> None:
    os.symlink("/tmp", folder / "link")
    with pytest.raises(Unsafe, match="symbolic link"):
        asyncio.run(module.carrier().nudge(str(folder / "link"), "ses_1", "a word"))
