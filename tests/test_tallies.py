"""Counts with what is under way: kept, forgotten, and begun anew at a person's word."""

from __future__ import annotations

from collections import Counter

from coterie.tallies import Tally


def test_the_store_is_asked_once_and_again_only_for_what_was_forgotten() -> None:
    asked: Counter[str] = Counter()

    def load(key: str) -> int:
        asked[key] += 1
        return 7

    tally: Tally[str] = Tally(load, keep=2)
    tally.begin("a")
    assert [tally.count("a"), tally.count("a"), asked["a"]] == [8, 8, 1]
    tally.count("b")
    tally.count("c")  # "a" is the oldest, and is kept, as what is under way is not in the store yet.
    assert (tally.count("a"), asked["a"]) == (8, 1)
    tally.done("a", stored=True)
    tally.count("d")
    assert (tally.count("a"), asked["a"]) == (7, 2)
    tally.restart("never asked for")
    assert "never asked for" not in asked
    assert len(tally) <= 4


def test_what_failed_no_longer_counts_and_a_word_leaves_what_is_under_way() -> None:
    tally: Tally[str] = Tally(lambda _: 3)
    for key in ("a", "b"):
        tally.begin(key)
        tally.begin(key)
    assert tally.count("a") == 5
    tally.done("a", stored=False)
    assert tally.count("a") == 4
    tally.reset(lambda key: key == "a")
    assert (tally.count("a"), tally.count("b")) == (1, 5)
    tally.done("a", stored=True)
    tally.restart("a")
    assert tally.count("a") == 0
    tally.restart("b")
    tally.done("b", stored=False)
    assert tally.count("b") == 1


def test_what_the_store_has_from_elsewhere_counts_where_a_count_is_held() -> None:
    tally: Tally[str] = Tally(lambda _: 3)
    tally.add("a")
    assert tally.count("a") == 3, "the store knows of it already"
    tally.add("a")
    assert tally.count("a") == 4
