"""``coterie kill``."""

from __future__ import annotations

import shlex
import sys
from typing import Any

import click

from coterie.cli import say
from coterie.cli.completion import peer_names
from coterie.cli.options import examples, human_option, json_option
from coterie.client import Client, connect
from coterie.errors import BadInput, CoterieError, Refused
from coterie.limits import CALL_S, KILL_S

SCOPES = ("nobody", "repo", "machine")
HOW = {
    "ended": "has ended; its mail waits until it is resumed",
    "still-runs": f"was asked to end and still runs after {KILL_S:g} s; with --force it is not asked",
    "interrupted": "was interrupted; its window is still there, as its process serves others too",
    "no-turn": "has no turn under way; its window is still there, as its process serves others too",
}


@click.command(epilog=examples("coterie kill web", "coterie kill p_7f3k --force", "coterie kill --allow-agents repo"))
@click.argument("peer", required=False, shell_complete=peer_names)
@click.option("--force", is_flag=True, help="Do not ask its process: it ends at once (SIGKILL).")
@click.option("--yes", is_flag=True, help="Do not ask me.")
@click.option(
    "--allow-agents",
    type=click.Choice(SCOPES),
    help="Whose sessions agents may end, with their tool kill_peer: nobody's (the default), those of their own "
    "repository, everybody's on this machine.",
)
@human_option
@json_option
def kill(peer: str | None, force: bool, yes: bool, allow_agents: str | None, i_am_human: bool, as_json: bool) -> int:
    """End the session of a peer.

    Its own process is asked to end. OpenCode serves several folders with one: who ends with it is named before. A Codex
    thread shares its process with others: there the turn under way is interrupted.
    """
    if (peer is None) == (allow_agents is None):
        raise BadInput("name one peer, or say --allow-agents", "coterie kill --help")
    daemon = connect("cli")
    if peer is None:
        return _allow(daemon, str(allow_agents), i_am_human, as_json=as_json)
    named, also = (peer, True) if yes else _asked(daemon, peer, force=force)
    done = daemon.call("peers.kill", {"peer": named, "force": force, "also": also}, CALL_S + KILL_S)
    return _tell(done, as_json=as_json)


def _asked(daemon: Client, peer: str, *, force: bool) -> tuple[str, bool]:
    """The id of whom the person wants ended, and whether others with it. Raises `Refused` where nobody can be asked."""
    shown = daemon.call("peers.kill_shows", {"peer": peer})
    who = f"{say.plain(shown['name'])} ({shown['kind']}, {shown['peer']})"
    others = ", ".join(f"{say.plain(other['name'])} ({other['kind']}, {other['peer']})" for other in shown["also"])
    if sys.stdin is None or not sys.stdin.isatty():
        line = f"coterie kill {shlex.quote(peer)}{' --force' if force else ''} --yes"
        ends = f"; {others} would end with it, by the same process" if others else ""
        raise Refused(f"nobody can be asked here, and {who} was left alone{ends}", f"to end it all the same: {line}")
    what = f"end the session of {who}, and with it, by the same process, {others}?" if others else None
    click.confirm(what or f"end the session of {who}?", abort=True, err=True)
    return shown["peer"], bool(others)


def _tell(done: dict[str, Any], *, as_json: bool) -> int:
    failed = done["how"] == "still-runs"
    if as_json:
        say.result_json(done)
    else:
        tell = say.note if failed else say.result
        for peer in (done, *done["also"]):
            tell(f"{say.plain(peer['name'])} ({peer['peer']}) {HOW[done['how']]}")
    return CoterieError.exit_status if failed else say.DONE


def _allow(daemon: Client, scope: str, i_am_human: bool, *, as_json: bool) -> int:
    done = daemon.call("peers.allow_kill", {"scope": scope, "i_am_human": i_am_human})
    if as_json:
        say.result_json(done)
    elif scope == "nobody":
        say.result("agents may end nobody's session")
    else:
        whose = "everybody's session" if scope == "machine" else "sessions of their own repository"
        say.result(f"agents may end {whose}; sessions that start from now on have the tool kill_peer")
    return say.DONE
