"""The daemon's wiring: what is made, in which order, and how it ends."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from coterie import points
from coterie.activity import Summary
from coterie.agents.carriers.codex import CodexCarrier
from coterie.daemon import journal, lock
from coterie.daemon.arrivals import Arrivals
from coterie.daemon.causes import Causes
from coterie.daemon.clock import Clock
from coterie.daemon.crossings import Crossings
from coterie.daemon.desktop import Desktop
from coterie.daemon.devices import Devices
from coterie.daemon.events import Events
from coterie.daemon.git import Repositories
from coterie.daemon.guards import Guards
from coterie.daemon.handlers import methods
from coterie.daemon.handlers import peers as handlers
from coterie.daemon.local import Connection, LocalServer
from coterie.daemon.neighbours import Neighbours
from coterie.daemon.network import Network
from coterie.daemon.notices import Notices
from coterie.daemon.nudges import Nudges
from coterie.daemon.outbox import Outbox
from coterie.daemon.pairings import Pairings
from coterie.daemon.post import Post
from coterie.daemon.presence import Presence
from coterie.daemon.receipts import Receipts
from coterie.daemon.relay import RelayService
from coterie.daemon.requests import Requests
from coterie.daemon.settings import Keeper
from coterie.daemon.threads import Threads
from coterie.daemon.upkeep import Expiry, Upkeep
from coterie.daemon.usage import Usage
from coterie.daemon.watch import Watch
from coterie.errors import CoterieError, Defect, DiskFull, switched_off
from coterie.files import NO_ROOM, Home, home, make_folder, open_private
from coterie.guards import Limits
from coterie.jsonline import encode
from coterie.limits import DRAIN_S
from coterie.peers import PERSON, Peer, Roster, summary_of
from coterie.store.db import Store, damaged

log = logging.getLogger(__name__)

DESCRIPTORS_WANTED = 65_536
"""A session takes two descriptors (its connection, its process); the usual soft limit of 1,024 ends at 500."""


SWITCH_S = 0.001
"""How long a busy thread keeps the interpreter. Measured under load: a tenth more messages than with 5 ms."""
SERVED_WHILE_OFF = ("hello", "daemon.status", "daemon.up", "person.check")


class Starter:
    """Whoever started this daemon, and waits for one line: that it serves, or why it cannot."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def tell(self, message: dict[str, Any]) -> None:
        """Say the one line. Whether anybody still listens makes no difference to those who come later."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.write(descriptor, encode(message))
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class Machine:
    """What a daemon is given by the machine that it runs on; a simulator gives its own."""

    clock: Callable[[Home], Clock] = Clock
    store: Callable[[Home, float], Store] = Store.open
    server: Callable[..., LocalServer] = LocalServer
    repositories: Callable[[], Repositories] = Repositories
    usage: Callable[[Callable[[], Roster]], Usage] = Usage
    relay: Callable[..., RelayService] = RelayService
    watch: Callable[[str, Callable[[], None]], Watch] = Watch


THIS_MACHINE = Machine()


class Daemon:
    """Everything that serves one home."""

    def __init__(self, place: Home, idle_exit_s: float | None, off: bool, machine: Machine = THIS_MACHINE) -> None:
        self.place = place
        self.off = off
        """Whether Coterie is switched off, and this daemon is only here to be asked to switch it on."""
        self.clock = machine.clock(place)
        self.started_at = self.clock()
        self.store = machine.store(place, self.started_at)
        self.events = Events(self.clock, self.store, lambda: self.presence.roster, self.summary_of, self.prompt_of)
        self.presence = Presence(
            self.store,
            self.clock,
            self._session_ended,
            self._carried,
            self._replaced,
            lambda: list(self.server.connections),
            self.changed,
            self.clock.lived,
        )
        self.presence.repositories = machine.repositories()
        self.network = Network()
        self.devices = Devices(self.store, self.events)
        self.settings = Keeper(place, self.presence.repositories.top_level)
        self._make_post()
        self._make_outbox()
        self._make_guards()
        self.usage = machine.usage(lambda: self.presence.roster)
        self._make_others(machine)
        self.settings.watchers.append(self._settings_changed)
        self.watch = machine.watch(place.config, self.settings.look)
        self.upkeep = Upkeep(self.store, self.presence, self.post, self.clock, self.settings.now, self.outbox)
        self.server = machine.server(place, methods(self), self._lost, self._is_served)
        self._idle_exit_s = idle_exit_s
        """What a test says; None: the settings do."""
        self._idle_timer: asyncio.TimerHandle | None = None
        self._leaving = asyncio.Event()

    def _make_post(self) -> None:
        """What brings mail before sessions and people."""
        self.causes = Causes(self.store, self.clock, asyncio.get_running_loop().time)
        self.post = Post(
            self.store,
            self.clock,
            self.presence.adapters.get,
            self._mail_waits,
            self._may_push,
            self.events,
            self.causes.gave,
        )
        self.nudges = Nudges(self.presence.roster.get, self.post.waiting, self.post.letters, self.clock, self.may_wake)
        self.desktop = Desktop(lambda: self.settings.now().on("notify.desktop"), self.post.waiting, self.post.letters)
        self.threads = Threads(self.presence, self._codex, self._carried, self.clock)

    def _make_outbox(self) -> None:
        """What takes mail out of this device, and ends it in its time."""
        self.crossings = Crossings(
            self.store,
            self.presence.roster,
            self.devices,
            lambda: self.relay.identity().id,
            lambda *sender: self.neighbours.showing.writer(*sender),
        )
        self.outbox = Outbox(
            self.store,
            self.clock,
            self.network,
            self.devices,
            self.post,
            self.events,
            self.crossings,
            lambda: self.relay.identity(),
        )
        self.expiry = Expiry(self.store, self.post, self.clock, self.outbox)

    def _make_guards(self) -> None:
        """What keeps agents within bounds, and tells the person."""
        self.notices = Notices(
            self.store,
            self.clock,
            self.presence,
            self.post,
            self.events,
            self.limits_for,
            self.expiry.at_latest,
        )
        self.guards = Guards(
            self.store,
            self.presence.roster,
            self.post,
            self.causes,
            self.notices,
            self.events,
            self.limits_for,
        )

    def _make_others(self, machine: Machine) -> None:
        """What has to do with other devices."""
        self.relay = machine.relay(self.place, self.settings.now, self.devices, self.network, self.notices, self.clock)
        self.pairings = Pairings(self.place, self.settings, self.devices, self.relay, self.clock)
        self.requests = Requests(self.store, self.clock, self.network, self.devices, self.notices, self.events)
        self.neighbours = Neighbours(
            self.network,
            self.devices,
            self.presence.roster,
            self.store,
            self.clock.lived,
            self.events,
            self.line_for_others,
            partial(handlers.busy, self),
            lambda: self.settings.now().texts("relay.share"),
        )
        self.arrivals = Arrivals(
            self.store,
            self.clock,
            self.network,
            self.devices,
            self.presence.roster,
            self.post,
            self.guards,
            self.requests,
            self.crossings,
            self.neighbours.met,
            self.limits_for,
            self.expiry.at_latest,
        )
        self.receipts = Receipts(self.store, self.network, self.devices, self.post, self.outbox.arrived)
        for service in (self.relay, self.requests, self.neighbours, self.outbox, self.arrivals, self.receipts):
            self.network.add(service)

    async def serve(self, starter: Starter) -> None:
        """Serve until told to leave, or idle for long."""
        self.presence.load()
        self.devices.load()
        self.requests.load()
        self.neighbours.load()
        self.outbox.load()
        self.arrivals.load()
        for peer in self.presence.unattended():
            self.post.nobody_writes(peer.id)
        await self.server.listen()
        starter.tell({"ok": True})
        log.info("serving %s, pid %d", self.place.folder, os.getpid())
        self.expiry.start()
        self.upkeep.start()
        self.watch.start()
        self.relay.apply_soon()
        self._count_idle()
        await self._leaving.wait()
        await self._close()

    def leave(self) -> None:
        """Begin the end: take nothing new, finish what is under way."""
        self.server.stop_listening()
        self._leaving.set()

    async def _close(self) -> None:
        self.server.stop_listening()
        self.presence.close()
        self.watch.close()
        self.requests.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.relay.close(), DRAIN_S)
        self.neighbours.close()
        self.outbox.close()
        self.arrivals.close()
        self.receipts.close()
        self.expiry.close()
        self.upkeep.close()
        self.usage.close()
        self.clock.keep()
        self.threads.close()
        self.desktop.close()
        self.settings.close()
        with contextlib.suppress(TimeoutError):
            # Together: no other program that a carrier is connected to may keep the store open, and the lock held.
            await asyncio.wait_for(asyncio.gather(self.nudges.close(), self.store.close()), DRAIN_S)
        # Answers to what the store finished just now are still to be written.
        await asyncio.sleep(0)
        for connection in list(self.server.connections):
            connection.close()
        await asyncio.sleep(0)
        log.info("left")

    def _lost(self, connection: Connection) -> None:
        peer = connection.peer
        carried = peer is not None and self.presence.adapters.get(peer.id) is connection
        self.events.lost(connection)
        self.pairings.lost(connection)
        self.presence.disconnected(connection)
        for wait in connection.waits:
            self.post.waits.give_up(wait)
        if not self._leaving.is_set():  # What a leaving daemon did not hear of, the next one asks about.
            if peer and carried:
                self.post.adapter_gone(peer.id)
            if connection.speaks_for and connection.calls:
                self.post.connection_gone(connection.speaks_for, connection.calls)
        self._count_idle()

    def _is_served(self, method: str) -> None:
        if self.off and method not in SERVED_WHILE_OFF:
            raise switched_off()

    def _session_ended(self, peer: Peer) -> None:
        self.post.session_ended(peer.id)
        self.nudges.forget(peer.id)
        self.threads.ended(peer)

    def _codex(self) -> CodexCarrier:
        carrier = self.nudges.carrier("codex")
        assert isinstance(carrier, CodexCarrier)
        return carrier

    def _mail_waits(self, peer_id: str) -> None:
        peer = self.presence.roster.get(peer_id)
        if peer and peer.device:
            self.outbox.wake(peer.device)
        elif peer and peer.kind == PERSON:
            self.desktop.mail(peer_id)
        elif peer:
            self.nudges.wanted(peer)

    def limits_for(self, peer: Peer) -> Limits:
        """What the guards allow `peer`."""
        return self.settings.of(peer).limits

    def summary_of(self, peer: Peer) -> Summary:
        """What others are told that a peer does, as far as it may be shown."""
        return summary_of(peer, self.clock(), **self._shown(peer))

    def line_for_others(self, peer: Peer) -> str:
        """The same, as far as it may leave this machine."""
        return summary_of(peer, self.clock(), **self._shown(peer), outside=False).text

    def _shown(self, peer: Peer) -> dict[str, bool]:
        # Of another device's session it was settled there.
        settings = self.settings.now() if peer.device else self.settings.of(peer)
        return {what: settings.on(f"summary.{what}") for what in ("prompts", "files")}

    def prompt_of(self, peer: Peer) -> str:
        """The first line of a peer's last prompt, if it may be shown."""
        return peer.activity.prompt if self._shown(peer)["prompts"] else ""

    def may_wake(self, peer: Peer) -> bool:
        """Whether mail may be brought to the session of `peer` now, though it may be idle."""
        return peer.busy or self.settings.now().on("mail.wake_idle")

    def _may_push(self, peer_id: str) -> bool:
        peer = self.presence.roster.get(peer_id)
        return peer is not None and self.may_wake(peer)

    def changed(self, peer: Peer) -> None:
        """Something is otherwise about `peer`: whoever looks on is told, on this device and on others."""
        self.events.look(peer)
        self.neighbours.changed()

    def heard(self, peer: Peer) -> None:
        """The session of `peer` gave a sign."""
        peer.heard = self.clock()
        self.nudges.sign(peer.id)

    async def _replaced(self, before: Peer, peer: Peer) -> None:
        await self.post.readdress(before.id, peer.id)

    def _carried(self, peer: Peer) -> None:
        self.post.push(peer.id)

    def _count_idle(self) -> None:
        """Leave when nobody was connected for a while. Whoever connects is noticed when the time is over."""
        if self._idle_timer:
            self._idle_timer.cancel()
            self._idle_timer = None
        if not self.server.connections and not self._leaving.is_set():
            loop = asyncio.get_running_loop()
            said = self._idle_exit_s
            idle_s = self.settings.now().number("daemon.idle_exit_s") if said is None else said
            self._idle_timer = loop.call_later(idle_s, self._leave_if_idle, idle_s)

    def _leave_if_idle(self, idle_s: float) -> None:
        if self._is_busy():
            self._count_idle()
        elif not self.server.connections:
            log.info("idle for %g s", idle_s)
            self.leave()

    def _is_busy(self) -> bool:
        """Whether there is a reason to stay though nobody is connected."""
        waiting = (self.waiting_for(device.id)["messages"] for device in self.devices)
        return self.relay.is_busy() or self.pairings.left_s() is not None or any(waiting)

    def waiting_for(self, device: str) -> dict[str, int]:
        """What waits here for another device."""
        messages, size = self.outbox.waiting(device)
        return {"messages": messages, "bytes": size}

    def _settings_changed(self) -> None:
        self.relay.apply_soon()
        self.neighbours.changed()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="coterie.daemon", description="The coterie daemon (see: coterie up).")
    parser.add_argument("--lock-fd", type=int, help="the lock, held and handed over by the starter")
    parser.add_argument("--ready-fd", type=int, help="where to say that it serves, or why it cannot")
    parser.add_argument("--even-if-off", action="store_true", help="start, to be asked by a person to switch on")
    parser.add_argument("--idle-exit", type=float, metavar="SECONDS", help="in place of daemon.idle_exit_s")
    parser.add_argument(
        "--crash-at",
        action="append",
        default=[],
        metavar="POINT:VISIT",
        help="for tests: die by SIGKILL at a named point",
    )
    return parser.parse_args()


def _prepare(place: Home, crash_at: list[str]) -> None:
    os.umask(0o077)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])  # A starter's blocked signals are its own.
    # The writer's thread gives the interpreter up at each statement and would wait the usual 5 ms for it to come back.
    sys.setswitchinterval(SWITCH_S)
    gc.freeze()  # Modules live as long as we do: to look through them at each collection costs every send.
    make_folder(place.folder)
    os.close(open_private(place.log, os.O_WRONLY | os.O_APPEND))
    journal.begin(place.log)
    for armed in crash_at:
        name, _, visit = armed.partition(":")
        points.arm(name, int(visit or 1))
    # What it holds in memory is everybody's mail: of a crash no image is left, nor of what it starts.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_WANTED)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _run(place: Home, idle_exit_s: float | None, off: bool, starter: Starter) -> None:
    daemon = Daemon(place, idle_exit_s, off)
    loop = asyncio.get_running_loop()
    journal.listen(loop)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, daemon.leave)
    await daemon.serve(starter)


def main() -> int:
    """Run the daemon. Exits 0 after serving, and 3 if it cannot serve, having said why."""
    arguments = _arguments()
    place = home()
    starter = Starter(arguments.ready_fd)
    held = None
    try:
        _prepare(place, arguments.crash_at)
        held = lock.take(place, arguments.lock_fd)
        off = os.path.lexists(place.off)
        if off and not arguments.even_if_off:
            raise switched_off()
        asyncio.run(_run(place, arguments.idle_exit, off, starter))
    except lock.Held as error:
        return _cannot(error, starter, status=0)  # Another one serves: that is what was wanted.
    except CoterieError as error:
        return _cannot(error, starter, status=3)
    except Exception as error:
        log.exception("the daemon cannot go on")
        return _cannot(_blame(error, place), starter, status=3)
    finally:
        if held is not None:
            os.close(held)
    return 0


def _blame(error: Exception, place: Home) -> CoterieError:
    if isinstance(error, OSError) and error.errno in NO_ROOM:
        return DiskFull(f"there is no room in {place.folder}: {error.strerror}", "make room, and try again")
    if unusable := damaged(error, place):
        return unusable
    return Defect("the daemon could not start", f"see {place.log}")


def _cannot(error: CoterieError, starter: Starter, status: int) -> int:
    """Say why to everybody who may listen: the starter, the log, the terminal. Any of them may be gone, or full."""
    starter.tell({"error": error.to_wire()})
    log.error("%s", error)
    with contextlib.suppress(OSError):
        sys.stderr.write(f"coterie daemon: {error}\n")
    return status
