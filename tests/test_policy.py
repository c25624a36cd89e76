"""Who may do what."""

from __future__ import annotations

import pytest

from coterie.errors import HumanOnly
from coterie.policy import HUMAN_METHODS, check_human


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("daemon.down", "coterie down"),
        ("daemon.up", "coterie up"),
        ("peers.rename_other", "coterie name NEW --peer PEER"),
    ],
)
def test_what_only_a_person_may_do(method: str, line: str) -> None:
    check_human(method, is_human=True)
    with pytest.raises(HumanOnly) as caught:
        check_human(method, is_human=False)
    assert caught.value.message == "only a person may do this"
    assert caught.value.hint == f"ask the person to type: {line}"


def test_the_table_holds_nothing_else() -> None:
    assert set(HUMAN_METHODS) == {"daemon.down", "daemon.up", "peers.rename_other"}


@pytest.mark.parametrize("method", ["messages.send", "daemon.status", "", "daemon.downs"])
def test_the_rest_is_everybodys(method: str) -> None:
    check_human(method, is_human=False)
    check_human(method, is_human=True)
