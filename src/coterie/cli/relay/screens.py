"""What the commands on pairing show."""

from __future__ import annotations

import time
from typing import Any

from coterie.cli import say
from coterie.cli.options import short_path
from coterie.cli.relay import qr
from coterie.cli.relay.words import dashed, rights, whole
from coterie.cli.times import in_words, time_of_day
from coterie.devices import shown

FORMS = {
    "code": ("RELAY CODE", whole),
    "words": ("NINE WORDS", dashed),
    "link": ("INVITE LINK", whole),
    "raw": ("RAW CODE", whole),
}
"""Each form of an invitation: its field, its title, and how it is laid out. Words are read aloud."""
ASKED_FOR = {"words": "the words", "link": "the link"}
"""Forms that nobody types behind a command."""


# --- inviting ---------------------------------------------------------------------------------------------------------


def invitation(told: dict[str, Any], *, draw: bool) -> None:
    """The codes, and what to do with them."""
    say.result(f"this device is {say.plain(told['name'])}\n{dashed(shown(told['id']))}")
    for form, (title, laid) in FORMS.items():
        if told.get(form):
            say.result(f"\n{say.bold(title)}\n{laid(told[form])}")
        elif form in told["without"]:
            say.note(f"no {title.lower()}: {told['without'][form]}")
    if draw and told.get("link"):
        qr.draw(told["link"])
    say.result(f"\n{_what_to_type(told)}")
    say.note(f"this device is reached at {', '.join(told['listening'])}")
    if told["loopback"]:
        say.note("that is for this machine alone; for another one name an address that it reaches: --addr")
    life, until = in_words(told["expires_s"]), time_of_day(time.time() + told["expires_s"])
    say.note(f"waiting for the other device, {life} at most (until {until}); Ctrl-C withdraws the invitation")


def _what_to_type(told: dict[str, Any]) -> str:
    """The command for the other device, for each form."""
    lines = ["on the other device type"]
    if told.get("raw"):
        lines += [whole(f"coterie relay accept {told['raw']} {place}") for place in told["listening"][:1]]
    if told.get("code"):
        lines.append(whole(f"coterie relay join {told['code']}"))
    asked = [name for form, name in ASKED_FOR.items() if told.get(form)]
    if asked:
        lines += ["or, to be asked for it"] if told.get("code") else []
        lines += [whole("coterie relay join"), f"and give it {' or '.join(asked)}"]
    return "\n".join(lines)


def inviting(event: dict[str, Any]) -> None:
    """What happens to an invitation."""
    if event["stage"] == "paired":
        _was_joined(event)
        return
    whence = f" (from {say.plain(event['host'])})" if event.get("host") else ""
    say.note(f"{event['text']}{whence}")
    if event.get("hint"):
        say.note(f"hint: {event['hint']}")


def _was_joined(event: dict[str, Any]) -> None:
    """What pairing has changed here: who came, what it may do, that the relay is on, and the way back."""
    device = event["device"]
    name = say.plain(device["name"])
    say.result(f"\npaired with {name} ({device['short']})\nit may here: {rights(device)}")
    if event.get("problem"):
        say.note(f"the relay is on until the daemon ends, and no longer: {say.plain(event['problem'])}")
    elif event["turned_on"]:
        said = f" ({short_path(event['config'])} says so now)" if event.get("config") else ""
        say.note(f"the relay is on from now on, so that {name} can come again{said}")
        say.note("to turn it off: coterie relay serve --off")
    undo(name)


def undo(name: str) -> None:
    """The ways to change what pairing gave."""
    say.note(f"to change what it may do: coterie relay grant {name} RIGHT, or revoke")
    say.note(f"to take it all back: coterie relay forget {name}")


# --- joining ----------------------------------------------------------------------------------------------------------


ASKING = ("where", "failed")
"""Stages in which a raw code waits for its place, and was given to nobody."""


def joining(event: dict[str, Any]) -> None:
    """What happens while this device joins; of its end the result tells."""
    if not event["done"]:
        say.note(event["text"])
    if event.get("hint"):
        say.note(f"hint: {event['hint']}")
    if event["stage"] == "where":
        life, until = in_words(event["expires_s"]), time_of_day(time.time() + event["expires_s"])
        say.note(f"the code waits for it, {life} at most (until {until}); Ctrl-C withdraws it")


def joined(device: dict[str, Any]) -> None:
    """What came of joining."""
    name = say.plain(device["name"])
    link = "connected" if device["connected"] else "not connected yet"
    say.result(f"paired with {name} ({device['short']}), {link}\nit may here: {rights(device)}")
    if not device["connected"]:
        if device["words"]:
            say.note(say.plain(device["words"]))
        say.note("it is tried again and again: coterie relay peers")
    else:
        say.note("its sessions: coterie peers")
    undo(name)
