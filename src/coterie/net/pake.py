"""SPAKE2: a strong key of a weak secret, of which who looks on learns nothing, and who takes part has one guess.

Of the group of Ed25519, by the package `spake2`. It is pure Python and takes 3 ms a step, so it runs in a thread; its
time depends on the secret, which is why a secret lives for one try only.
"""

from __future__ import annotations

import asyncio

from coterie import ids
from coterie.errors import BadInput
from coterie.pairing import Role

MESSAGE_BYTES = 33
"""The side, and an element of the group."""


class Pake:
    """One side, for one try."""

    def __init__(self, role: Role, password: bytes, joiner: bytes, inviter: bytes) -> None:
        """`joiner` and `inviter` are the fingerprints of their certificates: with others the keys differ."""
        from spake2 import SPAKE2_A, SPAKE2_B  # type: ignore[import-untyped]

        side = SPAKE2_A if role is Role.JOINER else SPAKE2_B
        self._state = side(password, idA=joiner, idB=inviter, entropy_f=ids.entropy)
        self.message: bytes = self._state.start()
        """What the other side is sent."""

    def finish(self, message: bytes) -> bytes:
        """The key, given the message of the other side. Raises `BadInput` if it is none, or our own thrown back.

        That there is a key does not say that the other side knew the password: only its confirmation does.
        """
        from spake2.ed25519_basic import NotOnCurve  # type: ignore[import-untyped]
        from spake2.spake2 import SPAKEError  # type: ignore[import-untyped]

        if len(message) != MESSAGE_BYTES:
            raise _bad()
        try:
            key: bytes = self._state.finish(message)
        except (SPAKEError, NotOnCurve, ValueError, AssertionError):  # Of ValueError: zero, or of another group.
            raise _bad() from None
        return key


def _bad() -> BadInput:
    return BadInput("what came is no element of the group", "it was not made by coterie")


async def begin(role: Role, password: bytes, joiner: bytes, inviter: bytes) -> Pake:
    """`Pake`, in a thread."""
    return await asyncio.to_thread(Pake, role, password, joiner, inviter)


async def finish(pake: Pake, message: bytes) -> bytes:
    """`Pake.finish`, in a thread."""
    return await asyncio.to_thread(pake.finish, message)
