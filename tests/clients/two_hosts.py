"""Two labs with a cable between them: two machines, each with a person's home, its agents and a scripted model."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from cli.detached import COTERIE, Command
from clients import namespace
from clients.lab import Lab

COLUMNS = 100
CODE = r"\b(?:[A-Z2-7]{3}-){4}[A-Z2-7]{3}\b"
"""A relay code on the screen."""


def lacking() -> str:
    """What this machine lacks to lay a cable, or ""."""
    if not shutil.which("ip"):
        return "ip (Debian's iproute2)"
    return "" if os.geteuid() == 0 else "root, to join two networks"


class TwoHosts:
    """Two labs, of which each is a host of its own."""

    def __init__(self, one: Lab, other: Lab) -> None:
        self.one, self.other = one, other
        self.addresses = namespace.join(one.network, other.network)

    def pair(self) -> None:
        """Pair the two as persons do: one command on each side, at a terminal."""
        inviting = typed(self.one, "relay", "invite", "--addr", self.addresses[0])
        code = inviting.wait_for(CODE, "out")
        joined = typed(self.other, "relay", "join", code).finish()
        assert joined.status == 0, str(joined)
        invited = inviting.finish()
        assert invited.status == 0, str(invited)

    def label(self, seen_by: Lab) -> str:
        """What a lab calls the other device."""
        listed = seen_by.coterie("relay", "peers", "--json")
        found = re.findall(r'"name": ?"([^"]+)"', listed.stdout)
        assert len(found) == 1, str(listed)
        return str(found[0])


def typed(lab: Lab, *arguments: str) -> Command:
    """Start a command of ours in a lab at a terminal."""
    command = ["/usr/bin/env", *lab.inside([COTERIE, *arguments])]
    return Command(command, lab.environment(), str(lab.work), terminal=COLUMNS)


@contextmanager
def two_hosts() -> Iterator[TwoHosts]:
    """Two labs with a cable between them."""
    with contextlib.ExitStack() as stack:
        one, other = stack.enter_context(Lab()), stack.enter_context(Lab())
        yield TwoHosts(one, other)
