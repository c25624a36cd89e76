"""The guards: what an agent may send, so that no loop, flood or chain of agents goes on unseen.

Pure: whoever asks gives the time. A guard refuses and says when to try again; it never drops anything.
"""

from __future__ import annotations

from dataclasses import dataclass

from coterie.limits import (
    EXCHANGE_MAX,
    FAN_OUT_AGENT_MAX,
    HOPS_MAX,
    MAILBOX_BYTES_MAX,
    MAILBOX_MESSAGES_MAX,
    PAIR_BURST,
    PAIR_PER_MINUTE,
    REPEATS_MAX,
    THREAD_MAX,
)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much an agent may send; a person may set each (`coterie config`). The reasons stand in coterie.limits."""

    pair_burst: int = PAIR_BURST
    pair_per_minute: int = PAIR_PER_MINUTE
    repeats: int = REPEATS_MAX
    thread: int = THREAD_MAX
    exchange: int = EXCHANGE_MAX
    hops: int = HOPS_MAX
    fan_out: int = FAN_OUT_AGENT_MAX
    mailbox_messages: int = MAILBOX_MESSAGES_MAX
    mailbox_bytes: int = MAILBOX_BYTES_MAX
