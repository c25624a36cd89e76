"""SPAKE2 as it is used here: who takes part has one guess, and what is no message is refused."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from spake2 import ed25519_basic

from coterie.errors import BadInput
from coterie.net import pake
from coterie.net.pake import Pake
from coterie.pairing import Role

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "pairing.json").read_text("utf-8"))["spake2"]
JOINER, INVITER = b"j" * 32, b"i" * 32


def pair(password: bytes = b"code", other: bytes = b"code") -> tuple[Pake, Pake]:
    return Pake(Role.JOINER, password, JOINER, INVITER), Pake(Role.INVITER, other, JOINER, INVITER)


def keys(joiner: Pake, inviter: Pake) -> tuple[bytes, bytes]:
    return joiner.finish(inviter.message), inviter.finish(joiner.message)


def test_both_have_the_key_if_both_have_the_password() -> None:
    ours, theirs = keys(*pair())
    assert ours == theirs
    assert len(ours) == 32


def test_with_another_password_the_keys_differ() -> None:
    ours, theirs = keys(*pair(b"code", b"codf"))
    assert ours != theirs


@pytest.mark.parametrize("prints", [(INVITER, JOINER), (JOINER, b"x" * 32), (b"x" * 32, INVITER)])
def test_with_another_certificate_the_keys_differ(prints: tuple[bytes, bytes]) -> None:
    ours, theirs = keys(Pake(Role.JOINER, b"code", JOINER, INVITER), Pake(Role.INVITER, b"code", *prints))
    assert ours != theirs


def test_each_try_is_another() -> None:
    first, second = pair(), pair()
    assert len({side.message for side in (*first, *second)}) == 4
    assert keys(*first) != keys(*second)


def test_in_a_thread_it_is_the_same() -> None:
    async def both() -> tuple[bytes, bytes]:
        joiner = await pake.begin(Role.JOINER, b"code", JOINER, INVITER)
        inviter = await pake.begin(Role.INVITER, b"code", JOINER, INVITER)
        return await pake.finish(joiner, inviter.message), await pake.finish(inviter, joiner.message)

    ours, theirs = asyncio.run(both())
    assert ours == theirs


def low_order() -> list[bytes]:
    """Elements that are not of the group: a key of them would be one of eight, whatever the password is."""
    tiny, y = [], 0
    while len(tiny) < 3:
        encoded = y.to_bytes(32, "little")
        y += 1
        try:
            element = ed25519_basic.bytes_to_unknown_group_element(encoded)
        except ed25519_basic.NotOnCurve:
            continue
        eighth = element.scalarmult(ed25519_basic.L)
        if eighth is not ed25519_basic.Zero:
            tiny.append(eighth.to_bytes())
    return tiny


NONE = {
    "nothing": b"",
    "short": b"B" + b"\x01" * 31,
    "long": b"B" + b"\x01" * 33,
    "zero": b"B" + b"\x01" + bytes(31),
    "not on the curve": b"B" + b"\x02" + bytes(31),
    "all ones": b"B" + b"\xff" * 32,
    "of no side": b"X" + b"\x58" + b"\x66" * 31,
    "of the symmetric kind": b"S" + b"\x58" + b"\x66" * 31,
}


@pytest.mark.parametrize("what", NONE)
def test_what_is_no_element_is_refused(what: str) -> None:
    with pytest.raises(BadInput, match="no element"):
        pair()[0].finish(NONE[what])


def test_elements_of_low_order_are_refused() -> None:
    for tiny in low_order():
        assert len(tiny) == 32
        with pytest.raises(BadInput, match="no element"):
            pair()[0].finish(b"B" + tiny)


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("relabelled", [False, True])
def test_ones_own_message_thrown_back_is_refused(side: int, relabelled: bool) -> None:
    ours = pair()[side]
    message = (b"BA"[side : side + 1] + ours.message[1:]) if relabelled else ours.message
    with pytest.raises(BadInput, match="no element"):
        ours.finish(message)


def test_one_side_finishes_once() -> None:
    joiner, inviter = pair()
    joiner.finish(inviter.message)
    with pytest.raises(BadInput):
        joiner.finish(inviter.message)


@pytest.mark.parametrize("vector", VECTORS)
def test_the_vectors(vector: dict[str, Any]) -> None:
    """With the scalars laid down, so that another implementation can compare."""
    password, joiner, inviter = (bytes.fromhex(vector[name]) for name in ("password", "joiner", "inviter"))
    sides = Pake(Role.JOINER, password, joiner, inviter), Pake(Role.INVITER, password, joiner, inviter)
    for side, scalar in zip(sides, "xy", strict=True):
        lay_down(side, int(vector[scalar], 16))
    assert [side.message.hex() for side in sides] == [vector["joiner_message"], vector["inviter_message"]]
    assert {key.hex() for key in keys(*sides)} == {vector["key"]}


def lay_down(side: Pake, scalar: int) -> None:
    state = side._state
    state.xy_scalar = scalar
    state.xy_elem = ed25519_basic.Base.scalarmult(scalar)
    state.compute_outbound_message()
    side.message = state.side + state.outbound_message
