"""Pairs two hosts as their persons do: a command on each side, at a terminal. What is typed is read off the screen."""

from __future__ import annotations

from cli.detached import Command, Ended
from conftest import wait_for
from hosts.host import Host

FORMS: dict[str, tuple[list[str], str]] = {
    "code": (["invite"], r"\b(?:[A-Z2-7]{3}-){4}[A-Z2-7]{3}\b"),
    "words": (["invite", "--words"], r"\b(?:[a-z]{3,8}-){8}[a-z]{3,8}(?=\s)"),
    "link": (["invite", "--qr"], r"coterie://\S+-[a-z2-7]{5}(?=\s)"),
    "raw": (["pair"], r"\b(?:[0-9a-f]{4}-){3}[0-9a-f]{4}(?=\s)"),
}
"""The forms of an invitation: the command that makes one, and what it looks like on the screen."""
LINK_S = 20


def invite(host: Host, form: str = "code", *options: str) -> tuple[Command, str]:
    """Start an invitation; the command under way, and what it has the other person type."""
    words, pattern = FORMS[form]
    command = host.type("relay", *words, *options)
    return command, command.wait_for(pattern, "out")


def join(host: Host, form: str, spelled: str, inviter: str) -> Ended:
    """Type what the other screen says. `inviter` is host:port, which goes with the raw form only."""
    if form == "raw":
        return host.coterie("relay", "accept", spelled, inviter)
    return host.coterie("relay", "join", spelled)


def pair(one: Host, other: Host, form: str = "code", *options: str, port: int = 9847) -> tuple[Ended, Ended]:
    """Pair two hosts; what both screens showed. Returns once there is a link between them."""
    inviting, spelled = invite(one, form, *options)
    joined = join(other, form, spelled, f"{one.ip4}:{port}")
    assert joined.status == 0, str(joined)
    invited = inviting.finish()
    assert invited.status == 0, str(invited)
    for host, peer in ((one, other), (other, one)):
        wait_for(lambda: connected(host, peer), f"{host.label} has a link to {peer.label}", LINK_S)  # noqa: B023
    return invited, joined


def devices(host: Host) -> list[dict[str, object]]:
    """The cards of the devices that a host is paired with."""
    cards: list[dict[str, object]] = host.json("relay", "peers")["devices"]
    return cards


def card(host: Host, peer: Host) -> dict[str, object]:
    """The card of one of them, or an empty one."""
    return next((found for found in devices(host) if found["name"] == peer.label), {})


def connected(host: Host, peer: Host) -> bool:
    """Whether a host has a link to another."""
    return bool(card(host, peer).get("connected"))


def wait_link(host: Host, peer: Host, there: bool = True, timeout: float = LINK_S) -> None:
    """Return once there is a link to the other host, or none."""
    wait_for(lambda: connected(host, peer) is there, f"{host.label} to {peer.label}: link {there}", timeout)
