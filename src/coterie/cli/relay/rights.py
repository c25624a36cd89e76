"""``coterie relay grant``, ``revoke``, ``ask``, ``requests``, ``approve`` and ``refuse``."""

from __future__ import annotations

from typing import Any

import click

from coterie.cli import held, say
from coterie.cli.completion import device_names, request_ids, right_names
from coterie.cli.options import examples, human_option, json_option
from coterie.cli.relay.words import rights
from coterie.cli.table import flowed
from coterie.cli.times import ago
from coterie.client import connect
from coterie.devices import Grant

MEANINGS = {
    Grant.SEE: "be told of the sessions here",
    Grant.MESSAGE: "write to them",
    Grant.TASK: "have agents work for it",
    Grant.EXEC: "run commands here",
    Grant.KNOWLEDGE: "exchange what was learned",
}
RIGHTS = "; ".join(f"{grant}: {meaning}" for grant, meaning in MEANINGS.items())


@click.command(
    help=f"Give a device rights here.\n\n{RIGHTS}. Pairing gives see and message.",
    epilog=examples("coterie relay grant laptop task", "coterie relay grant laptop task knowledge"),
)
@click.argument("device", shell_complete=device_names)
@click.argument("right", nargs=-1, required=True, shell_complete=right_names)
@human_option
@json_option
def grant(device: str, right: tuple[str, ...], i_am_human: bool, as_json: bool) -> None:
    """Give a device rights here."""
    _set("relay.grant", device, right, i_am_human, as_json=as_json)


@click.command(epilog=examples("coterie relay revoke laptop message"))
@click.argument("device", shell_complete=device_names)
@click.argument("right", nargs=-1, required=True, shell_complete=right_names)
@human_option
@json_option
def revoke(device: str, right: tuple[str, ...], i_am_human: bool, as_json: bool) -> None:
    """Take rights from a device, at once.

    Without see it is shown no session. Without message, what it sends is held for you.
    """
    _set("relay.revoke", device, right, i_am_human, as_json=as_json)


def _set(method: str, device: str, right: tuple[str, ...], i_am_human: bool, *, as_json: bool) -> None:
    told = connect("cli").call(method, {"device": device, "grants": list(right), "i_am_human": i_am_human})
    if as_json:
        say.result_json(told)
        return
    unchanged = "" if told["changed"] else "; nothing changed"
    say.result(f"{say.plain(told['name'])} may here: {rights(told)}{unchanged}")


@click.command(epilog=examples("coterie relay ask laptop task --reason 'to run the tests there'"))
@click.argument("device", shell_complete=device_names)
@click.argument("right", shell_complete=right_names)
@click.option("--reason", default="", help="What its person is told.")
@json_option
def ask(device: str, right: str, reason: str, as_json: bool) -> None:
    """Ask a device for a right there. Its person decides, and you are told."""
    told = connect("cli").call("relay.ask", {"device": device, "grant": right, "reason": reason})
    if as_json:
        say.result_json(told)
        return
    name, wanted = say.plain(told["name"]), told["wanted"]
    if told["connected"]:
        say.result(f"asked {name} for the right {wanted} ({told['id']})")
    else:
        say.result(f"{name} is asked for the right {wanted} as soon as it is connected ({told['id']})")
    say.note("its person decides, and you are told; how it stands: coterie relay requests")


@click.command(epilog=examples("coterie relay requests"))
@json_option
def requests(as_json: bool) -> None:
    """What devices ask of you, and what was asked of them."""
    told = connect("cli").call("relay.requests")
    if as_json:
        say.result_json(told)
        return
    open_here = [request for request in told["requests"] if held.is_open(request)]
    ours = [request for request in told["requests"] if not request["incoming"]]
    for text in held.shown(open_here, say.width()):
        say.result(text)
    for request in ours:
        fields = [f"asked {say.plain(request['name'])} for {request['wanted']}", request["id"], ago(request["age_s"])]
        say.result(flowed([*fields, _verdict(request)], say.width()))
    if not open_here and not ours:
        say.note("nothing waits for you, and nothing was asked")


def _verdict(request: dict[str, Any]) -> str:
    if request["state"] != "held":
        return str(request["state"])
    return "waits for its person" if request["told"] else "not asked yet: it is not connected"


@click.command(epilog=examples("coterie relay approve r_4t8x"))
@click.argument("request", shell_complete=request_ids)
@human_option
@json_option
def approve(request: str, i_am_human: bool, as_json: bool) -> None:
    """Give what is asked for.

    That is a right, from now on; or the way for the one message that is held. REQUEST is the id that coterie relay
    requests shows, or its beginning.
    """
    _decide("relay.approve", request, i_am_human, as_json=as_json)


@click.command(epilog=examples("coterie relay refuse r_4t8x"))
@click.argument("request", shell_complete=request_ids)
@human_option
@json_option
def refuse(request: str, i_am_human: bool, as_json: bool) -> None:
    """Give nothing, and say so.

    Whoever asked is told; a message that is held is not delivered.
    """
    _decide("relay.refuse", request, i_am_human, as_json=as_json)


def _decide(method: str, request: str, i_am_human: bool, *, as_json: bool) -> None:
    told = connect("cli").call(method, {"request": request, "i_am_human": i_am_human})
    if as_json:
        say.result_json(told)
        return
    what = f"the message of {say.plain(told['from'])}" if told["message"] else f"the right {told['wanted']}"
    say.result(f"{told['state']}: {what}, for {say.plain(told['name'])}")
