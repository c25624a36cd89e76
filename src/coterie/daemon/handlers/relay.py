"""Other devices, as the person sees them: pairing, links, rights, and what waits for a word."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from coterie import settings as files
from coterie.daemon.handlers.daemon import check_person
from coterie.daemon.handlers.params import Params, flag, maybe_text, number, text, texts
from coterie.daemon.relay import place_in
from coterie.devices import Device, Grant, grants_in, short, shown
from coterie.endpoints import PORT_MAX, Endpoint, parse_address
from coterie.errors import BadInput, Refused
from coterie.frames import one_line
from coterie.invitations import Form
from coterie.limits import DEVICE_NAME_CHARS, MEET_S, REQUEST_REASON_CHARS
from coterie.messages import UNREAD
from coterie.pairing import label_of
from coterie.policy import check_human
from coterie.store import messages as stored

if TYPE_CHECKING:
    from coterie.daemon.local import Connection
    from coterie.daemon.main import Daemon
    from coterie.store.requests import Request

log = logging.getLogger(__name__)

NO_DISCOVERY = "devices cannot be discovered yet: these are paired"


def _port(params: Params) -> int | None:
    return None if params.get("port") is None else int(number(params, "port", 0, 0, PORT_MAX))


def _named(daemon: Daemon, params: Params) -> Device:
    return daemon.devices.named(text(params, "device"))


def _card(daemon: Daemon, device: Device) -> dict[str, Any]:
    return {**daemon.relay.card(device), "outbox": daemon.waiting_for(device.id)}


# --- pairing ----------------------------------------------------------------------------------------------------------


async def invite(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Open an invitation, and tell this connection what becomes of it. It is withdrawn when the connection ends."""
    check_person(daemon, connection, params, "relay.invite")
    wanted = texts(params, "forms")
    if unknown := [form for form in wanted if form not in list(Form)]:
        raise BadInput(f"no form {unknown[0][:20]!r}", f"any of: {', '.join(Form)}")
    forms = list(dict.fromkeys(map(Form, wanted)))
    addr, unlock = maybe_text(params, "addr"), flag(params, "unlock")
    return await daemon.pairings.invite(connection, forms, addr, _port(params), unlock=unlock)


def withdraw(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """End the invitation of this connection."""
    return {"withdrawn": daemon.pairings.withdraw(connection)}


async def join(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Pair with the device that made an invitation, and connect to it."""
    check_person(daemon, connection, params, "relay.join")
    return _card(daemon, await daemon.pairings.join(connection, text(params, "text")))


async def accept(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Pair by a raw code with the device at a place, and connect to it; without a place wait until one is said."""
    check_person(daemon, connection, params, "relay.accept")
    places, why = _places(daemon, (maybe_text(params, "peer") or "").strip())
    return _card(daemon, await daemon.pairings.accept(connection, text(params, "code"), places, why))


def _places(daemon: Daemon, typed: str) -> tuple[list[Endpoint], str]:
    """Host and port as typed, or where a known device may be. Where there is neither, why; raises `BadInput` for what
    is no name of a device and no address.
    """
    if not typed:
        return [], ""
    known = next((device for device in daemon.devices if device.name.casefold() == typed.casefold()), None)
    if known:
        found = [parse_address(place) for place in known.addresses]
        return found, "" if found else f"it is not known where {known.name} is"
    if label_of(typed) == typed and "." not in typed:
        return [], f"no device known here is called {typed}"
    return [parse_address(typed)], ""


def identity(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Who this device is; the first question makes its key."""
    ours = daemon.relay.identity()
    return {"id": ours.id, "shown": shown(ours.id), "short": short(ours.id), "name": daemon.relay.name()}


# --- links ------------------------------------------------------------------------------------------------------------


async def serve(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Listen for paired devices from now on, or no longer: the person's file says so."""
    check_person(daemon, connection, params, "relay.serve")
    on, port = flag({"on": True, **params}, "on"), _port(params)
    before = daemon.settings.now()
    if on:
        await daemon.relay.listen_at(int(before.number("relay.listen_port")) if port is None else port)
    if port is not None:
        await asyncio.to_thread(files.put, daemon.place, "relay.listen_port", daemon.relay.ports[0] if on else port)
    if on != before.on("relay.enabled"):
        await asyncio.to_thread(files.put, daemon.place, "relay.enabled", on)
    daemon.relay.stays = False
    daemon.settings.look()
    await daemon.relay.apply()
    return status(daemon, connection, params)


async def connect(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Keep a link to a device, named or by where it answers; pair with it first, by a raw code that waits for that."""
    check_person(daemon, connection, params, "relay.connect")
    typed = text(params, "to")
    place = None if any(device.name == typed for device in daemon.devices) else place_in(typed)
    if place and daemon.pairings.accepting.waits:
        return {**_card(daemon, await daemon.pairings.accepting.at(connection, place)), "paired": True}
    device = await daemon.relay.at(place) if place else daemon.devices.named(typed)
    await daemon.relay.connect(device)
    await daemon.relay.met(device.id, MEET_S)
    return {**_card(daemon, device), "paired": False}


async def disconnect(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Have no link to a device until the person says connect."""
    check_person(daemon, connection, params, "relay.disconnect")
    device = _named(daemon, params)
    await daemon.relay.disconnect(device)
    return _card(daemon, device)


async def forget(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Cut the link to a device now, and refuse its key from now on."""
    check_person(daemon, connection, params, "relay.forget")
    device = _named(daemon, params)
    card = _card(daemon, device)
    await daemon.relay.forget(device)
    log.warning("the person forgot %s (%s)", device.name, short(device.id))
    return {**card, "standing": device.standing.value, "connected": False}


async def rename(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Call a device otherwise here. Raises `Refused` if another one is called so."""
    check_person(daemon, connection, params, "relay.rename")
    device, name = _named(daemon, params), text(params, "name").strip()
    if label_of(name) != name:
        raise BadInput(f"no device can be called {name[:60]!r}", f"letters, digits, . _ -; at most {DEVICE_NAME_CHARS}")
    if any(other.name.casefold() == name.casefold() for other in daemon.devices if other is not device):
        raise Refused(f"another device is called {name}", "choose another name")
    before, device.name = device.name, name
    await daemon.devices.save(device)
    return {**_card(daemon, device), "before": before}


# --- what is there ----------------------------------------------------------------------------------------------------


def peers(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """The devices that are paired with this one."""
    return {"devices": [_card(daemon, device) for device in daemon.devices]}


def status(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Whether this device listens, who is connected, and what waits."""
    waiting = [daemon.waiting_for(device.id) for device in daemon.devices]
    return {
        **daemon.relay.status(),
        "invitation_s": daemon.pairings.left_s(),
        "locked": daemon.pairings.invitations.locked,
        "requests": len(daemon.requests.open()),
        "outbox": {key: sum(one[key] for one in waiting) for key in ("messages", "bytes")},
        "share": list(daemon.settings.now().texts("relay.share")),
    }


def preview(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """What is shown to a device, or to each."""
    check_human("relay.preview", daemon.presence.caller(connection).human)
    chosen = [_named(daemon, params)] if maybe_text(params, "device") else list(daemon.devices)
    shows = [
        {
            "device": device.id,
            "name": device.name,
            "see": device.may(Grant.SEE),
            "sessions": daemon.neighbours.preview(device.id),
        }
        for device in chosen
    ]
    share, usual = list(daemon.settings.now().texts("relay.share")), daemon.neighbours.preview(None)
    return {"share": share, "devices": shows, "sessions": usual}


def discover(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """What is in reach. Nothing is announced or listened for yet, and that is said."""
    check_human("relay.discover", daemon.presence.caller(connection).human)
    found = [{"name": d.name, "id": d.id, "addresses": list(d.addresses)} for d in daemon.devices]
    return {"discovery": False, "message": NO_DISCOVERY, "devices": found}


# --- rights -----------------------------------------------------------------------------------------------------------


async def grant(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Give a device rights here."""
    check_person(daemon, connection, params, "relay.grant")
    return await _set_grants(daemon, params, give=True)


async def revoke(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Take rights from a device, at once."""
    check_person(daemon, connection, params, "relay.revoke")
    return await _set_grants(daemon, params, give=False)


async def _set_grants(daemon: Daemon, params: Params, *, give: bool) -> dict[str, Any]:
    device, wanted = _named(daemon, params), grants_in(" ".join(texts(params, "grants")))
    if not wanted:
        raise BadInput("no right is named", f"any of: {', '.join(Grant)}")
    before = device.grants
    device.grants = before | wanted if give else before - wanted
    await daemon.devices.save(device)
    log.warning("the person %s %s: %s", "gave" if give else "took from", device.name, ", ".join(sorted(wanted)))
    return {**_card(daemon, device), "changed": sorted(before ^ device.grants)}


async def ask(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Ask a device for a right; its person decides."""
    device, wanted = _named(daemon, params), grants_in(text(params, "grant"))
    if len(wanted) != 1:
        raise BadInput("ask for one right at a time", f"one of: {', '.join(Grant)}")
    reason = one_line(text(params, "reason", ""), REQUEST_REASON_CHARS)
    request = await daemon.requests.ask(device, next(iter(wanted)), reason)
    return {**daemon.requests.card(request), "connected": device.id in daemon.network.present()}


def requests(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """What waits for the person here, and what this device asked of others."""
    check_human("relay.requests", daemon.presence.caller(connection).human)
    return {"requests": [_shown(daemon, request) for request in daemon.requests]}


def _shown(daemon: Daemon, request: Request) -> dict[str, Any]:
    """A request; of a message that is held, who wrote it to whom, and its text."""
    card = daemon.requests.card(request)
    row = stored.find(daemon.store.reader, request.message) if request.message else None
    if row is None:
        return {**card, "from": None, "to": None, "text": None}
    recipient = daemon.presence.roster.get(row["recipient"])
    sent = {"from": row["sender_name"], "to": recipient.name if recipient else row["recipient"]}
    return {**card, **sent, "text": stored.letter(row).text if request.is_open else None}


async def approve(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Give what is asked for: the right, or the way for the one message that is held."""
    check_person(daemon, connection, params, "relay.approve")
    request = daemon.requests.find(text(params, "request"))
    row = stored.find(daemon.store.reader, request.message) if request.message else None
    if request.message and (row is None or row["state"] not in UNREAD):
        await daemon.requests.refuse(request)
        raise Refused("that message can be let through no more: its time is over", "its sender may send it again")
    await daemon.requests.approve(request)
    return _shown(daemon, request)


async def refuse(daemon: Daemon, connection: Connection, params: Params) -> dict[str, Any]:
    """Give nothing; whoever asked is told."""
    check_person(daemon, connection, params, "relay.refuse")
    request = daemon.requests.find(text(params, "request"))
    await daemon.requests.refuse(request)
    return _shown(daemon, request)
