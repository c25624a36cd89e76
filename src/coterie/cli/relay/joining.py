"""``coterie relay join`` and ``accept``."""

from __future__ import annotations

import select
import sys
from typing import Any

import click

from coterie.cli import say
from coterie.cli.completion import device_names
from coterie.cli.options import examples, human_option, json_option
from coterie.cli.relay import screens
from coterie.client import Client, connect
from coterie.errors import BadInput
from coterie.limits import ACCEPT_CALL_S, JOIN_CALL_S

PASTE_S = 0.1
"""What stands on several lines when it is pasted comes in one go; nobody types a second line so soon."""
PIPED_CHARS = 4096
"""Of what is piped in; the longest link has a quarter of it."""

INTERRUPTED = "interrupted; what was begun may be finished all the same: coterie relay peers says who is paired"
INTERRUPTED_EARLY = "withdrawn: nobody was given the code, and it holds as long as the other screen says"


@click.command(epilog=examples("coterie relay join", "coterie relay join 4YE-XKP-NSY-CB5-R55"))
@click.argument("code", nargs=-1)
@human_option
@json_option
def join(code: tuple[str, ...], i_am_human: bool, as_json: bool) -> int:
    """Pair with the device that made an invitation.

    CODE is its relay code, its nine words, or its link. Without an argument you are asked for it. As an argument other
    users of this machine can see it (ps) until this command ends, and your shell keeps it in its history; it serves
    once.
    """
    daemon = connect("cli")
    if not code:
        daemon.call("person.check", {"method": "relay.join", "i_am_human": i_am_human})  # Before anybody types.
    text = _something(" ".join(code) if code else _asked())
    return _pair(daemon, "relay.join", {"text": text, "i_am_human": i_am_human}, as_json=as_json)


@click.command(
    epilog=examples(
        "coterie relay accept a3f2-9b1c-d4e5-f6c7 192.168.1.50:9847", "coterie relay accept a3f2-9b1c-d4e5-f6c7"
    )
)
@click.argument("code")
@click.argument("peer", metavar="[HOST:PORT|DEVICE]", required=False, shell_complete=device_names)
@human_option
@json_option
def accept(code: str, peer: str | None, i_am_human: bool, as_json: bool) -> int:
    """Pair by a raw code with the device at an address.

    That device shows the code to whoever types there: coterie relay pair. One that is known here may be named instead.
    Where there is neither, this waits, ten minutes at most, until you type in another terminal: coterie relay connect
    HOST:PORT. As an argument the code can be seen (ps) until this command ends; it serves once.
    """
    params = {"code": code, **({"peer": peer} if peer else {}), "i_am_human": i_am_human}
    return _pair(connect("cli"), "relay.accept", params, ACCEPT_CALL_S, as_json=as_json)


def _asked() -> str:
    if sys.stdin is None:
        raise BadInput("there is nowhere to ask for the code", "give it as an argument")
    if not sys.stdin.isatty():
        return sys.stdin.read(PIPED_CHARS)
    say.note("the code, the nine words, or the link?")
    lines = [sys.stdin.readline()]
    if not lines[0]:
        raise click.Abort
    # The rest of what was pasted would go to the shell, which would run it.
    while select.select([sys.stdin], [], [], PASTE_S)[0] and (line := sys.stdin.readline()):
        lines.append(line)
    return "".join(lines)


def _something(text: str) -> str:
    if not text.strip():
        raise BadInput("there is no invitation", "type its code or its words, or paste its link")
    return text


def _pair(daemon: Client, method: str, params: dict[str, Any], wait_s: float = JOIN_CALL_S, *, as_json: bool) -> int:
    daemon.listen("pairing")
    stage = ""

    def hear(event: dict[str, Any]) -> None:
        nonlocal stage
        stage = event["stage"]
        if not as_json or stage in screens.ASKING:  # Nobody else says what is waited for.
            screens.joining(event)

    try:
        device = daemon.call(method, params, wait_s, hear)
    except KeyboardInterrupt:
        say.note(INTERRUPTED_EARLY if stage in screens.ASKING else INTERRUPTED)
        return say.INTERRUPTED
    if as_json:
        say.result_json(device)
    else:
        screens.joined(device)
    return say.DONE if device["connected"] else say.NO_ANSWER
