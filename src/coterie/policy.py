"""Who may do what: one table. What is not in it is allowed to every caller of the same user.

Against hostile programs of the same user this is no wall, and SECURITY.md says so: it keeps agents honest, not
attackers out.
"""

from __future__ import annotations

from enum import StrEnum

from coterie.errors import HumanOnly, Refused

HUMAN_METHODS = {
    "daemon.down": "coterie down",
    "daemon.up": "coterie up",
    "init": "coterie init",
    "backups.make": "coterie backup",
    "backups.restore": "coterie restore FILE",
    "config.set": "coterie config set KEY VALUE",
    "config.unset": "coterie config unset KEY",
    "peers.rename_other": "coterie name NEW --peer PEER",
    "peers.allow_kill": "coterie kill --allow-agents repo",
    "relay.invite": "coterie relay invite",
    "relay.join": "coterie relay join",
    "relay.accept": "coterie relay accept CODE PLACE",
    "relay.serve": "coterie relay serve",
    "relay.connect": "coterie relay connect DEVICE",
    "relay.disconnect": "coterie relay disconnect DEVICE",
    "relay.forget": "coterie relay forget DEVICE",
    "relay.rename": "coterie relay rename DEVICE NAME",
    "relay.grant": "coterie relay grant DEVICE RIGHT",
    "relay.revoke": "coterie relay revoke DEVICE RIGHT",
    "relay.preview": "coterie relay preview",
    "relay.requests": "coterie relay requests",
    "relay.approve": "coterie relay approve REQUEST",
    "relay.refuse": "coterie relay refuse REQUEST",
    "relay.discover": "coterie relay discover",
}
"""Methods that only a person may call, and the line that the person types."""


def check_human(method: str, is_human: bool) -> None:
    """Raises `HumanOnly`, with the line for the person to type, if an agent calls a human's method."""
    line = HUMAN_METHODS.get(method)
    if line and not is_human:
        raise HumanOnly("only a person may do this", f"ask the person to type: {line}")


class KillScope(StrEnum):
    """Whose sessions an agent may end."""

    NOBODY = "nobody"
    REPO = "repo"
    """Those in its own repository."""
    MACHINE = "machine"
    """Everybody's."""


def check_kill(scope: KillScope, *, is_human: bool, same_repo: bool) -> None:
    """Raises `Refused` if whoever asks may not end the session of another peer."""
    if is_human or scope is KillScope.MACHINE:
        return
    if scope is KillScope.NOBODY:
        raise Refused(
            "agents may not end sessions here",
            f"ask the person: coterie kill PEER; or, for all agents: {HUMAN_METHODS['peers.allow_kill']}",
        )
    if not same_repo:
        raise Refused(
            "that session works in another repository", "ask the person to type: coterie kill --allow-agents machine"
        )
