"""``coterie relay serve``, ``connect``, ``disconnect``, ``rename`` and ``forget``."""

from __future__ import annotations

import sys
from typing import Any

import click

from coterie.cli import say
from coterie.cli.completion import device_names
from coterie.cli.options import examples, human_option, json_option
from coterie.cli.relay import screens
from coterie.cli.relay.words import link_state, mail
from coterie.client import connect as connect_daemon
from coterie.errors import Refused
from coterie.limits import JOIN_CALL_S


@click.command(epilog=examples("coterie relay serve", "coterie relay serve --port 9900", "coterie relay serve --off"))
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Where to listen; 0 for any.  [default: relay.listen_port]"
)
@click.option("--off", is_flag=True, help="Listen no longer. Links that this device keeps to others stay.")
@human_option
@json_option
def serve(port: int | None, off: bool, i_am_human: bool, as_json: bool) -> None:
    """Listen for paired devices, from now on.

    Nothing runs in this terminal: the daemon listens, and your configuration says so, until you say --off.
    """
    params = {"on": not off, "i_am_human": i_am_human, **({} if port is None else {"port": port})}
    told = connect_daemon("cli").call("relay.serve", params)
    if as_json:
        say.result_json(told)
    elif off:
        say.result("the relay is off: this device does not listen")
    else:
        say.result(f"the relay is on, and listens on {', '.join(told['listening'])}")
        if told["addresses"]:
            say.note(f"other devices reach it at {', '.join(told['addresses'])}")
        if not told["devices"]:
            say.note("no device is paired with this one yet: coterie relay invite")


@click.command(epilog=examples("coterie relay connect laptop", "coterie relay connect 192.168.1.50:9847"))
@click.argument("to", metavar="DEVICE|HOST:PORT", shell_complete=device_names)
@human_option
@json_option
def connect(to: str, i_am_human: bool, as_json: bool) -> int:
    """Keep a link to a paired device.

    It is named, or found by where it answers. A link that breaks is made again by itself. While coterie relay accept
    waits in another terminal, HOST:PORT is where its code is tried.
    """
    daemon = connect_daemon("cli")
    daemon.listen("pairing")
    params = {"to": to, "i_am_human": i_am_human}
    device = daemon.call("relay.connect", params, JOIN_CALL_S, None if as_json else screens.joining)
    if as_json:
        say.result_json(device)
    elif device["paired"]:
        screens.joined(device)
    elif device["connected"]:
        say.result(f"connected with {say.plain(device['name'])} ({device['short']})")
    else:
        say.note(
            f"{say.plain(device['name'])} is not connected yet ({link_state(device)}); it is tried again and again"
        )
        if device["words"]:
            say.note(say.plain(device["words"]))
    return say.DONE if device["connected"] else say.NO_ANSWER


@click.command(epilog=examples("coterie relay disconnect laptop"))
@click.argument("device", shell_complete=device_names)
@human_option
@json_option
def disconnect(device: str, i_am_human: bool, as_json: bool) -> None:
    """Have no link to a device.

    It stays paired, and mail for it waits here. No link is made until you say connect; or, where the other side calls,
    until the daemon here starts anew.
    """
    told = connect_daemon("cli").call("relay.disconnect", {"device": device, "i_am_human": i_am_human})
    _done(told, f"disconnected from {say.plain(told['name'])}; mail for it waits here", as_json=as_json)


@click.command(epilog=examples("coterie relay rename laptop alices-laptop"))
@click.argument("device", shell_complete=device_names)
@click.argument("name")
@human_option
@json_option
def rename(device: str, name: str, i_am_human: bool, as_json: bool) -> None:
    """Call a device otherwise here.

    Its sessions are NAME@DEVICE with the new name from now on.
    """
    told = connect_daemon("cli").call("relay.rename", {"device": device, "name": name, "i_am_human": i_am_human})
    _done(told, f"{say.plain(told['before'])} is called {say.plain(told['name'])} here now", as_json=as_json)


@click.command(epilog=examples("coterie relay forget laptop", "coterie relay forget laptop --yes"))
@click.argument("device", shell_complete=device_names)
@click.option("--yes", is_flag=True, help="Do not ask me.")
@human_option
@json_option
def forget(device: str, yes: bool, i_am_human: bool, as_json: bool) -> None:
    """Cut a device off now, and refuse its key from now on.

    What waits here for it is given up, what it sent and nobody has read is set aside. For another link pair again.
    """
    daemon = connect_daemon("cli")
    if not yes:
        daemon.call("person.check", {"method": "relay.forget", "i_am_human": i_am_human})
        _ask(daemon.call("relay.peers")["devices"], device)
    told = daemon.call("relay.forget", {"device": device, "i_am_human": i_am_human})
    lost = f"; {mail(told['outbox'])} for it will not be sent" if told["outbox"]["messages"] else ""
    _done(told, f"forgot {say.plain(told['name'])} ({told['short']}){lost}", as_json=as_json)


def _ask(devices: list[dict[str, Any]], device: str) -> None:
    if sys.stdin is None or not sys.stdin.isatty():
        raise Refused("nobody can be asked here, and nothing was done", "to forget it all the same: --yes")
    named = [each for each in devices if each["name"].casefold() == device.casefold()]
    waits = f"; {mail(named[0]['outbox'])} for it would be given up" if named and named[0]["outbox"]["messages"] else ""
    click.confirm(f"forget {say.plain(device)}{waits}?", abort=True, err=True)


def _done(told: dict[str, Any], text: str, *, as_json: bool) -> None:
    if as_json:
        say.result_json(told)
    else:
        say.result(text)
