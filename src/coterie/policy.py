"""Who may do what: one table. What is not in it is allowed to every caller of the same user.

Against hostile programs of the same user this is no wall, and SECURITY.md says so: it keeps agents honest, not
attackers out.
"""

from __future__ import annotations

from coterie.errors import HumanOnly

HUMAN_METHODS = {
    "daemon.down": "coterie down",
    "daemon.up": "coterie up",
    "peers.rename_other": "coterie name NEW --peer PEER",
}
"""Methods that only a person may call, and the line that the person types."""


def check_human(method: str, is_human: bool) -> None:
    """Raises `HumanOnly`, with the line for the person to type, if an agent calls a human's method."""
    line = HUMAN_METHODS.get(method)
    if line and not is_human:
        raise HumanOnly("only a person may do this", f"ask the person to type: {line}")
