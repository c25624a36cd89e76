"""What a session does, as its hooks tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.activity import FILE_CHARS, Activity, Summary, summary
from coterie.limits import ACTIVITY_FILES_MAX, OWN_SUMMARY_S, PROMPT_LINE_CHARS, SUMMARY_CHARS_MAX


def busy() -> Activity:
    activity = Activity("main")
    activity.asked("Fix the login")
    activity.touched(["/repo/src/login.py", "/etc/hosts"], "/repo")
    return activity


def test_it_says_where_what_and_which_files() -> None:
    assert busy().line() == "on main; asked: Fix the login; files: /etc/hosts, src/login.py"


def test_on_no_branch_it_says_the_rest() -> None:
    activity = Activity()
    assert activity.asked("Fix the login")
    assert activity.line() == "asked: Fix the login"


def test_a_branch_alone_says_nothing_of_what_is_done() -> None:
    assert Activity("main").line() == ""


def test_paths_that_do_not_begin_in_its_folder_can_be_left_out() -> None:
    assert busy().line(outside=False) == "on main; asked: Fix the login; files: src/login.py"
    activity = Activity()
    activity.touched(["/home/ann/secret", "/" + "deep/" * 40 + "name.py"], "/work")
    assert activity.line(outside=False) == ""
    assert "secret" in activity.line()


def test_a_new_prompt_begins_with_no_files() -> None:
    activity = busy()
    assert not activity.asked("Fix the login"), "nothing new"
    assert activity.files
    assert not activity.asked("")
    assert activity.files
    assert activity.asked("Now the tests")
    assert activity.line() == "on main; asked: Now the tests"


def test_the_newest_files_are_kept_each_once() -> None:
    activity = Activity()
    for number in range(ACTIVITY_FILES_MAX + 2):
        assert activity.touched([f"/r/{number}"], "/r")
    assert activity.files == ["6", "5", "4", "3", "2"]
    assert not activity.touched(["/r/3"], "/r")
    assert activity.files == ["3", "6", "5", "4", "2"]


def test_a_long_path_shows_its_end() -> None:
    activity = Activity()
    activity.touched(["/deep" * 50 + "/name.py"], "/")
    assert activity.files[0].startswith("…")
    assert activity.files[0].endswith("/name.py")
    assert len(activity.files[0]) == FILE_CHARS


@given(prompt=st.text(), paths=st.lists(st.text(min_size=1)), cwd=st.text())
def test_whatever_it_is_told_it_stays_one_short_line(prompt: str, paths: list[str], cwd: str) -> None:
    activity = Activity("branch")
    activity.asked(prompt)
    activity.touched(paths, cwd)
    assert len(activity.prompt) <= PROMPT_LINE_CHARS
    assert len(activity.files) <= ACTIVITY_FILES_MAX
    assert all(len(path) <= FILE_CHARS and "\n" not in path for path in activity.files)
    assert len(activity.line()) <= SUMMARY_CHARS_MAX
    assert "\n" not in activity.line()


@pytest.mark.parametrize(
    ("own", "own_at", "activity", "shown"),
    [
        ("mine", 1000.0 - OWN_SUMMARY_S + 1, busy(), Summary("mine", 1000.0 - OWN_SUMMARY_S + 1)),
        ("mine", 1000.0 - OWN_SUMMARY_S, busy(), Summary(busy().line(), 900.0, own=False)),
        ("mine", 1001.0, busy(), Summary(busy().line(), 900.0, own=False)),
        ("mine", None, busy(), Summary(busy().line(), 900.0, own=False)),
        ("mine", 0.0, Activity(), Summary("mine", 0.0)),
        ("", None, busy(), Summary(busy().line(), 900.0, own=False)),
        ("", 999.0, busy(), Summary(busy().line(), 900.0, own=False)),
        ("", None, Activity(), Summary("")),
    ],
    ids=[
        "fresh",
        "an hour old",
        "of tomorrow",
        "of unknown age",
        "old and alone",
        "hooks alone",
        "taken back",
        "nothing",
    ],
)
@pytest.mark.promise("R7")
def test_its_own_word_wins_while_it_is_fresh(
    own: str, own_at: float | None, activity: Activity, shown: Summary
) -> None:
    assert summary(own, own_at, activity.line(), 900.0, 1000.0) == shown


@pytest.mark.parametrize(
    ("shown", "line"),
    [
        ({}, "on main; asked: fix it; files: a.py"),
        ({"prompts": False}, "on main; files: a.py"),
        ({"files": False}, "on main; asked: fix it"),
        ({"prompts": False, "files": False}, ""),
    ],
)
def test_what_is_not_to_be_shown_is_left_out(shown: dict[str, bool], line: str) -> None:
    assert Activity(branch="main", prompt="fix it", files=["a.py"]).line(**shown) == line
