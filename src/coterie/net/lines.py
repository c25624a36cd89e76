"""Strict JSON objects of bounded length, one a line, over the streams of asyncio; and what may stand in their fields.

Whatever is wrong with a line is a `BadInput` that says what was expected, and never what came.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from typing import Any

from coterie.endpoints import address, parse_address
from coterie.errors import BadInput, BadLine
from coterie.jsonline import LineReader, decode, encode
from coterie.limits import ADDRESS_CHARS_MAX, ADDRESSES_MAX

Json = dict[str, Any]
_HEX = re.compile(r"[0-9a-f]*")


class Closed(BadInput):
    """The other side closed the connection where a line was due."""


class Lines:
    """Both directions of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line_bytes_max: int) -> None:
        self.writer = writer
        self._reader = reader
        self._max = line_bytes_max
        self._cutter = LineReader(line_bytes_max)
        self._came: list[bytes | BadLine] = []

    async def receive(self) -> Json:
        """The next object. Raises `Closed`, or `BadInput`."""
        while not self._came:
            data = await self._read()
            if not data:
                raise Closed("the connection was closed")
            self._came += self._cutter.feed(data)
        line = self._came.pop(0)
        try:
            found = line if isinstance(line, BadLine) else decode(line)
        except BadLine:  # Its words may quote the line.
            found = []
        if not isinstance(found, dict):
            raise BadInput(f"a line must be one strict JSON object of at most {self._max} bytes")
        return found

    async def send(self, message: Json) -> None:
        """Write one object, and wait until it is on its way."""
        try:
            self.writer.write(encode(message))
            await self.writer.drain()
        except OSError as error:
            raise Closed("the connection was closed") from error

    async def end(self) -> None:
        """Wait for the other side to close; whatever it still says is passed over."""
        while await self._read():
            pass

    async def _read(self) -> bytes:
        try:
            return await self._reader.read(self._max)
        except OSError:  # A reset, or an alert of TLS, ends it as well.
            return b""


def text_in(line: Json, name: str, chars_max: int) -> str:
    """The text in a field. Raises `BadInput`."""
    found = line.get(name)
    if not isinstance(found, str) or not found or len(found) > chars_max:
        raise BadInput(f"{name} must be a text of 1 to {chars_max} characters")
    return found


def bytes_in(line: Json, name: str, size: int) -> bytes:
    """The `size` bytes in a field, as hexadecimal. Raises `BadInput`."""
    found = line.get(name)
    if not isinstance(found, str) or len(found) != 2 * size or not _HEX.fullmatch(found):
        raise BadInput(f"{name} must be {2 * size} digits of lower-case hexadecimal")
    return bytes.fromhex(found)


def base64_in(line: Json, name: str, bytes_max: int) -> bytes:
    """The bytes in a field, as base64. Raises `BadInput`."""
    found = text_in(line, name, bytes_max * 4 // 3 + 4)
    try:
        return base64.b64decode(found, validate=True)
    except (binascii.Error, ValueError):
        raise BadInput(f"{name} must be base64") from None


def addresses_in(line: Json) -> tuple[str, ...]:
    """The addresses of a device, as this version spells them; one of a kind that it does not know is left out."""
    found = line.get("addresses")
    if not isinstance(found, list) or len(found) > ADDRESSES_MAX:
        raise BadInput(f"addresses must be a list of up to {ADDRESSES_MAX}")
    return tuple(known for known in map(_known_address, found) if known)


def _known_address(text: object) -> str | None:
    if not isinstance(text, str) or len(text) > ADDRESS_CHARS_MAX:
        return None
    try:
        return address(*parse_address(text))
    except BadInput:
        return None
