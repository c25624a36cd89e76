"""OpenCode: a line to the socket of our plugin, which prompts its session inside the client's process.

    to it    {"session", "text", "until"}      until: seconds since the epoch; later it must not be prompted
    from it  {"nudge": "started" | "steered"}   or   {"error"}

The client takes a prompt at any time (measured with 1.18.33): an idle session begins a turn with it, a busy one sees it
with its next request to the model.
"""

from __future__ import annotations

import asyncio
import time

from coterie.agents.carriers.carrier import Carrier, Nudge
from coterie.errors import BadLine, Unavailable
from coterie.files import check_socket
from coterie.jsonline import decode, encode

ANSWER_BYTES_MAX = 4096
"""What the plugin answers: a word, or an error of the client in short."""
ANSWER_S = 5.0
"""How long the plugin may take. Measured: 20 ms."""
AGAIN = "it is told again when it is prompted the next time"


class OpenCodeCarrier(Carrier):
    """Each nudge has a connection of its own: there are few, and a session that ended leaves nothing behind."""

    async def nudge(self, endpoint: str, session: str, text: str) -> Nudge:
        """Have the plugin prompt its session."""
        if not check_socket(endpoint):
            raise Unavailable("its client does not listen any more", AGAIN)
        left = False
        try:
            async with asyncio.timeout(ANSWER_S):
                line = encode({"session": session, "text": text, "until": time.time() + ANSWER_S})
                reader, writer = await asyncio.open_unix_connection(endpoint, limit=ANSWER_BYTES_MAX)
                left = True
                answer = decode(await _ask(reader, writer, line), mend=True)
        except (OSError, BadLine, ValueError) as error:
            raise Unavailable(_reason(error), AGAIN, unanswered=left) from None
        if isinstance(answer, dict) and answer.get("nudge") in set(Nudge):
            return Nudge(answer["nudge"])
        said = answer.get("error") if isinstance(answer, dict) else None
        raise Unavailable(f"its client did not take it: {str(said)[:200]}", AGAIN, unanswered=said is None)

    async def close(self) -> None:
        """Nothing is open."""


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: bytes) -> bytes:
    try:
        writer.write(line)
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"its client did not answer within {ANSWER_S:g} s"
    if isinstance(error, OSError):
        return f"its client cannot be reached: {error.strerror or error}"
    return f"its client answered something unexpected: {error}"


def carrier() -> Carrier:
    """The carrier of this kind."""
    return OpenCodeCarrier()
