"""Strict lines over streams, and what may stand in their fields."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.errors import BadInput
from coterie.limits import ADDRESSES_MAX
from coterie.net import lines
from coterie.net.lines import Closed, Lines

MAX = 100


async def _read(chunks: list[bytes], count: int) -> list[dict[str, Any]]:
    reader = asyncio.StreamReader()
    for chunk in chunks:
        reader.feed_data(chunk)
    reader.feed_eof()
    ours = Lines(reader, None, MAX)  # type: ignore[arg-type]
    return [await ours.receive() for _ in range(count)]


def read(*chunks: bytes, count: int = 1) -> list[dict[str, Any]]:
    return asyncio.run(_read(list(chunks), count))


def test_lines_come_one_by_one_however_they_are_cut() -> None:
    assert read(b'{"a":1}\n{"b"', b":2}\n", count=2) == [{"a": 1}, {"b": 2}]
    assert read(*(bytes([byte]) for byte in b'{"a":1}\n\n{"b":2}\n'), count=2) == [{"a": 1}, {"b": 2}]


@pytest.mark.parametrize("data", [b"", b'{"a":1}'])
def test_where_a_line_was_due_the_end_is_told(data: bytes) -> None:
    with pytest.raises(Closed):
        read(data)


@pytest.mark.parametrize(
    "line",
    [b"[]\n", b"canary\n", b'{"canary":1,"canary":2}\n', b'"canary"\n', b"\xff\n", b'{"a":NaN}\n', b"x" * 200 + b"\n"],
)
def test_what_is_no_strict_object_is_refused_and_not_quoted(line: bytes) -> None:
    with pytest.raises(BadInput, match="one strict JSON object") as refused:
        read(line)
    assert "canary" not in str(refused.value)


@given(st.binary(max_size=300))
def test_nothing_else_comes_of_any_bytes(data: bytes) -> None:
    try:
        found = read(data)
    except BadInput:
        return
    assert isinstance(found[0], dict)


def test_a_line_without_an_end_takes_no_more_memory_than_one() -> None:
    async def run() -> None:
        reader = asyncio.StreamReader()
        ours = Lines(reader, None, MAX)  # type: ignore[arg-type]
        reader.feed_data(b"x" * 100_000)
        with pytest.raises(BadInput):
            await ours.receive()
        assert len(ours._cutter._rest) <= MAX

    asyncio.run(run())


def test_a_connection_that_was_reset_is_a_closed_one() -> None:
    async def run() -> None:
        async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readline()
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

        server = await asyncio.start_server(reset, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        ours = Lines(reader, writer, MAX)
        await ours.send({"a": 1})
        await ours.end()
        with pytest.raises(Closed):
            await ours.receive()
        with pytest.raises(Closed):
            await flood(ours)
        server.close()

    asyncio.run(run())


async def flood(ours: Lines) -> None:
    for _ in range(1000):
        await ours.send({"a": "x" * 1000})


def test_what_is_said_after_the_end_is_passed_over() -> None:
    async def run() -> None:
        reader = asyncio.StreamReader()
        reader.feed_data(b"x" * 10 * MAX)
        reader.feed_eof()
        await Lines(reader, None, MAX).end()  # type: ignore[arg-type]
        assert reader.at_eof()

    asyncio.run(run())


# --- fields -----------------------------------------------------------------------------------------


def refused(read_field: Callable[[], object]) -> None:
    with pytest.raises(BadInput, match="must be") as found:
        read_field()
    assert "canary" not in str(found.value)


@pytest.mark.parametrize("value", [None, 1, "", "canary", ["a"], True])
def test_texts_are_bounded(value: object) -> None:
    refused(lambda: lines.text_in({"a": value}, "a", 5))
    refused(lambda: lines.text_in({}, "a", 5))
    assert lines.text_in({"a": "hello"}, "a", 5) == "hello"


@pytest.mark.parametrize("value", [None, 1, "", "canary", "00 1", "0g01", "00", "000102", "ABCD", "\u0661" * 4])
def test_hexadecimal_has_one_spelling(value: object) -> None:
    refused(lambda: lines.bytes_in({"a": value}, "a", 2))
    assert lines.bytes_in({"a": "abcd"}, "a", 2) == b"\xab\xcd"


@pytest.mark.parametrize("value", [None, 1, "", "canary!", "AAA", "A AA", "AA\n==", "A" * 20])
def test_base64_is_strict(value: object) -> None:
    refused(lambda: lines.base64_in({"a": value}, "a", 6))
    assert lines.base64_in({"a": "aGVsbG8="}, "a", 6) == b"hello"


def test_addresses_are_read_as_ours_and_the_unknown_left_out() -> None:
    found = lines.addresses_in({"addresses": ["10.0.0.1", "FE80::1", "a b", 7, None, "x" * 300, "host:70000", "h:1"]})
    assert found == ("10.0.0.1:9847", "[fe80::1]:9847", "h:1")
    assert lines.addresses_in({"addresses": []}) == ()
    for bad in (None, "10.0.0.1", ["h:1"] * (ADDRESSES_MAX + 1), {"a": 1}):
        refused(lambda bad=bad: lines.addresses_in({"addresses": bad}))  # type: ignore[misc]
