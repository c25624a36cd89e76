"""Where this device can be reached: the addresses that its routes lead out by. No packet is sent to find out."""

from __future__ import annotations

import contextlib
import ipaddress
import socket

_FAR = {
    socket.AF_INET: ("192.0.2.1", 9),
    socket.AF_INET6: ("2001:db8::1", 9),
}
"""Addresses of documentation (RFC 5737, RFC 3849), that are nobody's: only the way to them is asked for."""
LOOPBACK = "127.0.0.1"
EVERYWHERE = {"0.0.0.0": (socket.AF_INET,), "::": (socket.AF_INET6, socket.AF_INET)}  # noqa: S104 (a wildcard to be recognised)


def hosts(listen_addr: str) -> list[str]:
    """The hosts by which others reach what listens there, the best first; empty if there is only loopback.

    Those that routes lead out by come first; behind them all others, as a cable to one machine has no default route.
    """
    families = EVERYWHERE.get(listen_addr)
    if families is None:
        return [] if is_loopback(listen_addr) else [listen_addr]
    # IPv4 first: it fits into every form of an invitation.
    routed = [host for family in sorted(families) if (host := _route(family))]
    return list(dict.fromkeys([*routed, *_of_interfaces(families)]))


def is_loopback(host: str) -> bool:
    """Whether `host` means this device itself."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host.partition("%")[0]).is_loopback
    return host.lower() == "localhost"


def _route(family: socket.AddressFamily) -> str | None:
    """The address that a packet out into the world would bear; None without a default route."""
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_FAR[family])
        except OSError:
            return None
        host = str(probe.getsockname()[0])
    return host if _is_of_use(host) else None


def _of_interfaces(families: tuple[socket.AddressFamily, ...]) -> list[str]:
    """Those of the interfaces that are up."""
    import psutil

    up = {name for name, state in psutil.net_if_stats().items() if state.isup}
    found = [
        address.address
        for name, addresses in psutil.net_if_addrs().items()
        for address in addresses
        if name in up and address.family in families and _is_of_use(address.address)
    ]
    return sorted(found, key=lambda host: ":" in host)


def _is_of_use(host: str) -> bool:
    address = ipaddress.ip_address(host.partition("%")[0])
    return not (address.is_loopback or address.is_link_local or address.is_unspecified)
