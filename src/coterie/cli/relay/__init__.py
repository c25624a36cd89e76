"""``coterie relay``: other devices. The module of a command is loaded when it is used."""

from __future__ import annotations

import click

from coterie.cli import say
from coterie.cli.lazy import Entry, LazyGroup
from coterie.cli.options import examples

COMMANDS = {
    "invite": Entry("relay.inviting", "Invite a device: a code that it joins with, once."),
    "join": Entry("relay.joining", "Pair with the device that made an invitation."),
    "pair": Entry("relay.inviting", "Invite by a raw code alone."),
    "accept": Entry("relay.joining", "Pair by a raw code with the device at an address."),
    "peers": Entry("relay.listing", "The paired devices."),
    "status": Entry("relay.listing", "Whether this device listens, who is connected, and what waits."),
    "identity": Entry("relay.listing", "Who this device is."),
    "preview": Entry("relay.listing", "What other devices are shown of the sessions here."),
    "discover": Entry("relay.listing", "Devices in reach."),
    "serve": Entry("relay.linking", "Listen for paired devices, from now on."),
    "connect": Entry("relay.linking", "Keep a link to a paired device."),
    "disconnect": Entry("relay.linking", "Have no link to a device."),
    "rename": Entry("relay.linking", "Call a device otherwise here."),
    "forget": Entry("relay.linking", "Cut a device off now, and refuse its key from now on."),
    "grant": Entry("relay.rights", "Give a device rights here."),
    "revoke": Entry("relay.rights", "Take rights from a device, at once."),
    "ask": Entry("relay.rights", "Ask a device for a right there."),
    "requests": Entry("relay.rights", "What devices ask of you, and what was asked of them."),
    "approve": Entry("relay.rights", "Give what is asked for."),
    "refuse": Entry("relay.rights", "Give nothing, and say so."),
}


class Relay(LazyGroup):
    """The commands on other devices."""

    entries = COMMANDS


@click.group(
    cls=Relay,
    invoke_without_command=True,
    short_help="Other devices: pair, connect, and say what they may do.",
    epilog=examples("coterie relay invite", "coterie relay join", "coterie relay peers"),
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.pass_context
def relay(ctx: click.Context) -> None:
    """Other devices of yours, or of people whom you trust: pair with them, and their sessions and yours can talk.

    On one device type: coterie relay invite. On the other: coterie relay join, and then the code that the first shows.
    Every command takes --json.
    """
    if ctx.invoked_subcommand is None:
        say.result(ctx.get_help())
