"""``coterie relay invite`` and ``pair``."""

from __future__ import annotations

import time
from typing import Any

import click

from coterie.cli import say
from coterie.cli.options import examples, human_option, json_option
from coterie.cli.relay import screens
from coterie.cli.times import in_words
from coterie.client import Client, connect
from coterie.errors import PairingFailed
from coterie.limits import CALL_S

REMINDERS_S = (300.0, 60.0)
"""Of so much time left whoever waits is reminded."""
ANEW = "to invite again: coterie relay invite"

addr_option = click.option("--addr", metavar="HOST[:PORT]", help="Where the other device reaches this one.")
port_option = click.option(
    "--port", type=click.IntRange(0, 65_535), help="Where to listen; 0 for any.  [default: relay.listen_port]"
)
unlock_option = click.option("--unlock", is_flag=True, help="Go on after five codes were burnt within an hour.")


@click.command(
    epilog=examples("coterie relay invite", "coterie relay invite --words --qr", "coterie relay invite --addr 10.0.0.5")
)
@click.option("--words", is_flag=True, help="A phrase of nine words, too.")
@click.option("--qr", is_flag=True, help="The link as a QR code, too.")
@addr_option
@port_option
@unlock_option
@human_option
@json_option
def invite(
    words: bool, qr: bool, addr: str | None, port: int | None, unlock: bool, i_am_human: bool, as_json: bool
) -> int:
    """Invite a device: a code that it joins with, once.

    The code holds for ten minutes, and as long as this command runs. A single wrong try burns it, and you are told.
    With --json a first line has the codes, and a second one what became of them.
    """
    forms = ["code", "link", *(["words"] if words else [])]
    params = {"addr": addr, "port": port, "unlock": unlock, "i_am_human": i_am_human}
    return _invite(forms, params, draw=qr, as_json=as_json)


@click.command(epilog=examples("coterie relay pair"))
@port_option
@unlock_option
@human_option
@json_option
def pair(port: int | None, unlock: bool, i_am_human: bool, as_json: bool) -> int:
    """Invite by a raw code alone.

    It says nothing of where this device is. The other device types: coterie relay accept CODE HOST:PORT.
    """
    return _invite(["raw"], {"port": port, "unlock": unlock, "i_am_human": i_am_human}, draw=False, as_json=as_json)


def _invite(forms: list[str], params: dict[str, Any], *, draw: bool, as_json: bool) -> int:
    client = connect("cli")
    client.listen("pairing")
    said = {name: value for name, value in params.items() if value is not None}
    invitation = client.call("relay.invite", {"forms": forms, **said}, CALL_S)
    try:
        if as_json:
            say.result_json(invitation)
        else:
            screens.invitation(invitation, draw=draw)
        say.flush()
        return _await(client, invitation["expires_s"], as_json=as_json)
    except KeyboardInterrupt:
        return _withdraw(client)


def _await(client: Client, life_s: float, *, as_json: bool) -> int:
    """Tell what happens to the invitation until it is over. Raises `PairingFailed` if nobody was paired."""
    told: dict[str, Any] = {}
    deadline = time.monotonic() + life_s
    while not told.get("done"):
        event = _next(client, deadline, remind=not told)
        told |= event
        if event["done"] and not event.get("ok"):
            raise _failure(event)
        if not as_json:
            screens.inviting(event)
            say.flush()
    if as_json:
        say.result_json(told)
    return say.DONE if told["stage"] == "connected" else say.NO_ANSWER


def _next(client: Client, deadline: float, *, remind: bool) -> dict[str, Any]:
    """The next that happens; until then whoever waits is told how long it may be yet."""
    for left_s in REMINDERS_S if remind else ():
        wait_s = deadline - time.monotonic() - left_s
        if wait_s > 0:
            event = client.next_event(wait_s)
            if event:
                return event
            say.note(f"still waiting; {in_words(left_s)} left")
    event = client.next_event()
    assert event is not None
    return event


def _failure(event: dict[str, Any]) -> PairingFailed:
    hint = event.get("hint") or ANEW
    if event.get("locked"):
        hint = f"{hint}; five were burnt within an hour, so pairing is locked until: coterie relay invite --unlock"
    return PairingFailed(event["text"], hint, reason=event.get("reason", ""), again=event.get("again", False))


def _withdraw(client: Client) -> int:
    if client.call("relay.withdraw")["withdrawn"]:
        say.note("the invitation is withdrawn; its codes are worth nothing now")
    else:
        say.note("interrupted; the invitation was over before: coterie relay peers says who is paired")
    return say.INTERRUPTED
