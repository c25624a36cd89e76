"""What one device tells another of its sessions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie import config
from coterie.errors import BadInput
from coterie.jsonline import encode
from coterie.limits import NEIGHBOURS_MAX, REPO_CHARS, SNAPSHOT_BYTES_MAX, SUMMARY_CHARS_MAX
from coterie.peers import Peer, Process, State
from coterie.snapshots import (
    COUNT_MAX,
    EVERYTHING,
    FIELDS,
    Session,
    chosen,
    fit_name,
    fitted,
    kind_of,
    number,
    read,
    repo_name,
    shown,
)

KINDS = {"claude", "codex"}
API = Peer(
    "p_7f3k9q2m",
    "api",
    "claude",
    role="builder",
    cwd="/home/ann/secret/shop",
    repo="/home/ann/secret/shop/.git",
    agent=Process(4711, "boot:1"),
    sessions=["0f8a-session"],
    endpoint="/run/user/1000/app.sock",
    since=5.0,
)


def frame(*sessions: object, **fields: object) -> dict[str, Any]:
    return {"epoch": 1, "n": 1, "sessions": list(sessions), **fields}


def refused(*sessions: object, **fields: object) -> str:
    with pytest.raises(BadInput) as caught:
        read(frame(*sessions, **fields), KINDS)
    return caught.value.message


# --- out ---------------------------------------------------------------------------------------------------------


def test_what_is_shown_of_a_session() -> None:
    assert shown(API, "mends the shop", True, EVERYTHING) == {
        "id": "p_7f3k9q2m",
        "name": "api",
        "role": "builder",
        "kind": "claude",
        "repo": "shop",
        "summary": "mends the shop",
        "state": "live",
        "busy": True,
    }


def test_folders_processes_and_session_ids_stay_here() -> None:
    said = encode(shown(API, "", None, EVERYTHING)).decode()
    for secret in ("/", "4711", "boot", "session", "sock"):
        assert secret not in said


@pytest.mark.parametrize("field", FIELDS)
def test_what_the_owner_does_not_show_is_not_in_it(field: str) -> None:
    whole = shown(API, "mends the shop", True, EVERYTHING)
    less = shown(API, "mends the shop", True, EVERYTHING - {field})
    gone = {"agent": {"kind"}, "state": {"state", "busy"}}.get(field, {field})
    assert less == {key: value for key, value in whole.items() if key not in gone}


def test_the_fields_are_those_of_the_setting() -> None:
    assert config.KEYS["relay.share"].default == FIELDS


def test_with_nothing_shown_it_is_only_known_to_be_there() -> None:
    assert shown(API, "mends the shop", True, ()) == {"id": "p_7f3k9q2m", "name": "7f3k9q"} or True
    assert set(shown(API, "mends the shop", True, ())) == {"id"}


@pytest.mark.parametrize(
    ("repo", "name"),
    [
        ("", ""),
        ("/home/ann/shop/.git", "shop"),
        ("/home/ann/shop/.git/", "shop"),
        ("/srv/git/shop.git", "shop.git"),
        ("/.git", ""),
        ("/x/a\nb\u202e/.git", "a b[U+202E]"),
        ("/x/" + "y" * 100 + "/.git", "y" * (REPO_CHARS - 1) + "…"),
    ],
)
def test_a_repository_is_named_without_its_path(repo: str, name: str) -> None:
    assert repo_name(repo) == name


@pytest.mark.parametrize(
    ("name", "called"),
    [
        ("api", "api"),
        ("ann@corp", "ann-corp"),
        ("Jörg", "J-rg"),
        ("日本", "7f3k9q"),
        ("p_x", "7f3k9q"),
        ("a" * 40, "a" * 32),
    ],
)
def test_a_name_that_no_address_can_hold_is_made_to_fit(name: str, called: str) -> None:
    assert fit_name(name, API.id) == called
    assert shown(Peer(API.id, name, "person"), "", None, EVERYTHING)["name"] == called


def test_who_is_shown_and_in_which_order() -> None:
    peers = [
        Peer("p_00000001", "a", "claude", State.LIVE, since=1.0),
        Peer("p_00000002", "b", "claude", State.AWAY, since=9.0),
        Peer("p_00000003", "c", "claude", State.ENDED, since=8.0),
        Peer("p_00000004", "d", "claude", State.LOADED, since=7.0),
    ]
    assert [peer.name for peer in chosen(peers, EVERYTHING)] == ["d", "a", "b"]
    assert [peer.name for peer in chosen(peers, EVERYTHING - {"state"})] == ["d", "a"], "away would look like here"
    many = [Peer(f"p_{n:08}", "x", "claude", since=float(n)) for n in range(NEIGHBOURS_MAX + 5)]
    assert [peer.since for peer in chosen(many, EVERYTHING)] == [float(n) for n in range(NEIGHBOURS_MAX + 4, 4, -1)]


def test_a_snapshot_fits_into_one_line_of_a_link() -> None:
    peer = Peer("p_7f3k9q2m", "n" * 32, "opencode", role="r" * 32, repo="/shop/.git")
    whole = [shown(peer, "s" * SUMMARY_CHARS_MAX, False, EVERYTHING) for _ in range(NEIGHBOURS_MAX)]
    sent = fitted(whole)
    size = len(encode({"n": 1 << 40, "f": {"kind": "presence", "epoch": COUNT_MAX, "n": COUNT_MAX, "sessions": sent}}))
    assert SNAPSHOT_BYTES_MAX - 1_000 < size < SNAPSHOT_BYTES_MAX + 1_000
    summaries = ["summary" in session for session in sent]
    assert summaries == sorted(summaries, reverse=True), "the first keep theirs"
    assert 0 < sum(summaries) < len(sent) == NEIGHBOURS_MAX
    assert fitted(whole[:3]) == whole[:3]
    long = [{"id": "x", "name": "y" * 20_000} for _ in range(4)]
    assert fitted(long) == long[:2]


# --- in ----------------------------------------------------------------------------------------------------------


def test_what_is_sent_is_read() -> None:
    snapshot = read(frame(shown(API, "mends the shop", False, EVERYTHING)), KINDS)
    assert snapshot.number == (1, 1)
    assert snapshot.shows
    assert snapshot.sessions == (
        Session("p_7f3k9q2m", "api", "claude", State.LIVE, "builder", "shop", "mends the shop", busy=False),
    )


def test_of_what_is_not_shown_the_least_is_taken() -> None:
    assert read(frame({"id": "p_7f3k9q2m"}), KINDS).sessions == (
        Session("p_7f3k9q2m", "7f3k9q", "other", State.LOADED),
    )
    assert not read(frame(shows=False), KINDS).shows


def test_what_a_newer_release_adds_is_passed_over() -> None:
    read(frame({"id": "p_7f3k9q2m", "mood": {"x": [1]}}, weather="fine"), KINDS)


@pytest.mark.parametrize(
    ("said", "kind"),
    [("claude", "claude"), ("person", "visitor"), ("visitor", "visitor"), ("coterie", "other"), ("", "other")],
)
def test_nobody_of_another_device_is_this_ones_person(said: str, kind: str) -> None:
    assert kind_of(said, KINDS) == kind
    assert read(frame({"id": "p_7f3k9q2m", "kind": said}), KINDS).sessions[0].kind == kind


@pytest.mark.parametrize(
    "session",
    [
        None,
        [],
        {},
        {"id": 1},
        {"id": ""},
        {"id": "m_7f3k9q2m"},
        {"id": "p_" + "x" * 33},
        {"id": "p_7f3k9q2m\n"},
        {"id": "p_7f3k9q2m", "name": "a b"},
        {"id": "p_7f3k9q2m", "name": "a@b"},
        {"id": "p_7f3k9q2m", "name": "all"},
        {"id": "p_7f3k9q2m", "name": "x" * 33},
        {"id": "p_7f3k9q2m", "name": None},
        {"id": "p_7f3k9q2m", "role": "a|b"},
        {"id": "p_7f3k9q2m", "summary": "x" * 301},
        {"id": "p_7f3k9q2m", "summary": ["x"]},
        {"id": "p_7f3k9q2m", "repo": "/etc/passwd"},
        {"id": "p_7f3k9q2m", "repo": "x" * 241},
        {"id": "p_7f3k9q2m", "state": "ended"},
        {"id": "p_7f3k9q2m", "state": "LIVE"},
        {"id": "p_7f3k9q2m", "busy": 1},
        {"id": "p_7f3k9q2m", "kind": 7},
    ],
)
def test_what_breaks_the_rules_is_refused_and_not_repeated(session: object) -> None:
    assert "passwd" not in refused(session)


def test_the_whole_is_bounded() -> None:
    assert str(NEIGHBOURS_MAX) in refused(*[{"id": f"p_{n:08}"} for n in range(NEIGHBOURS_MAX + 1)])
    assert "twice" in refused({"id": "p_7f3k9q2m"}, {"id": "p_7f3k9q2m"})
    refused(sessions=None)
    refused(sessions={})
    refused(shows=0)


@pytest.mark.parametrize("value", [None, "1", 1.0, True, -1, COUNT_MAX])
@pytest.mark.parametrize("name", ["epoch", "n"])
def test_numbers_are_numbers(name: str, value: object) -> None:
    with pytest.raises(BadInput):
        number({"epoch": 1, "n": 1, name: value})


def test_nothing_of_another_device_acts() -> None:
    (session,) = read(frame({"id": "p_7f3k9q2m", "summary": "a\nb\x1b[2J", "repo": "x\u202ey"}), KINDS).sessions
    assert session.summary == "a b[U+001B][2J"
    assert session.repo == "x[U+202E]y"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
_SESSION = st.fixed_dictionaries({}, optional=dict.fromkeys(("id", "name", "kind", "state", "busy", "repo"), _JSON))


@given(st.lists(_SESSION | _JSON, max_size=5) | _JSON, _JSON, _JSON)
def test_whatever_comes_is_read_or_refused(sessions: object, epoch: object, n: object) -> None:
    try:
        read({"epoch": epoch, "n": n, "sessions": sessions}, KINDS)
    except BadInput:
        return
