"""Reads what crossed a wire: the packets of a pcap file, put together to the streams that they were."""

from __future__ import annotations

import ipaddress
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

TCP, UDP = 6, 17
HEAD_BYTES, RECORD_BYTES = 24, 16
HANDSHAKE = b"\x16\x03"
"""How a TLS stream begins, in either direction."""


class Ends(NamedTuple):
    """One direction of one connection."""

    sender: str
    sender_port: int
    to: str
    port: int


class Segment(NamedTuple):
    """What one packet carried."""

    ends: Ends
    protocol: int
    number: int
    """Where in the stream it stands (TCP)."""
    text: bytes


def packets(path: Path) -> Iterator[bytes]:
    """The packets in a file, in the order in which they were sent. The last may not be there whole yet."""
    data = path.read_bytes()
    at = HEAD_BYTES
    while at + RECORD_BYTES <= len(data):
        size = struct.unpack_from("<I", data, at + 8)[0]
        yield data[at + RECORD_BYTES : at + RECORD_BYTES + size]
        at += RECORD_BYTES + size


def segment(packet: bytes) -> Segment | None:
    """What a packet carried, or None if it is neither TCP nor UDP."""
    if packet[0] >> 4 == 4:
        head, protocol, sender, to = (packet[0] & 15) * 4, packet[9], packet[12:16], packet[16:20]
    else:
        head, protocol, sender, to = 40, packet[6], packet[8:24], packet[24:40]
    if protocol not in (TCP, UDP):
        return None
    ports = struct.unpack_from("!HH", packet, head)
    ends = Ends(str(ipaddress.ip_address(sender)), ports[0], str(ipaddress.ip_address(to)), ports[1])
    size = (packet[head + 12] >> 4) * 4 if protocol == TCP else 8
    number = struct.unpack_from("!I", packet, head + 4)[0] if protocol == TCP else 0
    return Segment(ends, protocol, number, packet[head + size :])


def segments(path: Path) -> list[Segment]:
    """All that was carried."""
    return [found for packet in packets(path) if (found := segment(packet))]


def streams(path: Path) -> dict[Ends, bytes]:
    """What each direction of each TCP connection said, whatever was lost, sent again or overtaken."""
    parts: dict[Ends, dict[int, bytes]] = {}
    for found in segments(path):
        if found.protocol == TCP and found.text:
            known = parts.setdefault(found.ends, {})
            known[found.number] = max(known.get(found.number, b""), found.text, key=len)
    return {ends: _joined(known) for ends, known in parts.items()}


def _joined(parts: dict[int, bytes]) -> bytes:
    said, end = b"", 0
    for number, text in sorted(parts.items()):
        fresh = text if not said else text[max(0, end - number) :]
        said += fresh
        end = max(end, number + len(text))
    return said


def all_text(path: Path) -> bytes:
    """Everything that anybody said over the wire."""
    datagrams = [found.text for found in segments(path) if found.protocol == UDP]
    return b"\n".join([*streams(path).values(), *datagrams])
