"""Where this device can be reached, asked of the routes that the system has."""

from __future__ import annotations

import ipaddress
import socket
from types import SimpleNamespace

import psutil
import pytest

from coterie.daemon import whereabouts


@pytest.mark.parametrize(
    ("listen_addr", "hosts"),
    [("127.0.0.1", []), ("127.5.0.1", []), ("::1", []), ("localhost", []), ("192.0.2.7", ["192.0.2.7"])],
)
def test_what_listens_at_one_address_is_reached_there(listen_addr: str, hosts: list[str]) -> None:
    assert whereabouts.hosts(listen_addr) == hosts


@pytest.mark.parametrize("listen_addr", sorted(whereabouts.EVERYWHERE))
def test_what_listens_everywhere_is_reached_at_addresses_of_its_own(listen_addr: str) -> None:
    for host in whereabouts.hosts(listen_addr):
        address = ipaddress.ip_address(host)
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_unspecified
        with socket.socket(socket.AF_INET6 if address.version == 6 else socket.AF_INET) as probe:
            probe.bind((host, 0))


def test_without_a_route_the_interfaces_are_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    routed = whereabouts.hosts("0.0.0.0")
    monkeypatch.setattr(whereabouts, "_route", lambda family: None)
    found = whereabouts.hosts("::")
    assert set(routed) <= set(found)
    assert found == sorted(found, key=lambda host: ":" in host)


@pytest.mark.parametrize(
    ("listen_addr", "hosts"),
    [
        ("0.0.0.0", ["198.51.100.7", "192.0.2.9", "203.0.113.2"]),
        ("::", ["198.51.100.7", "192.0.2.9", "203.0.113.2", "2001:db8::9"]),
    ],
)
def test_other_interfaces_follow_the_one_with_the_route(
    monkeypatch: pytest.MonkeyPatch, listen_addr: str, hosts: list[str]
) -> None:
    def has(*addresses: str) -> list[SimpleNamespace]:
        kinds = [socket.AF_INET6 if ":" in host else socket.AF_INET for host in addresses]
        return [SimpleNamespace(family=kind, address=host) for kind, host in zip(kinds, addresses, strict=True)]

    interfaces = {
        "lo": has("127.0.0.1", "::1"),
        "cable": has("192.0.2.9", "2001:db8::9", "fe80::9%cable"),
        "radio": has("198.51.100.7"),
        "off": has("192.0.2.77"),
        "tunnel": has("203.0.113.2"),
    }
    monkeypatch.setattr(psutil, "net_if_addrs", lambda: interfaces)
    monkeypatch.setattr(
        psutil, "net_if_stats", lambda: {name: SimpleNamespace(isup=name != "off") for name in interfaces}
    )
    routes = {socket.AF_INET: "198.51.100.7"}
    monkeypatch.setattr(whereabouts, "_route", routes.get)
    assert whereabouts.hosts(listen_addr) == hosts


@pytest.mark.parametrize(
    ("host", "is_loopback"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("192.0.2.1", False),
        ("fe80::1%lo", False),
        ("x", False),
    ],
)
def test_loopback_is_known(host: str, is_loopback: bool) -> None:
    assert whereabouts.is_loopback(host) is is_loopback
