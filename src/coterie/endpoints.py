"""Where a device listens: a host and a TCP port, as people and links spell them.

The forms, each with a port behind it or without:

    192.168.1.50, 192.168.1.50:9847      IPv4
    fe80::1%eth0, [fe80::1%eth0]:9847    IPv6, with its zone if it is link-local; in brackets where a port follows
    laptop.local, laptop.local:9847      a name, to be looked up when it is dialled

Whether anybody is there is found out by dialling.
"""

from __future__ import annotations

import ipaddress
import re

from coterie.errors import BadInput

PORT = 9847
"""Where a relay listens unless told otherwise."""
PORT_MAX = 65_535
HOST_CHARS_MAX = 253
"""The longest name of the domain name system (RFC 1035, section 2.3.4)."""
_SHOWN = 80

_BRACKETED = re.compile(r"\[([^\[\]]*)\](?::(.*))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_ZONE = re.compile(r"[A-Za-z0-9_.-]{1,32}")
_NUMERIC = re.compile(r"[0-9.]+")
_DIGITS = re.compile(r"[0-9]{1,5}")

Endpoint = tuple[str, int]
"""Host and port; the host as `parse_address` gives it: in lower case, IPv6 in its shortest form, without brackets."""


def parse_address(text: str, default_port: int = PORT) -> Endpoint:
    """The host and the port that `text` names; without a port, `default_port`. Raises `BadInput`."""
    plain = text.strip()
    _no_address_at_all(plain)
    bracketed = _BRACKETED.fullmatch(plain)
    if bracketed:
        return _ipv6(bracketed[1], plain), default_port if bracketed[2] is None else _port(bracketed[2], plain)
    if plain.count(":") > 1:
        return _ipv6(plain, plain), default_port
    host, colon, port = plain.partition(":")
    return _name_or_ipv4(host, plain), _port(port, plain) if colon else default_port


def address(host: str, port: int) -> str:
    """A host and a port as one text, which `parse_address` reads back."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _no_address_at_all(plain: str) -> None:
    if not plain:
        raise BadInput("the address is empty", f"such as 192.168.1.50:{PORT}, [fe80::1%eth0]:{PORT} or laptop.local")
    if "://" in plain or "/" in plain:
        raise BadInput(f"{plain[:_SHOWN]!r} is no address", f"host:port alone, such as 192.168.1.50:{PORT}")
    if "@" in plain:
        raise BadInput(f"{plain[:_SHOWN]!r} is no address", "leave out what stands before the @")


def _port(text: str, whole: str) -> int:
    if not _DIGITS.fullmatch(text) or not 1 <= int(text) <= PORT_MAX:
        raise BadInput(f"{whole[:_SHOWN]!r} has no port that there is", f"a port is a number from 1 to {PORT_MAX}")
    return int(text)


def _ipv6(text: str, whole: str) -> str:
    bare, percent, zone = text.partition("%")
    try:
        found = ipaddress.IPv6Address(bare)
    except ValueError:
        raise BadInput(
            f"{whole[:_SHOWN]!r} is no address",
            f"an IPv6 address with a port stands in brackets: [fe80::1%eth0]:{PORT}",
        ) from None
    if percent and not _ZONE.fullmatch(zone):
        raise BadInput(f"{whole[:_SHOWN]!r} has no zone that there is", "a zone is the name of an interface: %eth0")
    if found.ipv4_mapped:
        return str(found.ipv4_mapped)
    return found.compressed + percent + zone


def _name_or_ipv4(host: str, whole: str) -> str:
    if _NUMERIC.fullmatch(host):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise BadInput(
                f"{whole[:_SHOWN]!r} is no address", "an IPv4 address is four numbers from 0 to 255: 192.168.1.50"
            ) from None
    name = host.lower().removesuffix(".")
    if len(name) > HOST_CHARS_MAX or not all(map(_LABEL.fullmatch, name.split("."))):
        hint = "a name has letters, digits, dashes and dots" if name.isascii() else "spell it in its xn-- form"
        raise BadInput(f"{whole[:_SHOWN]!r} is no address", hint)
    return name
