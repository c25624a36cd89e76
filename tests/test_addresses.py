"""Whom an address means, and what whoever mistypes one is told."""

from __future__ import annotations

import pytest

from coterie.addresses import Recipients, describe, resolve, resolve_here, resolve_one
from coterie.errors import Ambiguous, BadInput, CoterieError, NoMatch, Refused
from coterie.peers import Peer, Roster, State, remote_id

ME = Peer("p_11111111", "me-myself", "claude", cwd="/r", repo="/r/.git", role="builder", seen=9.0)
BOB = Peer("p_7f3k9q2m", "bob", "codex", cwd="/r/sub", repo="/r/.git", role="Builder", seen=8.0)
ANN = Peer("p_7f3kaaaa", "ann", "claude", State.LOADED, cwd="/q", repo="/q/.git", role="builder", seen=7.0)
AWAY = Peer("p_55555555", "eve", "gemini", State.AWAY, cwd="/r", repo="/r/.git", role="builder", seen=6.0)
ENDED = Peer("p_66666666", "old", "claude", State.ENDED, cwd="/r", repo="/r/.git", role="builder", seen=5.0)
ROSTER = Roster([ME, BOB, ANN, AWAY, ENDED])

ME_LINE = "me-myself = p_11111111 (claude, live in /r)"
BOB_LINE = "bob = p_7f3k9q2m (codex, live in /r/sub)"
ANN_LINE = "ann = p_7f3kaaaa (claude, loaded in /q)"
AWAY_LINE = "eve = p_55555555 (gemini, away in /r)"


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("p_7f3k9q2m", BOB),
        ("P_7F3K9Q2M", BOB),
        ("p_7f3k9", BOB),
        ("7f3k9", BOB),
        ("7F3K9", BOB),
        ("7f3ka", ANN),
        ("5555", AWAY),
        ("bob", BOB),
        ("BOB", BOB),
        (" bob\n", BOB),
        ("eve", AWAY),
        ("old", ENDED),
        ("6666", ENDED),
        ("p_66666666", ENDED),
        ("p_11111111", ME),
        ("me-myself", ME),
        ("me", ME),
    ],
)
@pytest.mark.promise("G2")
def test_one_peer(address: str, peer: Peer) -> None:
    assert resolve(address, ROSTER, ME) == Recipients([peer], group=False)


@pytest.mark.parametrize(
    ("address", "peers"),
    [("all", [BOB]), ("repo", [BOB]), ("role:builder", [BOB, ANN]), ("role: BUILDER ", [BOB, ANN])],
)
@pytest.mark.promise("G2")
def test_several_peers(address: str, peers: list[Peer]) -> None:
    assert resolve(address, ROSTER, ME) == Recipients(peers, group=True)


def test_where_one_is_meant_a_group_is_refused_even_of_one() -> None:
    assert resolve_one("bob", ROSTER, ME) is BOB
    with pytest.raises(BadInput, match="'repo' may mean several peers"):
        resolve_one("repo", ROSTER, ME)
    with pytest.raises(NoMatch):
        resolve_one("nobody", ROSTER, ME)


def test_a_group_of_one_is_still_a_group() -> None:
    assert resolve("all", ROSTER, BOB) == Recipients([ME], group=True)


def test_repo_outside_a_repository_is_the_directory() -> None:
    here, there = Peer("p_1", "here", "claude", cwd="/tmp"), Peer("p_2", "there", "claude", cwd="/opt")
    sender = Peer("p_3", "sender", "claude", cwd="/tmp")
    assert resolve("repo", Roster([here, there, sender]), sender).peers == [here]


def test_a_caller_that_is_no_peer_may_name_one() -> None:
    assert resolve("bob", ROSTER, None) == Recipients([BOB], group=False)


def refusal(address: str, roster: Roster = ROSTER, sender: Peer | None = ME) -> CoterieError:
    with pytest.raises(BadInput) as caught:
        resolve(address, roster, sender)
    return caught.value


@pytest.mark.parametrize("address", ["", " ", "\n"])
def test_an_empty_address(address: str) -> None:
    error = refusal(address)
    assert type(error) is BadInput
    assert error.message == "the address is empty"
    assert error.hint == "list_peers shows who can be written to"


@pytest.mark.parametrize("address", ["me", "all", "repo", "role:builder"])
def test_a_group_needs_a_sender(address: str) -> None:
    error = refusal(address, sender=None)
    assert type(error) is BadInput
    assert error.message == f"{address!r} needs a sender that is a peer"
    assert error.hint == "name a peer"


@pytest.mark.parametrize("address", ["nobody", "p_", "p_7f3", "7f3", "p_9999", "9999", "bo", "bobb", "Me", "ALL", "*"])
def test_nobody(address: str) -> None:
    error = refusal(address)
    assert type(error) is NoMatch
    assert error.message == f"nobody here is called {address!r}"
    assert error.hint == f"here: {ME_LINE}; {BOB_LINE}; {ANN_LINE}; {AWAY_LINE}"


def test_a_long_address_is_cut_in_the_message() -> None:
    assert refusal("x" * 100).message == f"nobody here is called {'x' * 60!r}"
    assert refusal("x@" + "y" * 100).message == f"no paired device is called {'y' * 40!r}"


@pytest.mark.parametrize(
    ("address", "device"), [("bob@laptop", "laptop"), ("@laptop", "laptop"), ("bob@", ""), ("a@b@c", "b@c")]
)
def test_another_device(address: str, device: str) -> None:
    error = refusal(address)
    assert type(error) is NoMatch
    assert error.message == f"no paired device is called {device!r}"
    assert error.hint == f"none is paired; on this one: {ME_LINE}; {BOB_LINE}; {ANN_LINE}; {AWAY_LINE}"


# --- other devices -------------------------------------------------------------------------------------------------

LAPTOP, TOWER, BARE = "L" * 56, "T" * 56, "B" * 56


def remote(there: str, name: str, state: State = State.LIVE, *, device: str = LAPTOP, role: str = "") -> Peer:
    label = {LAPTOP: "laptop", TOWER: "Tower"}[device]
    peer = Peer(remote_id(device, there), name, "claude", state, role=role, device=device, there=there, label=label)
    peer.seen = 1.0
    return peer


API = remote("p_aaaaaaaa", "api", role="builder")
THEIR_BOB = remote("p_bbbbbbbb", "Bob", role="Builder")
ASLEEP = remote("p_cccccccc", "eve", State.AWAY, role="builder")
THEIR_OLD = remote("p_dddddddd", "api", State.ENDED, role="builder")
TWIN, OTHER_TWIN = (remote(there, "twin", device=TOWER) for there in ("p_eeeeeeee", "p_ffffffff"))
OVER = remote("p_00000000", "over", State.ENDED, device=TOWER)
NETWORK = Roster([ME, BOB, ANN, AWAY, ENDED])
for _peer in (API, THEIR_BOB, ASLEEP, THEIR_OLD, TWIN, OTHER_TWIN, OVER):
    NETWORK.add_remote(_peer)
NETWORK.labels = {LAPTOP: "laptop", TOWER: "Tower", BARE: "bare"}


def across(address: str) -> CoterieError:
    with pytest.raises(CoterieError) as caught:
        resolve(address, NETWORK, ME)
    return caught.value


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("api@laptop", API),
        ("API@Laptop", API),
        (f"api@{LAPTOP}", API),
        (f"api@{'-'.join(['llllllL'] * 8)}", API),
        ("bob@laptop", THEIR_BOB),
        ("eve@laptop", ASLEEP),
        ("over@tower", OVER),
        ("p_aaaaaaaa@laptop", API),
        (f"{API.id}@laptop", API),
        (API.id, API),
        (TWIN.id, TWIN),
    ],
)
def test_one_peer_of_another_device(address: str, peer: Peer) -> None:
    assert resolve(address, NETWORK, ME) == Recipients([peer], group=False)


def test_a_bare_name_means_this_device_only() -> None:
    assert resolve("bob", NETWORK, ME).peers == [BOB]
    assert resolve("role:builder", NETWORK, ME).peers == [BOB, ANN]
    assert resolve("all", NETWORK, ME).peers == [BOB]
    assert resolve("repo", NETWORK, ME).peers == [BOB]
    error = across("api")
    assert type(error) is NoMatch
    assert error.message == "nobody here is called 'api'"
    assert error.hint.startswith("on other devices: api@laptop; here: ")
    assert "on other devices" not in across("over").hint, "one that has ended is no candidate"
    assert "on other devices: twin@Tower, twin@Tower; " in across("twin").hint
    assert across("aaaa").message == "nobody here is called 'aaaa'", "nor does the beginning of an id"
    assert across(API.id[:8]).message == f"nobody here is called '{API.id[:8]}'"


def test_a_role_on_another_device() -> None:
    assert resolve("role:builder@laptop", NETWORK, ME) == Recipients([API, THEIR_BOB], group=True)
    error = across("role:tester@laptop")
    assert type(error) is NoMatch
    assert error.message == "nobody with that role is known to be on laptop now"
    assert error.hint.startswith("on laptop: api@laptop = ")
    assert type(across("role:@laptop")) is NoMatch


@pytest.mark.parametrize("group", ["all", "repo", "me"])
def test_nobody_writes_to_all_of_another_device(group: str) -> None:
    error = across(f"{group}@laptop")
    assert type(error) is BadInput
    assert error.message == f"{group!r} means peers of one's own device only"


def test_nobody_there() -> None:
    error = across("nobody@laptop")
    assert type(error) is NoMatch
    assert error.message == "nobody on laptop is known to be called 'nobody'"
    assert f"api@laptop = {API.id} (claude, live)" in error.hint
    assert "ended" not in error.hint
    assert across("api@bare").hint == "bare has shown no session so far"
    error = across("api@desk")
    assert error.message == "no paired device is called 'desk'"
    assert error.hint == "paired are: Tower, bare, laptop"


def test_two_of_one_name_there() -> None:
    error = across("twin@tower")
    assert type(error) is Ambiguous
    assert error.message == "'twin' means 2 peers of Tower"
    assert TWIN.id in error.hint
    assert OTHER_TWIN.id in error.hint


def test_what_is_done_here_only_is_refused_for_others() -> None:
    assert resolve_here("bob", NETWORK, ME) is BOB
    with pytest.raises(Refused) as caught:
        resolve_here("api@laptop", NETWORK, ME)
    assert caught.value.message == f"api@laptop = {API.id} (claude, live) is a session of another device"
    assert caught.value.hint == "do it on laptop"


@pytest.mark.parametrize(
    ("address", "here"),
    [("role:tester", f"{BOB_LINE}; {ANN_LINE}"), ("role:", f"{BOB_LINE}; {ANN_LINE}")],
)
def test_a_role_that_nobody_holds(address: str, here: str) -> None:
    error = refusal(address)
    assert type(error) is NoMatch
    assert error.message == f"{address!r} reaches nobody now"
    assert error.hint == f"here: {here}"


def test_no_role_is_not_a_role_that_many_hold() -> None:
    assert refusal("role:", Roster([ME, Peer("p_2", "plain", "claude")])).message == "'role:' reaches nobody now"


@pytest.mark.parametrize("address", ["all", "repo"])
def test_a_group_of_nobody(address: str) -> None:
    error = refusal(address, Roster([ME, ENDED]))
    assert type(error) is NoMatch
    assert error.message == f"{address!r} reaches nobody now"
    assert error.hint == "here: nobody else is here"


def test_all_passes_over_a_thread_that_may_have_no_window() -> None:
    assert refusal("all", Roster([ME, ANN])).hint == f"here: {ANN_LINE}"


@pytest.mark.parametrize("address", ["7f3k", "p_7f3k", "P_7F3K"])
def test_several_ids_begin_so(address: str) -> None:
    error = refusal(address)
    assert type(error) is Ambiguous
    assert error.message == f"{address!r} means 2 peers"
    assert error.hint == f"use an id: {BOB_LINE}; {ANN_LINE}"


def test_several_peers_of_one_name() -> None:
    """Names are kept apart when they are given; this is what remains if two ended peers had the same."""
    twins = Roster([Peer("p_1", "bob", "codex", State.ENDED), Peer("p_2", "bob", "codex", State.ENDED, seen=1.0)])
    error = refusal("bob", twins)
    assert type(error) is Ambiguous
    assert error.message == "'bob' means 2 peers"
    assert error.hint == "use an id: bob = p_2 (codex, ended); bob = p_1 (codex, ended)"


def test_who_is_here_counts_for_more_than_who_ended() -> None:
    gone = Peer("p_7f3kbbbb", "bob", "claude", State.ENDED)
    roster = Roster([gone, BOB])
    assert resolve("bob", roster, None).peers == [BOB]
    assert resolve("7f3k", roster, None).peers == [BOB]
    assert resolve("7f3kb", roster, None).peers == [gone]


def test_an_id_counts_for_more_than_a_name_and_a_name_for_more_than_a_beginning() -> None:
    named = Peer("p_22222222", "7f3k", "claude")
    assert resolve("7f3k", Roster([BOB, named]), None).peers == [named]
    impostor = Peer("p_33333333", BOB.id, "claude")
    assert resolve(BOB.id, Roster([impostor, BOB]), None).peers == [BOB]


def test_candidates_are_counted_beyond_eight() -> None:
    crowd = [Peer(f"p_{number:08}", f"n{number}", "claude", seen=float(number)) for number in range(11)]
    lines = "; ".join(f"n{number} = p_{number:08} (claude, live)" for number in range(10, 2, -1))
    assert refusal("x", Roster(crowd)).hint == f"here: {lines}; and 3 more"
    assert refusal("x", Roster(crowd[:8])).hint.endswith("n0 = p_00000000 (claude, live)")


def test_candidates_that_can_be_had_come_first() -> None:
    away = Peer("p_44444444", "away", "claude", State.AWAY, seen=100.0)
    assert refusal("x", Roster([away, ANN, BOB])).hint == (
        f"here: {BOB_LINE}; {ANN_LINE}; away = p_44444444 (claude, away)"
    )


def test_a_description() -> None:
    assert describe(BOB) == BOB_LINE
    assert describe(Peer("p_1", "x", "person")) == "x = p_1 (person, live)"
    hostile = Peer("p_1", "x", "claude", cwd="/tmp/\x1b[2J\n" + "long" * 30)
    assert describe(hostile) == f"x = p_1 (claude, live in /tmp/[U+001B][2J {'long' * 30:.42}…)"
