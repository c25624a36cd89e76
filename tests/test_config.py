"""The keys, what a file may say of them, and what holds then."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.config import (
    DEFAULTS,
    KEYS,
    TABLES,
    Key,
    Origin,
    Said,
    Source,
    flat,
    key_named,
    said,
    settings,
    stricter,
    unknown,
    value_of,
)
from coterie.errors import BadConfig, BadInput
from coterie.guards import Limits

values = st.one_of(st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.none(), st.lists(st.integers()))


def of_file(lines: dict[str, int] | None = None, **tables: dict[str, Any]) -> Said:
    return said(tables, "/etc/c.toml", lines or {})


# --- the keys -----------------------------------------------------------------------------------------------------


def test_every_limit_of_the_guards_is_a_key_and_nothing_else_is() -> None:
    limits = {name.removeprefix("guards.") for name in KEYS if name.startswith("guards.")}
    assert limits == {limit.name for limit in fields(Limits)}
    assert DEFAULTS.limits == Limits()


def test_a_repository_may_set_what_guards_and_what_is_shown() -> None:
    assert {name for name, key in KEYS.items() if key.stricter} == {
        *(name for name in KEYS if name.startswith(("guards.", "summary.")))
    }
    assert {"guards", "summary", "mail"} <= TABLES


@pytest.mark.parametrize("key", KEYS.values(), ids=lambda key: key.name)
def test_a_key_has_a_default_in_its_range_and_a_meaning_of_a_line(key: Key) -> None:
    assert key.takes(key.default)
    assert key.meaning.endswith(".")
    assert len(key.meaning) <= 115
    if isinstance(key.default, (str, tuple)):
        assert key.text.wanted
    else:
        assert type(key.low) is type(key.high) is type(key.default)


@pytest.mark.parametrize(
    ("name", "takes", "does_not", "wanted"),
    [
        ("guards.hops", [0, 3, 100], [-1, 101, 1.0, True, "3", None, [3]], "a whole number from 0 to 100"),
        ("mail.life_days", [0.01, 1, 30.0], [0, 31, float("nan"), float("inf"), True, "1"], "a number from 0.01 to 30"),
        ("notify.desktop", [True, False], [0, 1, "true", None], "true or false"),
        ("guards.mailbox_bytes", [15_360], [15_359], "a whole number from 15360 to 268435456"),
        (
            "relay.name",
            ["", "laptop", "a.b_c-1", "x" * 40],
            ["x" * 41, "my laptop", "a@b", "é", 3, None, ["laptop"], "a\n"],
            "letters, digits and . _ -, at most 40",
        ),
        (
            "relay.listen_addr",
            ["0.0.0.0", "::", "192.0.2.7", "fe80::1%eth0", "box.lan"],
            ["", "a b", "[::]", "10.0.0.1/8", True, ("::",)],
            "an IPv4 or IPv6 address or a name of this machine",
        ),
        (
            "relay.auto_connect",
            [[], ["box:9847"], ["[::1]:9847", "box.lan"], ("a:1",)],
            ["box:9847", ["a b"], ["box:9847", "box:9847"], [3], [["a"]], ["x"] * 33, ["a:1/x"], None],
            "a list of host:port",
        ),
        (
            "relay.share",
            [[], ["name"], ["state", "role"]],
            ["name", ["cwd"], ["name", "name"], [True], {"name": 1}],
            "a list of any of name, role, agent, repo, summary, state",
        ),
    ],
)
def test_a_key_takes_what_it_says(name: str, takes: list[Any], does_not: list[Any], wanted: str) -> None:
    assert [value for value in takes if not KEYS[name].takes(value)] == []
    assert [value for value in does_not if KEYS[name].takes(value)] == []
    assert KEYS[name].wanted == wanted


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("guards.pair_brust", "guards.pair_brust is no key; did you mean guards.pair_burst?"),
        ("pair_burst", "pair_burst is no key; did you mean guards.pair_burst?"),
        ("guards", "guards is a table of keys, not a key"),
        ("zzz", "zzz is no key"),
        ("a\x1b[31mb", "a[U+001B][31mb is no key"),
    ],
)
def test_what_is_no_key_is_said_with_the_nearest(name: str, says: str) -> None:
    assert unknown(name) == says
    with pytest.raises(BadInput) as caught:
        key_named(name)
    assert str(caught.value) == f"{says}\ncoterie config lists every key"


def test_a_key_is_found_by_its_name() -> None:
    assert key_named("guards.hops").default == 3


# --- what somebody types --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("guards.hops", "2", 2),
        ("mail.life_days", "2", 2),
        ("mail.life_days", "0.5", 0.5),
        ("notify.desktop", "TRUE", True),
        ("notify.desktop", "false", False),
        ("relay.name", " laptop ", "laptop"),
        ("relay.name", "", ""),
        ("relay.auto_connect", "box:9847, [::1]:1", ("box:9847", "[::1]:1")),
        ("relay.share", "", ()),
    ],
)
def test_a_value_is_understood_as_its_key_wants_it(name: str, text: str, value: object) -> None:
    found = value_of(KEYS[name], text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text"),
    [("guards.hops", "2.0"), ("guards.hops", "many"), ("notify.desktop", "1"), ("history.days", "nan")],
)
def test_another_value_is_refused_with_what_it_may_be(name: str, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        value_of(KEYS[name], text)
    assert str(caught.value) == f"{name} cannot be {text}\nit must be {KEYS[name].wanted}"


# --- what a file says -----------------------------------------------------------------------------------------------


def test_what_the_person_says_goes_over_the_defaults() -> None:
    found = settings(of_file({"guards.hops": 7}, guards={"hops": 1}, mail={"wake_idle": False, "life_days": 2}))
    assert found.limits == Limits(hops=1)
    assert (found.number("mail.life_days"), found.on("mail.wake_idle"), found.on("summary.files")) == (2.0, False, True)
    assert found.origins["guards.hops"] == Origin(Source.FILE, "/etc/c.toml", 7)
    assert found.origins["mail.life_days"] == Origin(Source.FILE, "/etc/c.toml", 0)
    assert found.origins["guards.thread"] == Origin()
    assert settings(None) is DEFAULTS


def test_names_that_are_dotted_and_tables_that_are_empty_say_what_they_say() -> None:
    assert list(flat({"guards": {"hops": 1}, "mail": {}, "other": {}})) == [("guards.hops", 1), ("other", {})]
    assert of_file(guards={}).values == {}


@pytest.mark.parametrize(
    ("data", "says", "hint"),
    [
        (
            {"guards": {"pair_brust": 1}},
            "guards.pair_brust is no key; did you mean guards.pair_burst?",
            "unset guards.p",
        ),
        ({"guards": 5}, "guards is a table of keys, not a key", "take it out"),
        ({"guards": {"hops": {"x": 1}}}, "guards.hops.x is no key; did you mean guards.hops?", "mend it there"),
        ({"other": {}}, "other is no key", "take it out"),
        ({"guards": {"hops": "3"}}, "guards.hops is '3'", "it must be a whole number from 0 to 100"),
        ({"guards": {"hops": True}}, "guards.hops is True", "it must be a whole number"),
        ({"notify": {"desktop": 1}}, "notify.desktop is 1", "it must be true or false"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(data: dict[str, Any], says: str, hint: str) -> None:
    with pytest.raises(BadConfig) as caught:
        said(data, "/etc/c.toml", {})
    assert caught.value.message == f"/etc/c.toml: {says}"
    assert hint in caught.value.hint


def test_where_the_line_is_known_it_is_named() -> None:
    with pytest.raises(BadConfig, match=r"/etc/c\.toml, line 4: guards\.hops is -1"):
        of_file({"guards.hops": 4}, guards={"hops": -1})


# --- what a repository's file may do ----------------------------------------------------------------------------------


def in_repository(**tables: dict[str, Any]) -> Said:
    return said(tables, "/r/.coterie.toml", {"guards.hops": 2}, repository=True)


def test_a_repository_makes_stricter_and_never_looser() -> None:
    base = settings(of_file(guards={"hops": 2, "thread": 10}, summary={"files": False}))
    found = stricter(base, in_repository(guards={"hops": 1, "thread": 50}, summary={"files": True, "prompts": False}))
    assert found.limits == Limits(hops=1, thread=10)
    assert (found.on("summary.files"), found.on("summary.prompts")) == (False, False)
    assert found.origins["guards.hops"] == Origin(Source.REPOSITORY, "/r/.coterie.toml", 2)
    assert found.origins["guards.thread"].source is Source.FILE


def test_a_repository_that_says_nothing_stricter_changes_nothing() -> None:
    assert stricter(DEFAULTS, None) is DEFAULTS
    assert stricter(DEFAULTS, in_repository(guards={"hops": 50}, summary={"files": True})) is DEFAULTS


@pytest.mark.parametrize("name", [name for name, key in KEYS.items() if not key.stricter])
def test_the_rest_is_not_for_a_repository(name: str) -> None:
    table, _, key = name.partition(".")
    with pytest.raises(BadConfig) as caught:
        in_repository(**{table: {key: KEYS[name].default}})
    assert caught.value.message == f"/r/.coterie.toml: {name} is not for a repository to set"


def test_of_a_repositorys_mistake_no_command_is_named() -> None:
    with pytest.raises(BadConfig) as caught:
        in_repository(guards={"hopps": 1})
    assert caught.value.hint == "mend it there, or take it out"


@given(st.dictionaries(st.sampled_from(sorted(KEYS)), values), st.dictionaries(st.sampled_from(sorted(KEYS)), values))
def test_whatever_a_repository_says_nothing_is_allowed_that_was_not(
    mine: dict[str, Any], theirs: dict[str, Any]
) -> None:
    base = settings(Said("/mine", {name: value for name, value in mine.items() if KEYS[name].takes(value)}, {}))
    try:
        found = stricter(base, said(theirs, "/theirs", {}, repository=True))
    except BadConfig:
        return
    assert all(found.values[name] <= base.values[name] for name in KEYS)
    assert all(KEYS[name].takes(found.values[name]) for name in KEYS)


def test_of_a_list_it_is_said_how_it_is_typed() -> None:
    with pytest.raises(BadInput) as caught:
        value_of(KEYS["relay.share"], "name cwd")
    assert caught.value.message == "relay.share cannot be name cwd"
    assert caught.value.hint.endswith("repo, summary, state, with commas between them")
    with pytest.raises(BadInput, match=r"relay\.name cannot be my laptop"):
        value_of(KEYS["relay.name"], "my laptop")


def test_texts_and_lists_hold_what_was_said() -> None:
    found = settings(of_file(relay={"name": "laptop", "share": ["name"]}))
    assert (found.text("relay.name"), found.texts("relay.share")) == ("laptop", ("name",))
    assert found.texts("relay.auto_connect") == ()
