"""Peers: their states, how processes are joined to them, their names, scopes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.activity import Activity
from coterie.errors import BadInput
from coterie.limits import NAME_CHARS_MAX, SUMMARY_CHARS_MAX
from coterie.peers import (
    LISTED,
    RESERVED_NAMES,
    TRANSITIONS,
    Claim,
    Event,
    Peer,
    Process,
    Roster,
    State,
    after,
    anchor,
    check_name,
    check_summary,
    gone,
    in_scope,
    made_up_name,
    newest,
    remote_id,
    summary_of,
)

AGENT, AGENT2 = Process(100, "boot:1"), Process(200, "boot:2")
ADAPTER, ADAPTER2 = Process(101, "boot:1"), Process(201, "boot:2")
SHARED = Process(900, "boot:9")


def peer(name: str = "bob", kind: str = "claude", **more: object) -> Peer:
    return Peer(f"p_{name}", name, kind, **more)  # type: ignore[arg-type]


# --- States --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "event", "now"),
    [
        ("live", "came", "live"),
        ("live", "loaded", "loaded"),
        ("live", "gone", "away"),
        ("live", "finished", "ended"),
        ("loaded", "came", "live"),
        ("loaded", "loaded", "loaded"),
        ("loaded", "gone", "away"),
        ("loaded", "finished", "ended"),
        ("away", "came", "live"),
        ("away", "loaded", "loaded"),
        ("away", "gone", "away"),
        ("away", "finished", "ended"),
        ("ended", "came", "live"),
        ("ended", "loaded", "loaded"),
        ("ended", "gone", "ended"),
        ("ended", "finished", "ended"),
    ],
)
def test_transitions(before: str, event: str, now: str) -> None:
    assert after(State(before), Event(event)) is State(now)


def test_the_table_is_whole() -> None:
    assert set(TRANSITIONS) == {(state, event) for state in State for event in Event}


def test_lists_show_live_and_loaded() -> None:
    assert {"live", "loaded"} == LISTED


@pytest.mark.parametrize(
    ("kind", "sessions", "one_shot", "event"),
    [
        ("claude", ["s1"], False, Event.GONE),
        ("codex", ["s1"], False, Event.GONE),
        ("gemini", ["s1"], False, Event.GONE),
        ("opencode", ["s1"], False, Event.GONE),
        ("claude", ["s1"], True, Event.FINISHED),
        ("claude", [], False, Event.FINISHED),
        ("other", ["s1"], False, Event.FINISHED),
        ("person", [], False, Event.FINISHED),
    ],
)
def test_what_the_end_of_a_process_means(kind: str, sessions: list[str], one_shot: bool, event: Event) -> None:
    assert gone(peer(kind=kind, sessions=sessions, one_shot=one_shot)) is event


@pytest.mark.parametrize(
    ("kind", "agent", "adapter", "expected"),
    [
        ("claude", AGENT, ADAPTER, AGENT),
        ("gemini", AGENT, None, AGENT),
        ("claude", None, ADAPTER, ADAPTER),
        ("codex", AGENT, ADAPTER, ADAPTER),
        ("codex", AGENT, None, None),
        ("other", AGENT, ADAPTER, ADAPTER),
        ("claude", None, None, None),
    ],
)
def test_the_process_whose_end_is_the_sessions(
    kind: str, agent: Process | None, adapter: Process | None, expected: Process | None
) -> None:
    assert anchor(peer(kind=kind, agent=agent, adapter=adapter)) == expected


# --- Joining -------------------------------------------------------------------------------------------------------


def claim(kind: str = "claude", **more: object) -> Claim:
    return Claim(kind, "/work", **more)  # type: ignore[arg-type]


def test_nothing_joins_an_empty_roster() -> None:
    assert Roster().join(claim(adapter=ADAPTER, agent=AGENT, session="s1")) is None


def test_a_claim_that_shows_nothing_is_a_new_peer() -> None:
    assert Roster([peer(), peer("ann", sessions=["s1"])]).join(claim()) is None


def test_the_same_adapter_after_the_daemon_came_back() -> None:
    bob, ann = peer(adapter=ADAPTER, agent=AGENT), peer("ann", adapter=ADAPTER2, agent=AGENT)
    assert Roster([bob, ann]).join(claim(adapter=ADAPTER, agent=AGENT)) is bob
    assert Roster([ann, bob]).join(claim(adapter=ADAPTER, agent=AGENT)) is bob


def test_the_adapter_counts_for_more_than_the_session() -> None:
    bob, ann = peer(adapter=ADAPTER, sessions=["s1"]), peer("ann", sessions=["s2"], seen=9.0)
    assert Roster([bob, ann]).join(claim(adapter=ADAPTER, session="s2")) is bob


def test_the_same_agent_process() -> None:
    """After /clear the session has a new id, and is the same peer; so it is when its adapter is started again."""
    bob = peer(adapter=ADAPTER, agent=AGENT, sessions=["s1"])
    roster = Roster([peer("ann", adapter=ADAPTER2, agent=AGENT2, sessions=["s9"]), bob])
    assert roster.join(claim(agent=AGENT, session="s2", source="clear")) is bob
    assert roster.join(claim(agent=AGENT, session="s1", source="compact")) is bob
    assert roster.join(claim(agent=AGENT, adapter=Process(555, "boot:5"))) is bob


def test_a_process_that_serves_several_folders_is_a_peer_in_each() -> None:
    web = peer("web", "opencode", agent=AGENT, cwd="/web")
    roster = Roster([web, peer("api", "opencode", agent=AGENT, cwd="/api")])
    assert roster.join(Claim("opencode", "/web", agent=AGENT)) is web
    assert roster.join(Claim("opencode", "/docs", agent=AGENT)) is None
    assert roster.join(Claim("opencode", "/web", agent=AGENT2)) is None


def test_a_later_process_with_the_same_pid_is_another() -> None:
    roster = Roster([peer(adapter=ADAPTER, agent=AGENT)])
    later = Process(AGENT.pid, "boot:77")
    assert roster.join(claim(agent=later, adapter=Process(ADAPTER.pid, "boot:78"))) is None


@pytest.mark.parametrize("source", ["startup", "resume", "compact", "clear"])
def test_a_session_resumed_in_a_new_process(source: str) -> None:
    bob = peer(agent=AGENT, sessions=["s1", "s2"], state=State.AWAY)
    roster = Roster([peer("ann", sessions=["s3"]), bob])
    for session in ("s1", "s2"):
        assert roster.join(claim(agent=AGENT2, adapter=ADAPTER2, session=session, source=source)) is bob


def test_a_resume_inside_a_process_goes_by_its_id() -> None:
    """The window of ann's session is told to resume bob's: from now on it is bob."""
    bob = peer(sessions=["s1"], state=State.AWAY)
    ann = peer("ann", agent=AGENT, adapter=ADAPTER, sessions=["s2"], seen=5.0)
    roster = Roster([bob, ann])
    assert roster.join(claim(agent=AGENT, session="s1", source="resume")) is bob
    assert roster.join(claim(agent=AGENT, session="s1", source="startup")) is bob, "a hook knows the id of now"
    assert roster.join(claim(agent=AGENT, adapter=ADAPTER, session="s1", source="startup")) is ann
    assert roster.join(claim(agent=AGENT, session="unknown", source="resume")) is ann


def test_a_fork_is_new_but_for_the_one_that_its_process_has_registered_already() -> None:
    known = peer(agent=AGENT, adapter=ADAPTER, sessions=["s1"])
    roster = Roster([known])
    assert roster.join(claim(agent=AGENT, adapter=ADAPTER, session="s2", source="fork")) is None
    assert roster.join(claim(agent=AGENT, adapter=ADAPTER, session="s1", source="fork")) is known
    assert roster.join(claim(agent=Process(99, "other"), session="s1", source="fork")) is None


def test_kinds_are_not_mixed() -> None:
    roster = Roster([peer(agent=AGENT, adapter=ADAPTER, sessions=["s1"])])
    assert roster.join(claim("gemini", agent=AGENT, adapter=ADAPTER, session="s1")) is None


def test_of_several_the_newest() -> None:
    old, new = peer("old", agent=AGENT, seen=1.0), peer("new", agent=AGENT, seen=2.0)
    assert Roster([new, old]).join(claim(agent=AGENT)) is new
    assert Roster([old, new]).join(claim(agent=AGENT)) is new
    assert newest([]) is None


def test_an_ended_peer_is_joined_again() -> None:
    ended = peer(sessions=["s1"], state=State.ENDED)
    assert Roster([ended]).join(claim(session="s1")) is ended


class TestCodex:
    """Several threads share one process, and each has an adapter."""

    def test_the_shared_process_joins_nothing(self) -> None:
        roster = Roster([peer("t1", "codex", agent=SHARED, adapter=ADAPTER, sessions=["t1"])])
        assert roster.join(claim("codex", agent=SHARED, adapter=ADAPTER2, session="t2")) is None
        assert roster.join(claim("codex", agent=SHARED)) is None

    def test_a_thread_is_known_by_its_id(self) -> None:
        first = peer("t1", "codex", agent=SHARED, adapter=ADAPTER, sessions=["t1"])
        second = peer("t2", "codex", agent=SHARED, adapter=ADAPTER2, sessions=["t2"])
        roster = Roster([first, second])
        assert roster.join(claim("codex", agent=SHARED, session="t1")) is first
        assert roster.join(claim("codex", agent=SHARED, adapter=ADAPTER2, session="t2")) is second
        assert roster.join(claim("codex", agent=AGENT2, session="t1", source="resume")) is first

    def test_one_adapter_that_serves_another_thread_is_another_peer(self) -> None:
        first = peer("t1", "codex", adapter=ADAPTER, sessions=["t1"])
        second = peer("t2", "codex", adapter=ADAPTER2, sessions=["t2"], seen=9.0)
        roster = Roster([first, second])
        assert roster.join(claim("codex", adapter=ADAPTER, session="t3")) is None
        assert roster.join(claim("codex", adapter=ADAPTER, session="t2")) is second

    def test_of_two_peers_with_one_thread_the_one_whose_adapter_asks(self) -> None:
        """The same id alive twice: the older is told, and is still itself."""
        older = peer("old", "codex", adapter=ADAPTER, sessions=["t1"], seen=1.0)
        newer = peer("new", "codex", adapter=ADAPTER2, sessions=["t1"], seen=2.0)
        assert Roster([older, newer]).join(claim("codex", adapter=ADAPTER, session="t1")) is older

    def test_an_adapter_without_a_thread_is_whose_it_was(self) -> None:
        first = peer("t1", "codex", adapter=ADAPTER, sessions=["t1"])
        assert Roster([first]).join(claim("codex", adapter=ADAPTER)) is first


class TestOther:
    """One process of an unknown kind may hold several sessions, each with an adapter of its own."""

    def test_a_second_adapter_beside_a_connected_one_is_another_peer(self) -> None:
        first = peer(kind="other", agent=AGENT, adapter=ADAPTER, connected=True)
        assert Roster([first]).join(claim("other", agent=AGENT, adapter=ADAPTER2)) is None

    def test_an_adapter_started_again_is_the_same_peer(self) -> None:
        first = peer(kind="other", agent=AGENT, adapter=ADAPTER, connected=False)
        assert Roster([first]).join(claim("other", agent=AGENT, adapter=ADAPTER2)) is first

    def test_the_same_adapter_is_the_same_peer(self) -> None:
        first = peer(kind="other", agent=AGENT, adapter=ADAPTER, connected=True)
        assert Roster([first]).join(claim("other", agent=AGENT, adapter=ADAPTER)) is first


def test_what_is_assumed_of_a_peer_and_a_claim() -> None:
    fresh = Peer("p_1", "bob", "claude")
    assert fresh.state is State.LIVE
    assert (fresh.named, fresh.one_shot, fresh.connected, fresh.recall_due) == (False, False, False, False)
    assert claim().source == "startup"
    assert not claim().one_shot


# --- The roster ----------------------------------------------------------------------------------------------------


def test_the_index() -> None:
    bob, ann = peer(), peer("ann")
    roster = Roster([bob])
    roster.add(ann)
    assert list(roster) == [bob, ann]
    assert len(roster) == 2
    assert roster.get("p_bob") is bob
    assert roster.get("p_no") is None
    assert roster.named("BOB") == [bob]
    assert roster.named("no") == []


def test_renaming_and_removing() -> None:
    bob, twin = peer(), Peer("p_twin", "Bob", "codex")
    roster = Roster([bob, twin])
    assert roster.named("bob") == [bob, twin]
    roster.rename(bob, "Robert")
    assert bob.name == "Robert"
    assert roster.named("robert") == [bob]
    assert roster.named("bob") == [twin]
    roster.remove(twin)
    assert roster.named("bob") == []
    assert list(roster) == [bob]
    roster.remove(bob)
    assert len(roster) == 0
    assert roster.named("robert") == []


def test_renaming_to_another_case() -> None:
    bob = peer()
    roster = Roster([bob])
    roster.rename(bob, "BOB")
    assert roster.named("bob") == [bob]


def test_who_holds_a_name() -> None:
    ended, bob = Peer("p_1", "bob", "claude", State.ENDED), Peer("p_2", "Bob", "claude", State.AWAY)
    roster = Roster([ended, bob])
    assert roster.claimant("bob") is bob
    assert roster.claimant("bob", but=bob) is None
    assert roster.claimant("ann") is None


def test_a_free_name() -> None:
    roster = Roster([peer("bob"), peer("bob-2"), peer("bob-4"), peer("old", state=State.ENDED)])
    assert roster.free_name("ann") == "ann"
    assert roster.free_name("bob") == "bob-3"
    assert roster.free_name("BOB") == "BOB-3"
    assert roster.free_name("old") == "old"


def test_a_free_name_is_a_name() -> None:
    long = "x" * NAME_CHARS_MAX
    roster = Roster([peer(long)])
    assert roster.free_name(long) == "x" * (NAME_CHARS_MAX - 5) + "-2"
    assert check_name(roster.free_name(long)) == roster.free_name(long)


@given(st.lists(st.sampled_from(["a", "A", "a-2", "x" * NAME_CHARS_MAX]), max_size=30))
def test_free_names_never_collide(wishes: list[str]) -> None:
    roster = Roster()
    for number, wish in enumerate(wishes):
        roster.add(Peer(f"p_{number}", roster.free_name(wish), "claude"))
    names = [one.name.casefold() for one in roster]
    assert len(set(names)) == len(wishes)
    assert all(len(name) <= NAME_CHARS_MAX for name in names)


# --- What peers are called -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["b", "Bob", "build-server", "a.b_c-d", "7", "x" * NAME_CHARS_MAX, "allie", "p-x"])
def test_names(name: str) -> None:
    assert check_name(name) == name
    assert check_name(f" {name}\n") == name


@pytest.mark.parametrize(
    "name",
    ["", " ", "-b", ".b", "_b", "a b", "a@b", "a:b", "a/b", "a\nb", "bôb", "b\u200bb", "x" * (NAME_CHARS_MAX + 1)],
)
def test_no_names(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_name(name)
    assert caught.value.message == f"{name.strip()[:40]!r} cannot be a name"
    assert caught.value.hint == ("use letters, digits, dots, dashes and underscores, at most 32, such as build-server")


@pytest.mark.parametrize("name", [*RESERVED_NAMES, "ALL", "Me", "p_7f3k9q2m", "P_x", "m_4t8x"])
def test_names_that_mean_something_else(name: str) -> None:
    with pytest.raises(BadInput) as caught:
        check_name(name)
    assert caught.value.message == f"{name!r} means something else in an address"
    assert check_name(name, "role") == name


def test_every_word_of_an_address_or_scope_is_reserved_and_who_sends_notices() -> None:
    assert {"all", "me", "repo", "role", "network", "machine", "directory", "coterie"} == RESERVED_NAMES


def test_a_long_name_is_cut_in_the_message() -> None:
    with pytest.raises(BadInput, match=f"^'{'x' * 40}' cannot be a name"):
        check_name("x" * 60)


def test_no_role() -> None:
    with pytest.raises(BadInput, match="'two words' cannot be a role"):
        check_name("two words", "role")


def test_summaries() -> None:
    assert check_summary("  fixing\n the\u2028parser \x1b[0m ") == "fixing the parser [U+001B][0m"
    assert check_summary("") == ""
    assert check_summary("x" * SUMMARY_CHARS_MAX) == "x" * SUMMARY_CHARS_MAX


def test_a_long_summary_is_refused_and_not_cut() -> None:
    with pytest.raises(BadInput) as caught:
        check_summary("x" * (SUMMARY_CHARS_MAX + 1))
    assert caught.value.message == "the summary has 301 characters; 300 are shown"
    assert caught.value.hint == "say it in two sentences"


@pytest.mark.parametrize(
    ("cwd", "name"),
    [
        ("/home/ann/parser", "parser-claude"),
        ("/home/ann/parser/", "parser-claude"),
        ("/home/ann/my project (2)", "my-project-2-claude"),
        ("/home/ann/.config", "config-claude"),
        ("/home/ann/проект", "claude"),
        ("/home/ann/" + "long" * 20, "longlonglonglonglo-claude"),
        ("/", "claude"),
        ("", "claude"),
        ("/srv/a\n[end of m_1]", "a-end-of-m_1-claude"),
    ],
)
def test_made_up_names(cwd: str, name: str) -> None:
    assert made_up_name("claude", cwd) == name
    assert check_name(name) == name


def test_a_made_up_name_that_would_be_none() -> None:
    assert made_up_name("k" * NAME_CHARS_MAX, "/srv/folder") == "k" * NAME_CHARS_MAX


# --- Scopes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scope", "repo", "names"),
    [
        ("machine", "/r/.git", ["same", "sub", "else", "none"]),
        ("network", "/r/.git", ["same", "sub", "else", "none"]),
        ("directory", "/r/.git", ["same"]),
        ("repo", "/r/.git", ["same", "sub"]),
        ("repo", "", ["same"]),
    ],
)
def test_scopes(scope: str, repo: str, names: list[str]) -> None:
    peers = [
        peer("same", cwd="/r", repo="/r/.git"),
        peer("sub", cwd="/r/sub", repo="/r/.git"),
        peer("else", cwd="/q", repo="/q/.git"),
        peer("none", cwd="/tmp", repo=""),
    ]
    assert [one.name for one in in_scope(iter(peers), scope, "/r", repo)] == names


def test_what_others_are_told_of_a_peer_leaves_out_what_is_not_to_be_shown() -> None:
    busy = peer(activity=Activity(prompt="fix it", files=["a.py"]), heard=900.0)
    assert summary_of(busy, 1000.0).text == "asked: fix it; files: a.py"
    assert summary_of(busy, 1000.0, prompts=False).text == "files: a.py"
    assert summary_of(busy, 1000.0, files=False).text == "asked: fix it"
    busy.summary, busy.summary_at = "its own word", 999.0
    assert summary_of(busy, 1000.0, prompts=False, files=False).text == "its own word"


# --- Peers of other devices -------------------------------------------------------------------------------------------

LAPTOP, TOWER = "L" * 56, "T" * 56


def remote(name: str = "bob", device: str = LAPTOP, label: str = "laptop", **more: object) -> Peer:
    there = f"p_{name}"
    return Peer(remote_id(device, there), name, "claude", device=device, there=there, label=label, **more)  # type: ignore[arg-type]


def test_no_device_can_name_a_peer_of_another() -> None:
    ids = {remote_id(device, there) for device in (LAPTOP, TOWER) for there in ("p_7f3k9q2m", "p_00000000")}
    assert len(ids) == 4
    assert all(len(name) == 14 and name.startswith("p_") for name in ids), "those of this device have 10 characters"
    assert remote_id(LAPTOP, "p_7f3k9q2m") == remote_id(LAPTOP, "p_7f3k9q2m")


def test_an_address_names_the_device_of_others() -> None:
    assert peer().address == "bob"
    assert remote().address == "bob@laptop"


def test_peers_of_other_devices_are_found_by_their_id_alone() -> None:
    here, there, away = peer(), remote(), remote("eve", TOWER, "tower")
    roster = Roster([here])
    roster.add_remote(there)
    roster.add_remote(away)
    assert list(roster) == [here]
    assert len(roster) == 1
    assert roster.named("bob") == [here]
    assert roster.claimant("eve") is None, "its name is free here"
    assert roster.get(there.id) is there
    assert roster.remotes() == [there, away]
    assert roster.remotes(TOWER) == [away]
    assert roster.addresses() == {here.id: "bob", there.id: "bob@laptop", away.id: "eve@tower"}
    roster.remove_remote(away)
    roster.remove_remote(away)
    assert roster.get(away.id) is None


def test_of_a_peer_of_another_device_its_own_word_is_told() -> None:
    told = remote(summary="mends the shop", activity=Activity(prompt="a secret"))
    assert summary_of(told, 1e9, prompts=False, files=False).text == "mends the shop"


def test_what_leaves_the_machine_names_no_path_outside() -> None:
    busy = peer(activity=Activity(prompt="Fix it", files=["/home/ann/secret", "login.py"]))
    assert summary_of(busy, 0.0, outside=False).text == "asked: Fix it; files: login.py"
    assert "secret" in summary_of(busy, 0.0).text
