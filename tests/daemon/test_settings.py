"""Every key, set in a file and seen in what a real daemon does; and whose file may say what."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cli.conftest import Peer
from conftest import Place, running, wait_for
from coterie.config import KEYS
from coterie.errors import Limited
from coterie.limits import DAY_S, MIB
from coterie.testing.agent import Agent

ALERT = """
import coterie.daemon.settings as settings
settings.CONFIG_LOOK_S = settings.REPOSITORY_LOOK_S = 0.0
"""
"""A daemon that looks at its files whenever somebody needs a setting."""
TEXT = "x" * 10_000


def configure(place: Place, **values: Any) -> None:
    """Write the person's file: guards_hops=1 is guards.hops = 1."""
    said = [f"{name.replace('_', '.', 1)} = {str(value).lower()}\n" for name, value in values.items()]
    path = Path(place.home.config)
    path.touch(0o600)
    path.write_text("".join(said))


def repository(place: Place, text: str, name: str = "repo") -> str:
    folder = place.root / name
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    (folder / ".coterie.toml").write_text(text)
    return str(folder)


def status(place: Place) -> Any:
    return place.connect("cli", start=False).call("daemon.status")


# --- the guards -------------------------------------------------------------------------------------------------------

# Each writes what the defaults let pass and the limit of the second row does not.


def some(a: Peer, b: Peer, c: Peer) -> None:
    for number in range(4):
        a.send(f"part {number}", to=b.card["id"])


def twice(a: Peer, b: Peer, c: Peer) -> None:
    for _ in range(2):
        a.send("the same", to=b.card["id"])


def back_and_forth(a: Peer, b: Peer, c: Peer) -> None:
    first = a.send("a question", to=b.card["id"])
    second = b.send("an answer", reply_to=first)
    a.send("thanks", reply_to=second)


def passed_on(a: Peer, b: Peer, c: Peer) -> None:
    text = f"pass this on, {a.card['id']}"
    a.send(text, to=b.card["id"])
    b.read(text)
    b.send(f"{text}, says {b.card['id']}", to=c.card["id"])


def to_two(a: Peer, b: Peer, c: Peer) -> None:
    a.send("to all of you", to="all")


def long_ones(a: Peer, b: Peer, c: Peer) -> None:
    for number in range(2):
        a.send(f"{number} {TEXT}", to=b.card["id"])


@pytest.mark.parametrize(
    ("key", "value", "limit", "scenario"),
    [
        ("pair_burst", 2, "pair-rate", some),
        ("repeats", 1, "repeats", twice),
        ("thread", 1, "thread", back_and_forth),
        ("exchange", 1, "exchange", back_and_forth),
        ("hops", 0, "hops", passed_on),
        ("fan_out", 1, "fan-out", to_two),
        ("mailbox_messages", 1, "mailbox", some),
        ("mailbox_bytes", 15_360, "mailbox", long_ones),
    ],
)
def test_a_guard_goes_by_its_key_from_the_moment_it_is_set(
    place: Place, key: str, value: int, limit: str, scenario: Callable[[Peer, Peer, Peer], None]
) -> None:
    place.start(patch=ALERT)
    scenario(Peer(place, "a"), Peer(place, "b"), Peer(place, "c"))
    configure(place, **{f"guards_{key}": value})
    others = [Peer(place, name) for name in ("d", "e", "f")]
    with pytest.raises(Limited) as caught:
        scenario(*others)
    assert caught.value.limit == limit


@pytest.mark.parametrize(("rate", "low", "high"), [(1, 50, 60), (600, 0, 0.11)])
def test_a_spent_burst_comes_back_at_the_rate_that_is_set(place: Place, rate: int, low: float, high: float) -> None:
    configure(place, guards_pair_burst=1, guards_pair_per_minute=rate)
    place.start()
    a, b = Peer(place, "a"), Peer(place, "b")

    def spend() -> float | None:
        try:
            a.send(f"at {time.monotonic_ns()}", to=b.card["id"])
        except Limited as error:
            return error.retry_s
        return None

    found: list[float] = []
    wait_for(lambda: found.extend(s for s in [spend()] if s is not None) or found, "it is refused")
    assert low <= found[0] <= high


def test_every_key_of_the_guards_is_tried_here() -> None:
    source = Path(__file__).read_text("utf-8")
    tried = set(re.findall(r'\("(\w+)", \d[\d_]*, "', source)) | {"pair_per_minute"}
    assert {f"guards.{key}" for key in tried} == {name for name in KEYS if name.startswith("guards.")}


# --- mail, history, the daemon ----------------------------------------------------------------------------------------


def test_a_message_lives_as_long_as_is_set(place: Place) -> None:
    configure(place, mail_life_days=0.5)
    place.start()
    a, b = Peer(place, "a"), Peer(place, "b")
    usual = a.send("for half a day", to=b.card["id"])
    own = a.send("for a minute", to=b.card["id"], life_s=60)  # type: ignore[arg-type]
    lives = dict(place.rows("SELECT id, expires_at - accepted_at FROM messages"))
    assert lives[usual] == pytest.approx(0.5 * DAY_S)
    assert lives[own] == pytest.approx(60)


def lines(agent: Agent, text: str) -> list[str]:
    return [line for _, line in agent.inbox if text in line]


def test_idle_sessions_are_left_alone_if_so_set(place: Place) -> None:
    configure(place, mail_wake_idle=False)
    place.start()
    web, api = place.named("web"), place.named("api")
    web.hook("SessionStart", source="startup")
    said = api.tool("send_message", to="web", message="when you have time")
    assert "queued" in said
    assert place.row("SELECT count(*) FROM offers") == (0,)
    told = web.hook("UserPromptSubmit", prompt="go on")
    assert "when you have time" in str(told)
    api.tool("send_message", to="web", message="while you work")
    web.wait_inbox("while you work")
    assert lines(web, "when you have time") == []


WOKEN = """
import os, sys, types
from coterie.agents import carriers
from coterie.agents.carriers.carrier import Carrier, Nudge
class Noting(Carrier):
    async def nudge(self, endpoint, session, text):
        with open(os.path.join(os.environ["HOME"], "nudges"), "a") as file:
            file.write(text + "\\n")
        return Nudge("started")
    async def close(self):
        pass
sys.modules["noting"] = types.ModuleType("noting")
sys.modules["noting"].carrier = Noting
carriers.MODULES["codex"] = "noting"
"""


def test_nor_is_the_client_of_an_idle_session_told(place: Place) -> None:
    configure(place, mail_wake_idle=False)
    place.start(patch=ALERT + WOKEN)
    codex = place.agent(client="codex-mcp-client", inbox=False)
    codex.tool("set_summary", name="web", meta={"threadId": "t-1"})
    tell = place.connect("hook").call
    event = {"kind": "codex", "session": "t-1", "cwd": "/", "endpoint": "/run/control.sock"}
    tell("session.event", {**event, "event": "start"})
    api = place.named("api")
    assert "mail.wake_idle" in api.tool("send_message", to="web", message="one")
    configure(place, mail_wake_idle=True)
    assert "mail.wake_idle" not in api.tool("send_message", to="web", message="two")
    wait_for((place.root / "nudges").exists, "it is told")
    assert (place.root / "nudges").read_text().count("2 messages for you") == 1


def expired(place: Place, count: int, size: int) -> None:
    a, b = Peer(place, "a"), Peer(place, "b")
    for number in range(count):
        a.send(f"{number} " + "x" * size, to=b.card["id"], life_s=1)  # type: ignore[arg-type]
    wait_for(lambda: place.row("SELECT count(*) FROM messages WHERE state = 'expired'") == (count,), "they expire")


@pytest.mark.parametrize(
    ("size", "count", "key", "value", "left"),
    [(1, 2, "history_days", 0, {0}), (14_000, 80, "history_mib", 1, {MIB // 14_002, MIB // 14_003})],
    ids=["history.days", "history.mib"],
)
def test_history_goes_by_what_is_set(place: Place, size: int, count: int, key: str, value: int, left: set[int]) -> None:
    place.start()
    expired(place, count, size)
    place.kill()
    place.start()
    status(place)
    assert place.row("SELECT count(*) FROM messages") == (count,)
    place.kill()
    configure(place, **{key: value})
    place.start()
    wait_for(lambda: place.row("SELECT count(*) FROM messages")[0] in left, "the oldest go")


def test_an_idle_daemon_leaves_when_that_is_set(place: Place) -> None:
    configure(place, daemon_idle_exit_s=1)
    assert place.start().wait(20) == 0
    assert "idle for 1 s" in Path(place.home.log).read_text()


# --- summaries ----------------------------------------------------------------------------------------------------


def work(agent: Agent, cwd: str = "/") -> None:
    """Its session is prompted, and touches a file."""
    agent.hook("SessionStart", source="startup", cwd=cwd)
    agent.hook("UserPromptSubmit", prompt="rename the secret")
    agent.hook("PreToolUse", tool_name="Write", tool_use_id="t1", tool_input={"file_path": "/hidden.py"})


@pytest.mark.parametrize(("key", "word", "other"), [("prompts", "secret", "hidden"), ("files", "hidden", "secret")])
def test_what_is_not_to_be_shown_is_neither_shown_nor_stored(place: Place, key: str, word: str, other: str) -> None:
    place.start(patch=ALERT)
    api, web = place.named("api"), place.named("web")
    work(web)
    assert word in api.tool("list_peers")
    configure(place, **{f"summary_{key}": False})
    said = api.tool("list_peers")
    assert word not in said
    assert other in said
    fresh = place.named("fresh")
    work(fresh)
    stored = str(place.rows("SELECT prompt, files FROM peers WHERE name = 'fresh'"))
    assert word not in stored
    assert other in stored


def test_nor_is_it_told_to_who_follows(place: Place) -> None:
    place.start(patch=ALERT)
    web = place.named("web")
    work(web)
    configure(place, summary_prompts=False, summary_files=False)
    following = place.connect()
    following.follow({})
    web.tool("set_summary", role="builder")
    event = following.next_event(20)
    assert event
    assert event["change"] == ["role"]
    assert "secret" not in str(event)
    assert "hidden" not in str(event)


def test_a_repository_has_its_own_kept_quiet(place: Place) -> None:
    place.start()
    quiet = repository(place, "[summary]\nprompts = false\nfiles = false\n")
    api, web, other = place.named("api"), place.named("web", cwd=quiet), place.named("other")
    work(web, quiet)
    assert "secret" not in (said := api.tool("list_peers"))
    assert "hidden" not in said
    work(other)
    assert "secret" in api.tool("list_peers")


# --- whose file says what ---------------------------------------------------------------------------------------------


def fan_out(agent: Agent) -> str:
    return agent.tool("send_message", to="all", message=f"to all of you, {time.monotonic_ns()}")


def crowd(place: Place) -> None:
    for number in range(3):
        Peer(place, f"p{number}")


def test_a_repository_makes_its_sessions_stricter_and_nobody_elses(place: Place) -> None:
    place.start()
    crowd(place)
    here = repository(place, "guards.fan_out = 1\n")
    os.mkdir(f"{here}/below")
    within, without = place.named("within", cwd=f"{here}/below"), place.named("without")
    assert "an agent may" in fan_out(within)
    assert "p2" in fan_out(without)


@pytest.mark.promise("S6")
def test_a_repository_cannot_raise_what_the_person_set(place: Place) -> None:
    configure(place, guards_fan_out=1)
    place.start()
    crowd(place)
    agent = place.named("within", cwd=repository(place, "guards.fan_out = 100\n"))
    assert "an agent may" in fan_out(agent)


def test_every_worktree_goes_by_the_file_of_the_main_one(place: Place) -> None:
    place.start()
    crowd(place)
    main = repository(place, "guards.fan_out = 1\n")
    git = ["git", "-C", main, "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "begin"], check=True)
    subprocess.run([*git, "worktree", "add", "--quiet", str(place.root / "tree")], check=True)
    assert "an agent may" in fan_out(place.named("in-tree", cwd=str(place.root / "tree")))


def test_where_there_is_no_main_worktree_the_checkouts_own_file_counts(place: Place) -> None:
    place.start()
    crowd(place)
    apart = str(place.root / "apart")
    subprocess.run(["git", "init", "--quiet", f"--separate-git-dir={place.root}/data", apart], check=True)
    Path(apart, ".coterie.toml").write_text("guards.fan_out = 1\n")
    assert "an agent may" in fan_out(place.named("apart", cwd=apart))


def test_a_change_of_a_repositorys_file_counts_from_the_second_question_on(place: Place) -> None:
    place.start(patch=ALERT)
    crowd(place)
    here = repository(place, "")
    agent = place.named("within", cwd=here)
    assert "p2" in fan_out(agent)
    Path(here, ".coterie.toml").write_text("guards.fan_out = 1\n")
    wait_for(lambda: "an agent may" in fan_out(agent), "the new file counts")
    os.unlink(f"{here}/.coterie.toml")
    wait_for(lambda: "p2" in fan_out(agent), "no file counts")


HANGS = """
import coterie.settings as files, coterie.daemon.settings as settings
files.reading = lambda root: ["sleep", "60"]
settings.GIT_S = 0.2
"""


@pytest.mark.promise("S6")
@pytest.mark.parametrize(
    ("text", "patch", "says"),
    [
        ("guards.fan_owt = 1", "", "did you mean guards.fan_out?"),
        ("notify.desktop = true", "", "is not for a repository to set"),
        ("", HANGS, "could not be read within 0.2 s"),
        ("", "import coterie.settings as f\nf.reading = lambda root: ['/no/such']", "could not be read: No such file"),
    ],
    ids=["mistake", "not its own", "hangs", "cannot be read"],
)
def test_a_repositorys_file_that_cannot_count_is_said_and_stops_nobody(
    place: Place, text: str, patch: str, says: str
) -> None:
    place.start(patch=patch)
    crowd(place)
    here = repository(place, text)
    agent = place.named("within", cwd=here)
    assert "p2" in fan_out(agent)
    assert status(place)["trouble"] is None
    trouble = status(place)["troubles"][0]
    assert trouble["message"].startswith(f"{here}/.coterie.toml")
    assert says in trouble["message"]
    assert says in Path(place.home.log).read_text()


# --- the person's file while a daemon runs ----------------------------------------------------------------------------


def test_a_mistake_leaves_what_held_before_and_is_said_until_it_is_mended(place: Place) -> None:
    place.start(patch=ALERT)
    crowd(place)
    agent = place.named("web")
    assert "p2" in fan_out(agent)
    configure(place, guards_fan_out=1)
    assert "an agent may" in fan_out(agent)
    configure(place, guards_fan_out=0)
    assert "an agent may" in fan_out(agent)
    says = f"{place.home.config}: guards.fan_out is 0"
    assert [trouble["message"] for trouble in status(place)["troubles"]] == [says]
    assert f"{says}; what held before holds" in Path(place.home.log).read_text()
    os.unlink(place.home.config)
    assert "p2" in fan_out(agent)
    assert status(place)["troubles"] == []


def test_a_file_that_others_may_write_counts_for_nothing(place: Place) -> None:
    configure(place, guards_fan_out=1)
    os.chmod(place.home.config, 0o666)
    place.start(patch=ALERT)
    crowd(place)
    agent = place.named("web")
    assert "p2" in fan_out(agent)
    assert status(place)["troubles"][0]["hint"] == f"chmod go-w {place.home.config}"
    os.chmod(place.home.config, 0o600)
    assert "an agent may" in fan_out(agent)


@pytest.mark.promise("S5")
def test_whoever_starts_the_daemon_cannot_choose_its_file(place: Place) -> None:
    configure(place, guards_fan_out=1)
    mine = place.root / "mine"
    mine.mkdir()
    (mine / "config.toml").write_text("guards.fan_out = 100\n")
    chosen = {"COTERIE_CONFIG": str(mine / "config.toml"), "XDG_CONFIG_HOME": str(mine)}
    agent = place.agent("session-web", env=chosen)
    agent.tool("list_peers")
    crowd(place)
    assert "an agent may" in fan_out(agent)
    environ = Path(f"/proc/{place.pid()}/environ").read_bytes()
    assert str(mine).encode() not in environ
    assert running(place.pid())


def test_repositories_beyond_those_that_are_remembered_are_read_again(place: Place) -> None:
    place.start(patch="import coterie.daemon.settings as s\ns.REPOSITORIES_MAX = 1")
    crowd(place)
    agents = [place.named(name, cwd=repository(place, "guards.fan_out = 1\n", name)) for name in ("one", "two")]
    for _ in range(2):
        for agent in agents:
            wait_for(lambda: "an agent may" in fan_out(agent), "its file counts")  # noqa: B023


def test_a_file_that_cannot_be_read_is_said(place: Place) -> None:
    os.symlink(place.home.config, place.home.config)
    place.start()
    assert "config.toml cannot be read: Too many levels of symbolic links" in str(status(place)["troubles"])


BLIND = """
import coterie.daemon.settings as settings, coterie.daemon.watch as watch
settings.CONFIG_LOOK_S = 3600.0
watch.Watch.start = lambda self: None
"""


def test_where_no_system_tells_of_changes_the_file_is_looked_at_once_a_second_at_most(place: Place) -> None:
    place.start(patch=BLIND)
    crowd(place)
    agent = place.named("web")
    configure(place, guards_fan_out=1)
    assert "p2" in fan_out(agent)
    status(place)  # A person who asks is told of the file as it is.
    assert "an agent may" in fan_out(agent)
