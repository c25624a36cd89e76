"""Hosts and ports: what people type, and how it is written."""

from __future__ import annotations

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.endpoints import PORT, address, parse_address
from coterie.errors import BadInput


@pytest.mark.parametrize(
    ("text", "endpoint"),
    [
        ("192.168.1.50", ("192.168.1.50", 7)),
        ("192.168.1.50:9847", ("192.168.1.50", 9847)),
        (" 10.0.0.1:1\n", ("10.0.0.1", 1)),
        ("0.0.0.0:65535", ("0.0.0.0", 65535)),
        ("::", ("::", 7)),
        ("::1", ("::1", 7)),
        ("[::1]", ("::1", 7)),
        ("[::1]:9847", ("::1", 9847)),
        ("FE80:0:0::1%eth0", ("fe80::1%eth0", 7)),
        ("[fe80::1%wlp3s0.100]:9847", ("fe80::1%wlp3s0.100", 9847)),
        ("2001:db8::192.0.2.1", ("2001:db8::c000:201", 7)),
        ("::ffff:192.0.2.1", ("192.0.2.1", 7)),
        ("laptop", ("laptop", 7)),
        ("Laptop.Local.", ("laptop.local", 7)),
        ("build_1.example:22", ("build_1.example", 22)),
        ("xn--bcher-kva.example", ("xn--bcher-kva.example", 7)),
        ("4you", ("4you", 7)),
    ],
)
def test_what_is_read(text: str, endpoint: tuple[str, int]) -> None:
    assert parse_address(text, 7) == endpoint
    assert parse_address(address(*endpoint)) == endpoint


def test_the_port_of_the_relay_unless_said() -> None:
    assert parse_address("laptop") == ("laptop", PORT) == ("laptop", 9847)


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("", "empty", "such as 192.168.1.50:9847"),
        (" \n", "empty", "such as"),
        ("http://laptop:9847", "no address", "host:port alone"),
        ("laptop/24", "no address", "host:port alone"),
        ("me@laptop", "no address", "before the @"),
        ("laptop:", "no port", "from 1 to 65535"),
        ("laptop:0", "no port", "from 1 to 65535"),
        ("laptop:65536", "no port", "from 1 to 65535"),
        ("laptop:-1", "no port", "from 1 to 65535"),
        ("laptop:+1", "no port", "from 1 to 65535"),
        ("laptop:1_0", "no port", "from 1 to 65535"),
        ("laptop: 80", "no port", "from 1 to 65535"),
        ("laptop:\u0661", "no port", "from 1 to 65535"),
        ("laptop:ssh", "no port", "from 1 to 65535"),
        ("laptop:" + "9" * 5000, "no port", "from 1 to 65535"),
        ("[::1]:", "no port", "from 1 to 65535"),
        ("[::1]x", "no address", "in brackets"),
        ("[192.168.1.50]:80", "no address", "in brackets"),
        ("::1::", "no address", "in brackets"),
        ("1:2:3", "no address", "in brackets"),
        ("fe80::1%", "no zone", "%eth0"),
        ("fe80::1%a b", "no zone", "%eth0"),
        ("[fe80::1%a;b]:80", "no zone", "%eth0"),
        ("192.168.1", "no address", "four numbers"),
        ("192.168.1.256:80", "no address", "four numbers"),
        ("192.168.01.50", "no address", "four numbers"),
        ("3232235826", "no address", "four numbers"),
        ("lap top", "no address", "letters, digits"),
        ("lap..top", "no address", "letters, digits"),
        ("-laptop", "no address", "letters, digits"),
        (".", "no address", "four numbers"),
        ("a" * 64, "no address", "letters, digits"),
        (".".join(["a" * 50] * 6), "no address", "letters, digits"),
        ("b\u00fccher.example", "no address", "xn--"),
        ("lap\x00top", "no address", "letters, digits"),
        (":80", "no address", "letters, digits"),
    ],
)
def test_what_is_refused(text: str, message: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_address(text)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert len(caught.value.message) < 200


@given(st.text(max_size=40) | st.from_regex(r"[\[\]0-9a-f:.%-]{1,30}", fullmatch=True))
def test_whatever_is_typed_is_read_or_refused(text: str) -> None:
    try:
        host, port = parse_address(text)
    except BadInput:
        return
    assert parse_address(address(host, port)) == (host, port)
    assert 1 <= port <= 65535
    assert not set(host) & set(" /@[],\t\n")


@given(st.ip_addresses(v=6), st.integers(1, 65535))
def test_ipv6(ip: ipaddress.IPv6Address, port: int) -> None:
    host, found = parse_address(f"[{ip.exploded}]:{port}")
    assert found == port
    if not ip.ipv4_mapped:
        assert socket.inet_pton(socket.AF_INET6, host) == ip.packed
