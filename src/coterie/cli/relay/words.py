"""What a device is said to be and to do, in few words, and how long lines are broken."""

from __future__ import annotations

import re
from typing import Any

from coterie.cli import say
from coterie.cli.sizes import memory
from coterie.cli.table import text_width, wrapped
from coterie.cli.times import span

INDENT = "  "
LABEL = 11
"""Columns of the labels before what they say, the longest and a blank."""
TEXT_LEAST = 8
"""Columns that a labelled text has on the narrowest terminal."""


def link_state(device: dict[str, Any]) -> str:
    """How it is with the link to a device."""
    if device["standing"] == "forgotten":
        return "forgotten"
    if device["connected"]:
        return f"connected {span(device['since_s'] or 0)}"
    if device["has_forgotten"]:
        return "has forgotten this device"
    if device["parted"]:
        return "disconnected by you"
    if device["last_seen_s"] is None:
        return "never connected"
    return f"no word for {span(device['last_seen_s'])}"


def mail(outbox: dict[str, int]) -> str:
    """What waits for a device."""
    if not outbox["messages"]:
        return "none waits"
    return f"{say.count(outbox['messages'], 'message')} ({memory(outbox['bytes'])})"


def rights(device: dict[str, Any]) -> str:
    """What a device may do here, in a sentence's end."""
    return ", ".join(device["grants"]) or "nothing"


def labelled(label: str, text: str) -> str:
    """A label, and beside it a text on as many lines as it takes."""
    width = say.width()
    lines = [text] if width is None else wrapped(text, max(width - LABEL, TEXT_LEAST))
    return f"{label:<{LABEL}}" + ("\n" + " " * LABEL).join(lines)


def dashed(text: str) -> str:
    """A text of groups with dashes between them, indented, broken behind dashes where there is no room. Whoever types
    or pastes it back may keep the breaks.
    """
    width = say.width()
    lines = [""]
    for part in re.split(r"(?<=-)", text):
        if width is not None and lines[-1] and text_width(INDENT + lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(INDENT + line for line in lines)


def whole(text: str) -> str:
    """A text that is copied off the screen: indented where there is room, and never broken by us. Where the terminal
    wraps it, its marked text has no break in it.
    """
    width = say.width()
    return text if width is not None and text_width(INDENT + text) > width else INDENT + text
