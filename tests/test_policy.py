"""Who may do what."""

from __future__ import annotations

import pytest

from coterie.errors import HumanOnly, Refused
from coterie.policy import HUMAN_METHODS, KillScope, check_human, check_kill


@pytest.mark.parametrize(
    ("method", "line"),
    [
        ("daemon.down", "coterie down"),
        ("daemon.up", "coterie up"),
        ("init", "coterie init"),
        ("backups.make", "coterie backup"),
        ("backups.restore", "coterie restore FILE"),
        ("config.set", "coterie config set KEY VALUE"),
        ("config.unset", "coterie config unset KEY"),
        ("peers.rename_other", "coterie name NEW --peer PEER"),
        ("peers.allow_kill", "coterie kill --allow-agents repo"),
    ],
)
def test_what_only_a_person_may_do(method: str, line: str) -> None:
    check_human(method, is_human=True)
    with pytest.raises(HumanOnly) as caught:
        check_human(method, is_human=False)
    assert caught.value.message == "only a person may do this"
    assert caught.value.hint == f"ask the person to type: {line}"


def test_the_table_holds_nothing_else() -> None:
    assert set(HUMAN_METHODS) == {
        *("daemon.down", "daemon.up", "init", "peers.rename_other", "peers.allow_kill"),
        *("backups.make", "backups.restore"),
        *("config.set", "config.unset"),
        *("relay.invite", "relay.join", "relay.accept", "relay.serve", "relay.connect", "relay.disconnect"),
        *("relay.forget", "relay.rename", "relay.grant", "relay.revoke", "relay.approve", "relay.refuse"),
        *("relay.preview", "relay.requests", "relay.discover"),
    }


@pytest.mark.parametrize("method", ["messages.send", "daemon.status", "", "daemon.downs"])
def test_the_rest_is_everybodys(method: str) -> None:
    check_human(method, is_human=False)
    check_human(method, is_human=True)


@pytest.mark.parametrize("scope", KillScope)
def test_a_person_may_end_any_session(scope: KillScope) -> None:
    check_kill(scope, is_human=True, same_repo=False)


@pytest.mark.parametrize(
    ("scope", "same_repo", "why"),
    [
        (KillScope.NOBODY, True, "agents may not end sessions here"),
        (KillScope.NOBODY, False, "agents may not end sessions here"),
        (KillScope.REPO, False, "another repository"),
        (KillScope.REPO, True, ""),
        (KillScope.MACHINE, True, ""),
        (KillScope.MACHINE, False, ""),
    ],
)
def test_an_agent_may_end_what_the_person_allowed(scope: KillScope, same_repo: bool, why: str) -> None:
    if not why:
        check_kill(scope, is_human=False, same_repo=same_repo)
        return
    with pytest.raises(Refused, match=why) as caught:
        check_kill(scope, is_human=False, same_repo=same_repo)
    assert "coterie kill --allow-agents" in caught.value.hint
