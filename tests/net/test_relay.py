"""Links between real relays over real sockets: made, kept, lost, made again, and cut."""

from __future__ import annotations

import asyncio
import functools
import logging
import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from coterie.devices import Standing
from coterie.errors import BadInput, Damaged, Refused
from coterie.limits import LINK_LINE_BYTES_MAX, LINK_OUTGOING_BYTES_MAX, LINK_STEADY_S, RECONNECT_FIRST_S
from coterie.net.relay import Pace
from net.sides import FAST, KEY, Sides, free_port, some_sides

Test = Callable[[Sides], Awaitable[None]]


def with_sides(test: Test) -> Callable[[], None]:
    """Run a test on a loop of its own, with devices that are taken down after it."""

    async def run() -> None:
        async with some_sides() as sides:
            await test(sides)

    @functools.wraps(test)
    def wrapped() -> None:
        asyncio.run(run())

    del wrapped.__wrapped__  # pytest would ask for a fixture.
    return wrapped


@with_sides
async def test_frames_cross_both_ways_in_order(sides: Sides) -> None:
    caller, listener = await sides.linked()
    assert caller.relay.present() == {listener.id}
    assert listener.relay.present() == {caller.id}
    assert caller.told == [("came", listener.id)]
    frames = [{"kind": "x", "n": n, "text": 'é\n"' * 50} for n in range(500)]
    for frame in frames:
        assert caller.relay.send(listener.id, frame)
        assert listener.relay.send(caller.id, frame)
    await listener.until(lambda: len(listener.frames()) == 500)
    await caller.until(lambda: len(caller.frames()) == 500)
    assert caller.frames() == listener.frames() == frames


@with_sides
async def test_without_a_link_nothing_is_sent(sides: Sides) -> None:
    caller, listener = await sides.paired()
    assert not caller.relay.send(listener.id, {})
    assert caller.relay.present() == frozenset()
    assert caller.relay.since_s(listener.id) is None
    assert caller.relay.silent_s(listener.id) is None


@with_sides
async def test_what_the_person_is_told(sides: Sides) -> None:
    caller, listener = await sides.linked()
    place = listener.relay.listening()[0]
    shown = f"{place[0]}:{place[1]}"
    assert caller.said == [f"connecting to {shown}", f"connected at {shown}"]
    assert listener.said == ["connected from 127.0.0.1"]
    assert caller.seen == [(listener.id, shown)]
    assert listener.seen == [(caller.id, "")]
    assert caller.relay.dialled() == {listener.id}
    since, silent = caller.relay.since_s(listener.id), caller.relay.silent_s(listener.id)
    assert since is not None
    assert silent is not None
    assert 0 <= silent < 10
    assert 0 <= since < 10


@with_sides
async def test_a_frame_that_is_too_long_is_refused_and_the_link_lives_on(sides: Sides) -> None:
    caller, listener = await sides.linked()
    with pytest.raises(BadInput, match="too long"):
        caller.relay.send(listener.id, {"text": "x" * LINK_LINE_BYTES_MAX})
    assert caller.relay.send(listener.id, {"text": "x" * (LINK_LINE_BYTES_MAX - 100)})
    await listener.until(lambda: listener.frames())


@with_sides
async def test_a_frame_that_meets_a_defect_of_ours_ends_nothing(sides: Sides) -> None:
    caller, listener = await sides.linked()
    met = []

    def broken(device: str, frame: Any) -> None:
        met.append(frame)
        if len(met) == 1:
            raise KeyError("a defect")
        listener._tell("frame", device, frame)

    listener.on_frame = broken
    logging.getLogger("coterie.net.connection").disabled = True
    try:
        caller.relay.send(listener.id, {"n": 1})
        caller.relay.send(listener.id, {"n": 2})
        await listener.until(lambda: listener.frames())
    finally:
        logging.getLogger("coterie.net.connection").disabled = False
    assert met == [{"n": 1}, {"n": 2}]


# --- ends, and new beginnings -----------------------------------------------------------------------------------------


@with_sides
async def test_a_link_that_was_cut_comes_back(sides: Sides) -> None:
    caller, listener = await sides.linked()
    listener.relay.cut(caller.id, "the test wants it")
    assert listener.relay.present() == frozenset()
    await caller.until(lambda: ("left", listener.id) in caller.told)
    await caller.until_present(listener)
    assert [what for what, _ in caller.told] == ["came", "left", "came"]
    assert "no link any more: the other side closed it" in caller.said


@with_sides
async def test_what_was_sent_before_a_cut_still_goes_out(sides: Sides) -> None:
    caller, listener = await sides.linked()
    for n in range(20):
        caller.relay.send(listener.id, {"n": n})
    caller.relay.cut(listener.id, "the test wants it")
    await listener.until(lambda: ("left", caller.id) in listener.told)
    assert [frame["n"] for frame in listener.frames()] == list(range(20))


@with_sides
async def test_nothing_is_taken_after_a_cut(sides: Sides) -> None:
    caller, listener = await sides.linked()

    def cut_at_first(device: str, frame: Any) -> None:
        listener._tell("frame", device, frame)
        listener.relay.cut(device, "it broke the rules")

    listener.on_frame = cut_at_first
    listener.relay.stop_listening()
    for n in range(50):
        caller.relay.send(listener.id, {"n": n})
    await caller.until_gone(listener)
    assert listener.frames() == [{"n": 0}]


@with_sides
async def test_a_device_that_comes_back_is_found_again(sides: Sides) -> None:
    caller, listener = await sides.linked()
    port = listener.relay.listening()[0][1]
    await listener.relay.close()
    await caller.until(lambda: any("nothing listens there" in what for what in caller.said))
    await listener.relay.listen("127.0.0.1", port)
    await caller.until_present(listener)


@with_sides
async def test_a_link_that_the_kernel_gave_up_is_called_again_at_once(sides: Sides) -> None:
    caller, listener = await sides.linked(replace(FAST, reconnect_max_s=3600.0))
    keeps = caller.relay._callers[listener.id][0]
    for _ in range(12):
        keeps._backoff.next(3600.0, 1.0)  # It was long in coming.
    link = caller.relay.live(listener.id)
    assert link
    link.since -= LINK_STEADY_S
    link.connection_lost(TimeoutError())
    assert caller.said[-1] == "no link any more: what was sent did not get through"
    await caller.until(lambda: caller.relay.live(listener.id) not in (None, link), seconds=2 * RECONNECT_FIRST_S + 1)


@with_sides
async def test_dialling_again_tries_at_once(sides: Sides) -> None:
    caller, listener = sides.make(replace(FAST, reconnect_max_s=3600.0)), sides.make()
    port = free_port()
    listener.knows(caller)
    caller.knows(listener, f"127.0.0.1:{port}")
    async with asyncio.timeout(3):  # By itself it waits 1 s, 2 s, 4 s...
        for tries in range(1, 9):
            caller.relay.dial(listener.id)
            await caller.until(lambda: sum("nothing listens" in what for what in caller.said) >= tries)  # noqa: B023
    await listener.relay.listen("127.0.0.1", port)
    caller.relay.dial(listener.id)
    await caller.until_present(listener)


@with_sides
async def test_undial_keeps_the_link_and_lets_it_end(sides: Sides) -> None:
    caller, listener = await sides.linked()
    caller.relay.undial(listener.id)
    assert caller.relay.present() == {listener.id}
    assert caller.relay.dialled() == frozenset()
    listener.relay.cut(caller.id, "the test wants it")
    await caller.until_gone(listener)
    connecting = sum("connecting" in what for what in caller.said)
    await asyncio.sleep(2 * FAST.reconnect_max_s)  # Were it to call again, it would have by now.
    assert sum("connecting" in what for what in caller.said) == connecting == 1


@with_sides
async def test_addresses_are_tried_in_turn(sides: Sides) -> None:
    caller, listener = sides.make(), sides.make()
    listener.knows(caller)
    nobody = f"127.0.0.1:{free_port()}"
    place = await listener.listen()
    caller.knows(listener, nobody, "not an address at all", f"no-such-host.invalid:{1}", place)
    caller.relay.dial(listener.id)
    await caller.until_present(listener)
    assert caller.said[:2] == [f"connecting to {nobody}", f"no link to {nobody}: nothing listens there"]
    assert caller.seen == [(listener.id, place)]


@with_sides
async def test_who_is_called_by_the_device_meanwhile_calls_no_more(sides: Sides) -> None:
    left, right = await sides.paired()
    right.devices[left.id].addresses = [f"127.0.0.1:{free_port()}", await left.listen()]
    called = []
    call = right.relay.call

    async def slow(place: str, device: str) -> str:
        called.append(place)
        left.relay.dial(right.id)
        await right.until_present(left)
        return await call(place, device)

    right.relay.call = slow  # type: ignore[method-assign]
    right.relay.dial(left.id)
    await right.until(lambda: any("nothing listens" in what for what in right.said))
    right.relay.dial(left.id)
    await left.until_present(right)
    right.relay.send(left.id, {})
    await left.until(lambda: left.frames())
    assert len(called) == 1


@with_sides
async def test_a_device_without_addresses_is_waited_for(sides: Sides) -> None:
    caller, listener = await sides.paired()
    listener.relay.dial(caller.id)
    await listener.until(lambda: "no address of it is known" in listener.said)
    caller.relay.dial(listener.id)
    await listener.until_present(caller)


@with_sides
async def test_an_address_at_which_any_paired_device_may_be(sides: Sides) -> None:
    caller, listener = sides.make(), sides.make()
    other = sides.make()
    listener.knows(caller)
    caller.knows(other)
    caller.knows(listener)
    place = await listener.listen()
    caller.relay.dial_at(place)
    await caller.until_present(listener)
    assert caller.relay.dialled() == {place}
    listener.relay.cut(caller.id, "the test wants it")
    await caller.until(lambda: [what for what, *_ in caller.told] == ["came", "left", "came"])
    caller.relay.undial(place)
    with pytest.raises(BadInput):
        caller.relay.dial_at("http://x")


@with_sides
async def test_connect_once_says_who_answered_or_why_nobody(sides: Sides) -> None:
    caller, listener = await sides.paired()
    place = "{}:{}".format(*listener.relay.listening()[0])
    assert await caller.relay.connect_once(place) == listener.id
    assert caller.relay.present() == {listener.id}
    with pytest.raises(Refused, match="nothing listens there"):
        await caller.relay.connect_once(f"127.0.0.1:{free_port()}")
    with pytest.raises(BadInput, match="no address"):
        await caller.relay.connect_once("a b")
    stranger = sides.make()
    with pytest.raises(Refused, match="another device answers there"):
        await caller.relay.connect_once(await stranger.listen())


@with_sides
async def test_whoever_answers_is_not_always_coterie(sides: Sides) -> None:
    caller, listener = await sides.paired()

    ended = asyncio.Event()

    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example.org ESMTP\r\n")
        writer.close()
        await writer.wait_closed()
        ended.set()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    with pytest.raises(Refused, match="no coterie"):
        await caller.relay.connect_once(f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await ended.wait()
    server.close()
    await server.wait_closed()


@with_sides
async def test_nobody_who_answers_keeps_a_caller_waiting(sides: Sides) -> None:
    caller, listener = await sides.paired()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.MonkeyPatch.context() as patch:
        patch.setattr("coterie.net.dialer.HANDSHAKE_S", 0.1)
        with pytest.raises(Refused, match="no answer"):
            await caller.relay.connect_once(f"127.0.0.1:{silent.getsockname()[1]}")


# --- two at once ------------------------------------------------------------------------------------------------------


@with_sides
async def test_both_call_at_once_and_one_link_stays(sides: Sides) -> None:
    for _ in range(5):
        left, right = sides.make(), sides.make()
        left.knows(right, await right.listen())
        right.knows(left, await left.listen())
        left.relay.dial(right.id)
        right.relay.dial(left.id)
        smaller = min(left, right, key=lambda side: side.id)
        other = left if smaller is right else right

        def settled() -> bool:
            ours, theirs = smaller.relay.live(other.id), other.relay.live(smaller.id)  # noqa: B023
            return bool(ours and theirs and len(smaller.relay._all) == len(other.relay._all) == 1)  # noqa: B023

        await left.until(settled)
        ours, theirs = smaller.relay.live(other.id), other.relay.live(smaller.id)
        assert ours
        assert theirs
        assert ours.dialled, "the link that the smaller id called"
        assert not theirs.dialled, "they are the two ends of one link"
        smaller.relay.send(other.id, {"n": 1})
        await other.until(lambda: other.frames())  # noqa: B023
        for side in (left, right):
            assert [what for what, *_ in side.told if what != "frame"][::2] == ["came"] * len(
                [what for what, *_ in side.told if what == "came"]
            ), "they take turns"


@with_sides
async def test_who_calls_again_replaces_its_old_link(sides: Sides) -> None:
    caller, listener = await sides.paired()
    place = listener.relay.listening()[0]
    for _ in range(3):
        await caller.relay.connect_once("{}:{}".format(*place))
    await listener.until(lambda: len(listener.relay._all) == 1)
    caller.relay.send(listener.id, {"n": 1})
    await listener.until(lambda: listener.frames())
    assert [what for what, *_ in listener.told] == ["came", "left"] * 2 + ["came", "frame"]


@with_sides
async def test_no_more_links_than_wanted(sides: Sides) -> None:
    listener = sides.make(replace(FAST, max_peers=2))
    place = await listener.listen()
    callers = [sides.make() for _ in range(3)]
    for caller in callers:
        listener.knows(caller)
        caller.knows(listener, place)
    for caller in callers[:2]:
        await caller.relay.connect_once(place)
    await listener.until(lambda: len(listener.relay.present()) == 2)
    callers[2].relay.dial(listener.id)
    await listener.until(lambda: any("no more are wanted" in what for what in listener.said))
    assert listener.relay.present() == {caller.id for caller in callers[:2]}
    await callers[0].relay.connect_once(place)  # One that has a link may replace it.
    assert callers[0].id in listener.relay.present()
    listener.relay.cut(callers[1].id, "the test wants it")
    await listener.until_present(callers[2])


# --- the person changes something -------------------------------------------------------------------------------------


@with_sides
async def test_a_lower_count_of_links_holds_at_once(sides: Sides) -> None:
    listener = sides.make()
    place = await listener.listen()
    callers = [sides.make() for _ in range(3)]
    for caller in callers:
        listener.knows(caller)
        caller.knows(listener, place)
        await caller.relay.connect_once(place)
        await listener.until_present(caller)
    listener.relay.set_pace(replace(FAST, max_peers=1))
    assert listener.relay.present() == {callers[0].id}
    await callers[2].until_gone(listener)


@with_sides
async def test_another_heartbeat_holds_for_links_that_are_there(sides: Sides) -> None:
    caller, listener = await sides.linked()
    link = caller.relay.live(listener.id)
    assert link
    assert link.link
    caller.relay.set_pace(Pace(heartbeat_s=0.02, reconnect_max_s=0.2))
    await asyncio.sleep(0.3)
    assert caller.relay.live(listener.id) is link, "signs of life came, at its own pace"
    assert link.link._sent >= 4
    assert caller.relay.silent_s(listener.id) < 0.2  # type: ignore[operator]


@with_sides
async def test_a_device_that_says_nothing_is_found_dead(sides: Sides) -> None:
    caller, listener = await sides.linked(Pace(heartbeat_s=0.05, reconnect_max_s=0.2))
    listener.relay.stop_listening()
    asleep = listener.relay.live(caller.id)
    assert asleep
    assert asleep._transport
    asleep._transport.pause_reading()  # Its kernel takes what comes, and nobody answers.
    asleep._timer.cancel()  # type: ignore[union-attr]
    await caller.until_gone(listener)
    assert any(what.startswith("no link any more: no word since 0 s") for what in caller.said)


@with_sides
async def test_a_laptop_that_slept_accuses_nobody(sides: Sides) -> None:
    """A clock that went on for eight hours while nothing ran: each side asks the other first, and hears from it."""
    caller, listener = await sides.linked()
    links = [caller.relay.live(listener.id), listener.relay.live(caller.id)]
    before = list(caller.told), list(listener.told), list(caller.said), list(listener.said)
    loop = asyncio.get_running_loop()
    awake = loop.time
    loop.time = lambda: awake() + 8 * 3600  # type: ignore[method-assign]
    await listener.until(lambda: all(one and one.link and not one.link.doubted and one.link._sent for one in links))
    assert (caller.told, listener.told, caller.said, listener.said) == before
    assert [caller.relay.live(listener.id), listener.relay.live(caller.id)] == links


@with_sides
async def test_who_slept_while_the_other_left_finds_out_and_calls_again(sides: Sides) -> None:
    caller, listener = await sides.linked()
    gone = listener.relay.live(caller.id)
    assert gone
    gone.data_received = lambda data: None  # type: ignore[method-assign]
    gone._timer.cancel()  # type: ignore[union-attr]
    loop = asyncio.get_running_loop()
    awake, slept = loop.time, 8 * 3600.0
    loop.time = lambda: awake() + slept  # type: ignore[method-assign]
    await caller.until(lambda: (link := caller.relay.live(listener.id)) and link.link and link.link.doubted)
    assert caller.told == [("came", listener.id)]
    slept += FAST.heartbeat_s
    await caller.until(lambda: ("left", listener.id) in caller.told)
    await caller.until_present(listener)
    assert "no link any more: no word since 90 s" in caller.said


@with_sides
async def test_small_frames_go_out_at_once(sides: Sides) -> None:
    """The kernel would keep a second one back for 40 ms until the first is confirmed."""
    caller, listener = await sides.linked()
    for link in (caller.relay.live(listener.id), listener.relay.live(caller.id)):
        assert link
        assert link._transport
        used = link._transport.get_extra_info("socket")
        assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@with_sides
async def test_the_door_moves_while_links_live_on(sides: Sides) -> None:
    caller, listener = await sides.linked()
    before = listener.relay.listening()
    port = await listener.relay.listen("127.0.0.1", 0)
    assert listener.relay.listening() == before, "the same was asked for"
    other = free_port()
    assert await listener.relay.listen("127.0.0.1", other) == other
    assert listener.relay.listening() == [("127.0.0.1", other)] != [("127.0.0.1", port)]
    assert caller.relay.present() == {listener.id}
    listener.relay.stop_listening()
    assert listener.relay.listening() == []
    caller.relay.send(listener.id, {"n": 1})
    await listener.until(lambda: listener.frames())


@with_sides
async def test_forget_cuts_the_link_and_refuses_the_key(sides: Sides) -> None:
    caller, listener = await sides.linked()
    loop = asyncio.get_running_loop()
    began = loop.time()
    listener.relay.send(caller.id, {"kind": "bye", "why": "forgotten"})
    listener.forgets(caller)
    assert listener.relay.present() == frozenset()
    assert not listener.relay.send(caller.id, {})
    await caller.until_gone(listener)
    assert loop.time() - began < 1
    assert caller.frames() == [{"kind": "bye", "why": "forgotten"}]
    tried = len(caller.said)
    await caller.until(lambda: any("may have forgotten this device" in what for what in caller.said[tried:]))
    assert listener.relay.present() == frozenset()
    # Paired again, it is let in as before.
    listener.devices[caller.id].standing = Standing.PAIRED
    listener.keys[caller.id] = KEY
    listener.relay.pin(listener.devices[caller.id])
    await listener.until_present(caller)


@with_sides
async def test_who_was_forgotten_is_called_no_more(sides: Sides) -> None:
    caller, listener = await sides.linked()
    caller.forgets(listener)
    assert caller.relay.dialled() == frozenset()
    await listener.until_gone(caller)
    with pytest.raises(Refused, match="no device is paired"):
        await caller.relay.connect_once("{}:{}".format(*listener.relay.listening()[0]))


@with_sides
async def test_a_device_that_does_not_read_is_cut_off(sides: Sides) -> None:
    caller, listener = await sides.linked()
    deaf = listener.relay.live(caller.id)
    assert deaf
    assert deaf._transport
    deaf._transport.pause_reading()
    listener.relay.stop_listening()
    sent = 0
    while caller.relay.send(listener.id, {"text": "x" * 60_000}):
        sent += 60_000
        assert sent < LINK_OUTGOING_BYTES_MAX + (16 << 20), "more than the kernel holds, and it still takes more"
        await asyncio.sleep(0)
    await caller.until_gone(listener)
    assert "no link any more: it reads nothing of what it is sent" in caller.said


@with_sides
async def test_after_close_nothing_is_left(sides: Sides) -> None:
    caller, listener = await sides.linked()
    await caller.relay.close()
    assert caller.told[-1] == ("left", listener.id)
    await listener.until_gone(caller)
    await listener.relay.close()
    tasks = asyncio.all_tasks() - {asyncio.current_task()}  # type: ignore[arg-type]
    assert not tasks


@with_sides
async def test_a_pairing_key_that_cannot_be_read_is_none(sides: Sides) -> None:
    caller, listener = await sides.paired()

    def damaged(device: str) -> bytes:
        raise Damaged("the pairing key cannot be read")

    listener.relay._key = damaged
    with pytest.raises(Refused, match="may have forgotten"):
        await caller.relay.connect_once("{}:{}".format(*listener.relay.listening()[0]))


@with_sides
async def test_addresses_that_are_none_are_no_harm(sides: Sides) -> None:
    """They are what another device says of itself."""
    caller, listener = await sides.paired()
    listener.devices[caller.id].addresses = ["", "a b", "[", "x" * 5000]
    assert await caller.relay.connect_once("{}:{}".format(*listener.relay.listening()[0])) == listener.id


@with_sides
async def test_who_pairs_may_be_set_later(sides: Sides) -> None:
    side = sides.make()
    assert side.relay.pairing is None

    async def pairing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> bool:
        return True

    side.relay.pairing = pairing
    assert side.relay.pairing is pairing


@with_sides
async def test_a_defect_while_calling_is_logged(sides: Sides) -> None:
    caller, listener = await sides.paired()

    async def broken(place: str, device: str) -> str:
        raise KeyError("a defect")

    caller.relay.call = broken  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        met: list[str] = []
        patch.setattr("coterie.net.relay.log.error", lambda text, **_: met.append(text))
        caller.relay.dial(listener.id)
        await caller.until(lambda: met)
