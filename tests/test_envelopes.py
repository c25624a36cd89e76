"""What goes between devices is read strictly: whatever is not as it must be is refused, and never an accident."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie import envelopes, ids
from coterie.envelopes import Envelope, NewerEnvelope, Posted, Receipt, canonical, frame, read
from coterie.errors import BadInput
from coterie.jsonline import decode, encode
from coterie.limits import LINK_LINE_BYTES_MAX, MESSAGE_BYTES_MAX
from coterie.messages import Carrier, State

ORIGIN = "ABCDEF2" * 8
MESSAGE, OTHER = "m_0123456789ab", "m_ba9876543210.2"


def posted(**changes: Any) -> Posted:
    """An envelope with all that one can have."""
    fields: dict[str, Any] = {
        "id": MESSAGE,
        "origin": ORIGIN,
        "to": "p_7f3k9q2m",
        "sender": "p_0a1b2c3d",
        "name": "alice",
        "kind": "claude",
        "thread": OTHER,
        "reply_to": OTHER,
        "text": "Hello.\n\u202eWörld",
        "life_s": 604_800.0,
        "path": ("ABCDEF2:p_0a1b2c3d", "2FEDCBA:p_7f3k9q2m"),
        "hops": 1,
    }
    return Posted(Envelope(**{**fields, **changes}), b"\x01" * 64, 1.5, OTHER)


def sent(value: Posted | None = None) -> Any:
    """Its frame, as it comes off the wire."""
    return decode(encode(frame(value or posted())))


def test_what_is_read_is_what_was_sent() -> None:
    assert read(sent()) == posted()
    short = posted(reply_to=None, path=(), hops=0, thread=MESSAGE)
    assert read(sent(short)) == short


@given(st.text(max_size=300), st.floats(1, 2_000_000), st.integers(0, 32))
def test_the_signed_bytes_survive_the_way(text: str, life_s: float, hops: int) -> None:
    try:
        encode({"text": text})
    except UnicodeEncodeError:
        return
    value = posted(text=text, life_s=life_s, hops=hops)
    assert canonical(read(sent(value)).envelope) == canonical(value.envelope)


def test_every_member_is_signed() -> None:
    one = canonical(posted().envelope)
    changes: dict[str, Any] = {
        "id": "m_0123456789ac",
        "origin": "BBCDEF2" * 8,
        "to": "p_7f3k9q2n",
        "sender": "p_0a1b2c3e",
        "name": "bob",
        "kind": "codex",
        "thread": MESSAGE,
        "reply_to": None,
        "text": "Hello",
        "life_s": 1.0,
        "path": (),
        "hops": 2,
    }
    assert set(changes) == set(Envelope.__dataclass_fields__)
    assert all(canonical(posted(**{name: value}).envelope) != one for name, value in changes.items())
    assert one.startswith(envelopes.SIGNED)


def test_the_longest_message_fits_a_line() -> None:
    for text in ("\\" * 7_000, "\x01" * 1_000, "ü" * 7_000, "😀" * 3_500, "x\n" * 3_800):
        text = text[: MESSAGE_BYTES_MAX // 2]
        try:
            value = read(sent(posted(text=text, path=("ABCDEF2:p_" + "0" * 32,) * envelopes.PATH_MAX)))
        except BadInput:
            continue
        assert len(encode({"n": 1 << 40, "f": {"kind": "envelope", **frame(value)}})) < LINK_LINE_BYTES_MAX


WRONG: list[Any] = [None, True, -1, 1e300, "", "x", "m_x", [], {}, ["x"], "\n", 2.5, "p_0a1b2c3d@x", "a" * 70_000]
MEMBERS = ["v", "id", "origin", "to", "from", "thread", "reply_to", "text", "life_s", "path", "hops"]


@pytest.mark.parametrize("member", [*MEMBERS, "from.id", "from.name", "from.kind"])
def test_no_member_is_taken_as_it_must_not_be(member: str) -> None:
    allowed: dict[str, Any] = {
        "reply_to": [None],
        "text": ["", "x", "m_x", "\n", "p_0a1b2c3d@x"],
        "path": [[]],
        "life_s": [2.5],
        "hops": [2.5],
        "from.name": ["x", "m_x", "\n", "p_0a1b2c3d@x"],
        "from.kind": ["x"],
    }
    for value in WRONG:
        if value in allowed.get(member, []) and not isinstance(value, bool):
            continue
        frame_ = copy.deepcopy(sent())
        inside = frame_["envelope"]
        holder, name = (inside["from"], member[5:]) if member.startswith("from.") else (inside, member)
        holder[name] = value
        with pytest.raises(BadInput) as caught:
            read(frame_)
        assert "aaaa" not in str(caught.value), "nothing of it is repeated"
        if member in ("reply_to",):
            continue
        del holder[name]
        with pytest.raises(BadInput):
            read(frame_)


@pytest.mark.parametrize(
    ("member", "value"),
    [("envelope", None), ("envelope", []), ("signature", "zz" * 64), ("signature", "01"), ("signature", None)]
    + [("age_s", value) for value in (None, -1, True, "1", 1e300)]
    + [("after", value) for value in ("", 1, "x", [])],
)
def test_the_frame_around_it_is_read_strictly(member: str, value: Any) -> None:
    with pytest.raises(BadInput):
        read({**sent(), member: value})


def test_what_a_newer_release_adds_is_passed_over_and_its_version_refused() -> None:
    newer = sent()
    newer["more"], newer["envelope"]["more"] = 1, {"x": 2}
    assert read(newer) == posted()
    newer["envelope"]["v"] = 2
    with pytest.raises(NewerEnvelope) as caught:
        read(newer)
    assert caught.value.envelope == MESSAGE


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["id", "v", "from", "x"]), inner),
    max_leaves=10,
)
members = st.sampled_from(["envelope", "signature", "after", "age_s", "receipts", "ids", "held"])


@given(st.dictionaries(members, json_values))
def test_nothing_but_bad_input_comes_of_rubbish(rubbish: dict[str, Any]) -> None:
    states, carriers = list(State), list(Carrier)
    for reader in (
        read,
        lambda frame: envelopes.read_receipts(frame, states, carriers),
        lambda frame: envelopes.read_noted(frame, states),
        lambda frame: envelopes.read_ids(frame, "ids"),
    ):
        with contextlib.suppress(BadInput):
            reader(rubbish)


def test_receipts_and_what_is_noted() -> None:
    states, carriers = list(State), list(Carrier)
    told = [Receipt(MESSAGE, "offered", "inbox", 3), Receipt(OTHER, "shown", "", 4)]
    wire = decode(encode({"receipts": envelopes.receipts_to_wire(told)}))
    assert isinstance(wire, dict)
    assert envelopes.read_receipts(wire, states, carriers) == told
    wire["receipts"][0]["carrier"], wire["receipts"][1]["state"] = "<b>", "teleported"
    assert envelopes.read_receipts(wire, states, carriers) == [Receipt(MESSAGE, "offered", "", 3)]
    assert envelopes.read_noted({"receipts": [[MESSAGE, "shown"], [OTHER, "teleported"]]}, states) == [
        (MESSAGE, "shown")
    ]
    for rubbish in ([[MESSAGE]], [["x", "shown"]], [[MESSAGE, 1]], ["x"], 7, [[MESSAGE, "shown"]] * 500):
        with pytest.raises(BadInput):
            envelopes.read_noted({"receipts": rubbish}, states)


def test_the_id_of_a_message_whose_own_is_taken() -> None:
    found = envelopes.local_id(ORIGIN, MESSAGE)
    assert ids.is_message_id(found)
    assert len({found, envelopes.local_id(ORIGIN, OTHER), envelopes.local_id("B" * 56, MESSAGE)}) == 3
