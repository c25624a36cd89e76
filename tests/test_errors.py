"""The tree of errors, and its form on the wire."""

from __future__ import annotations

import ast
import inspect
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie import errors
from coterie.errors import (
    Ambiguous,
    BadInput,
    CoterieError,
    Defect,
    DiskFull,
    Limited,
    NoMatch,
    NoTerminal,
    PairingFailed,
    SwitchedOff,
    Unsafe,
    from_wire,
    no_terminal,
    switched_off,
)

KINDS = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, CoterieError)),
    key=lambda kind: kind.__name__,
)

# What the wire and the shell see of each; programs of other versions rely on it.
TABLE = {
    "coterie-error": (-32000, 1),
    "bad-input": (-32602, 2),
    "bad-line": (-32700, 2),
    "unknown-method": (-32601, 2),
    "no-match": (-32010, 1),
    "ambiguous": (-32011, 1),
    "refused": (-32001, 1),
    "human-only": (-32012, 1),
    "no-terminal": (-32021, 1),
    "limited": (-32018, 1),
    "pairing-failed": (-32022, 1),
    "unavailable": (-32002, 3),
    "switched-off": (-32013, 3),
    "sandboxed": (-32014, 3),
    "silent": (-32015, 3),
    "unsafe": (-32003, 3),
    "bad-config": (-32020, 1),
    "store-failed": (-32004, 1),
    "disk-full": (-32016, 1),
    "newer-database": (-32017, 3),
    "damaged": (-32019, 3),
    "defect": (-32603, 1),
}


@pytest.mark.promise("C1")
def test_codes_and_exit_statuses() -> None:
    assert {kind.kind(): (kind.code, kind.exit_status) for kind in KINDS} == TABLE


def test_every_code_means_one_thing() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    doc = ast.get_docstring(ast.parse(inspect.getsource(errors)))
    assert doc
    drawn: dict[str, str] = {}
    above = {0: "CoterieError"}
    for line in doc.splitlines():
        found = re.match(r"^    ((?:\|   |    )*)[|`]-- (\w+)", line)
        if found:
            depth = len(found[1]) // 4 + 1
            drawn[found[2]] = above[depth - 1]
            above[depth] = found[2]
    assert drawn == {kind.__name__: kind.__base__.__name__ for kind in KINDS if kind is not CoterieError}


def test_a_text_with_and_without_a_hint() -> None:
    assert NoMatch("nobody here is called 'bob'", "here: ann").args == ("nobody here is called 'bob'",)
    assert str(NoMatch("nobody here is called 'bob'")) == "nobody here is called 'bob'"
    assert str(NoMatch("nobody here is called 'bob'", "here: ann")) == "nobody here is called 'bob'\nhere: ann"


def test_to_wire() -> None:
    assert DiskFull("no room", "make room").to_wire() == {
        "code": -32016,
        "message": "no room",
        "data": {"kind": "disk-full", "hint": "make room"},
    }


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_other_side_makes_the_same_error_again(kind: type[CoterieError]) -> None:
    again = from_wire(kind("what happened", "what to do").to_wire())
    assert type(again) is kind
    assert (again.message, again.hint) == ("what happened", "what to do")


@pytest.mark.parametrize(
    ("error", "message", "hint"),
    [
        (None, "the daemon answered with an error that makes no sense", ""),
        ("no", "the daemon answered with an error that makes no sense", ""),
        ([], "the daemon answered with an error that makes no sense", ""),
        ({}, "no reason given", ""),
        ({"message": "why", "data": "x"}, "why", ""),
        ({"message": 5, "data": {"kind": 7, "hint": 8}}, "5", "8"),
        ({"message": "why", "data": {"kind": "from-the-future", "hint": "upgrade"}}, "why", "upgrade"),
        ({"message": "why", "data": {"kind": ["defect"]}}, "why", ""),
        ({"code": -32603, "message": "why"}, "why", ""),
    ],
)
def test_anything_malformed_becomes_a_plain_error(error: object, message: str, hint: str) -> None:
    made = from_wire(error)
    assert type(made) is CoterieError
    assert (made.message, made.hint) == (message, hint)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["data", "message", "kind"]), inner),
    max_leaves=8,
)


@given(_JSON)
def test_from_wire_never_raises(error: object) -> None:
    assert isinstance(from_wire(error), CoterieError)


def test_switched_off_is_said_in_the_same_words_everywhere() -> None:
    assert str(switched_off()) == "coterie is switched off on this machine\nthe person can type: coterie up"
    assert type(switched_off()) is SwitchedOff


def test_branches_tell_whose_fault_it_was() -> None:
    assert issubclass(Ambiguous, BadInput)
    assert not issubclass(Unsafe, BadInput)
    assert not issubclass(Defect, BadInput)


def test_a_limit_says_when_to_try_again_on_the_wire_too() -> None:
    there = from_wire(Limited("too many", "wait", limit="pair-rate", retry_s=2).to_wire())
    assert isinstance(there, Limited)
    assert (there.message, there.hint, there.limit, there.retry_s) == ("too many", "wait", "pair-rate", 2.0)
    never = from_wire(Limited("too far", limit="hops").to_wire())
    assert isinstance(never, Limited)
    assert never.retry_s is None


def test_whoever_is_at_no_terminal_is_told_the_line_that_does() -> None:
    error = from_wire(no_terminal("coterie down").to_wire())
    assert isinstance(error, NoTerminal)
    assert error.hint == "without one: coterie down --i-am-human (it is logged)"


def test_a_pairing_that_failed_says_on_the_wire_whether_to_try_again() -> None:
    there = from_wire(PairingFailed("no answer", "look", reason="unreachable", again=True).to_wire())
    assert isinstance(there, PairingFailed)
    assert (there.message, there.hint, there.reason, there.again) == ("no answer", "look", "unreachable", True)
    sparse = PairingFailed("refused").to_wire()
    sparse["data"] = {"kind": "pairing-failed", "again": "yes"}
    bare = from_wire(sparse)
    assert isinstance(bare, PairingFailed)
    assert (bare.reason, bare.again) == ("", False)
