"""Carriers that need no child of the session: the daemon itself tells a client that there is mail.

They speak in the user's role, so they bring a nudge and never a peer's text. One file a kind of agent; each is loaded
when the first session of its kind can be told something.
"""

from __future__ import annotations

from importlib import import_module

from coterie.agents.carriers.carrier import Carrier

MODULES = {"codex": "coterie.agents.carriers.codex", "opencode": "coterie.agents.carriers.opencode"}
"""The kinds that have one. Each module has a function `carrier` that makes it."""


def make(kind: str) -> Carrier:
    """The carrier of a kind of agent. Raises KeyError for a kind that has none."""
    carrier: Carrier = import_module(MODULES[kind]).carrier()
    return carrier
