"""The demonstration: three agents meet, talk, crash and lose nothing. It checks what it shows.

usage: python tools/demo.py     (make demo)

It exits 0 if everything was as told, 1 if not, and leaves neither a process nor a file behind.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from _parts import Place, median, memory, percentile, place, run, take_signals
from _transcript import Transcript
from coterie.errors import CoterieError
from coterie.limits import INBOX_GAP_S
from coterie.testing.agent import Agent, text_of

MESSAGE_ID = re.compile(r"\bm_[0-9a-z]{12}\b")
SETTLED, IN_FLIGHT, LATER = 20, 20, 20
"""Sends of the burst that are answered before the daemon is killed, that are under way then, and that follow while
there is no daemon.
"""
CROWD, ROUNDS = 20, 5
"""Sessions that join for the measurement, and messages to each."""
WAIT_S = 20
POLL_S = 0.001


class NotAsTold(Exception):
    """Something that the story claims did not happen."""


def check(condition: object, claim: str) -> None:
    """Raises `NotAsTold` unless the claim holds."""
    if not condition:
        raise NotAsTold(claim)


def milliseconds(start: int, end: int) -> float:
    """Between two times in nanoseconds."""
    return (end - start) / 1e6


class Story:
    """The sessions, the place they live in, and what was measured on the way."""

    def __init__(self, here: Place, out: Transcript) -> None:
        self.here = here
        self.out = out
        self.agents: dict[str, Agent] = {}
        self.figures: list[tuple[str, str]] = []

    # --- the acts ------------------------------------------------------------------------------------------

    def meet(self) -> None:
        """Three sessions begin; the first one starts the daemon."""
        self.out.section("Three sessions begin, and find each other")
        main, worktree, subfolder = self._repository()
        self.out.tell("api begins in the repository. No daemon runs, so its session starts one.")
        api = self._begin("api", main)
        first, text = self._list(api, "machine")
        started = milliseconds(api.pids["spawned"], api.times[first][1])
        self.figures.append(("first list_peers, daemon start included", f"{started:.0f} ms"))
        check("Nobody else is here" in text, "the first session is alone")
        self._describe("api", "REST endpoints of the shop; works on src/api/")
        self.out.tell("web begins in another worktree of it, tests in a subfolder.")
        for name, folder, summary in (
            ("web", worktree, "Shop pages; works on src/web/"),
            ("tests", subfolder, "End-to-end tests of the shop"),
        ):
            self._begin(name, folder)
            self._describe(name, summary)
        self.out.call("api", "list_peers(scope=repo)")
        text = self._list(api, "repo")[1]
        self.out.quote(text)
        check(all(f"- {name} |" in text for name in ("web", "tests")), "worktree and subfolder are one repository")
        check("works on src/web/" in text, "the list shows the summaries")

    def talk(self) -> None:
        """A message goes through all its states, and its sender is told the truth at each."""
        api, web = self.agents["api"], self.agents["web"]
        self.out.section("A message, and how far it got")
        text, sent, asked = self._send("api", "web", "Which fields of /orders do the pages use?")
        at, line = web.wait_inbox(sent)
        check("offered" in text, "a message written to the inbox is offered, no more")
        self.out.tell(f"It is in the inbox of web after {milliseconds(asked, at):.1f} ms:")
        self.out.quote(line)
        self.out.tell("Written is not read. Now the client of web gives it to its model:")
        web.hook("UserPromptSubmit", prompt=line, cwd="/")
        check(f"{sent} to web: shown" in self._receipts("api"), "a message given to the model is shown")
        answer = "id, total and state. Nothing else."
        self.out.call("web", f'send_message(reply_to={sent}, message="{answer}")')
        reply = web.ask_tool("send_message", reply_to=sent, message=answer)
        answered = text_of(web.answer_to(reply))
        at, line = api.wait_inbox(answer)
        self.out.tell(f"It is in the inbox of api after {milliseconds(web.times[reply][0], at):.1f} ms.")
        check(f"{sent} to web: acknowledged" in self._receipts("api"), "an answer acknowledges")
        api.hook("UserPromptSubmit", prompt=line, cwd="/")
        check(_ids(answered)[0] in line, "the answer is in the inbox of api")

    def ask_and_wait(self) -> None:
        """A send that waits gets the answer as its result."""
        api, tests = self.agents["api"], self.agents["tests"]
        self.out.section("A question that waits for its answer")
        self.out.call("api", f'send_message(to=tests, message="Does main pass?", wait_s={WAIT_S})')
        waiting = api.ask_tool("send_message", to="tests", message="Does main pass?", wait_s=WAIT_S)
        _, line = tests.wait_inbox("Does main pass?")
        self.out.call("tests", 'send_message(reply_to=..., message="212 passed, 0 failed.")')
        reply = tests.ask_tool("send_message", reply_to=_ids(line)[0], message="212 passed, 0 failed.")
        result = text_of(api.answer_to(waiting))
        replied = tests.answer_to(reply)
        took = milliseconds(tests.times[reply][0], api.times[waiting][1])
        self.out.tell(f"The waiting call returns {took:.1f} ms after the answer was sent:")
        self.out.quote(result)
        check("acknowledged" in result and "212 passed" in result, "the waiting send returns the answer")
        self.out.tell("The turn of api goes on, so that its model was given the answer:")
        api.hook("PostToolBatch", cwd="/")
        api.hook("Stop", cwd="/")
        check(f"{_ids(text_of(replied))[0]} to api: shown" in self._receipts("tests"), "the answer was shown")

    def wrong_address(self) -> None:
        """An address that nobody has is refused, and says who is there."""
        self.out.section("A wrong address is refused, never guessed")
        self.out.call("web", 'send_message(to=test, message="hello")')
        text = self.agents["web"].tool("send_message", to="test", message="hello")
        self.out.quote(text)
        check("Not done" in text and "tests = p_" in text, "the refusal names the candidates")
        check(self._row("SELECT count(*) FROM messages WHERE text = 'hello'")[0] == 0, "nothing was stored")

    def other_vendor(self) -> None:
        """An agent without an inbox gets its mail with a tool result."""
        self.out.section("An agent of another vendor, which has no inbox")
        codex = self.here.agent(None, client="codex-mcp-client", inbox=False, cwd=self._folder("shop"))
        codex.initialize()
        thread = {"threadId": "thread-1"}
        codex.tool("set_summary", meta=thread, name="review", summary="Reviews the branch (Codex)")
        text, sent, _ = self._send("web", "review", "Please look at the cart page first.")
        check("queued" in text, "what no carrier has is queued")
        self.out.call("review", "list_peers(scope=repo)    and with any result comes its mail:")
        text = codex.tool("list_peers", meta=thread, scope="repo")
        self.out.quote(text[text.index(f"[coterie message {sent}") :])
        check("cart page" in text, "mail rides on the tool result")
        check("cart page" not in codex.tool("list_peers", meta=thread), "it comes once")
        codex.close()

    def away(self) -> None:
        """Mail for an agent that was killed waits until it is back."""
        web = self.agents["web"]
        self.out.section("An agent is killed; its mail waits")
        self.out.tell(f"kill -9 {web.pids['pid']}: web is gone, without a word.")
        folder = self._folder("shop-web")
        web.kill()
        _until(lambda: self._state("web") == "away", "web is away")
        text, sent, _ = self._send("api", "web", "I renamed total to amount, in 4f2c9e1.")
        check("(away)" in text and "queued" in text, "the sender is told that web is away and the message waits")
        self.out.tell("web is resumed: a new process, the same session id.")
        begun = time.monotonic_ns()
        web = self._begin("web", folder)
        at, line = web.wait_inbox("renamed total")
        self.out.tell(f"Its mail is in its inbox {milliseconds(begun, at):.0f} ms after its process began:")
        self.out.quote(line)
        check(sent in line, "the mail that waited arrives")
        check("You are web (" in web.tool("list_peers"), "it has its name again")

    def crash(self) -> None:
        """The daemon is killed in the middle of a burst of sends."""
        count, known = SETTLED + IN_FLIGHT + LATER, SETTLED + IN_FLIGHT
        self.out.section(f"The daemon is killed in the middle of {count} sends")
        tests, api = self.agents["tests"], self.agents["api"]
        marks = [f"burst {number:02d}." for number in range(count)]
        calls = [tests.ask_tool("send_message", to="api", message=mark) for mark in marks[:SETTLED]]
        answers = {mark: _ids(text_of(tests.answer_to(call)))[0] for mark, call in zip(marks, calls, strict=False)}
        with contextlib.closing(self._database()) as books:
            calls += [tests.ask_tool("send_message", to="api", message=mark) for mark in marks[SETTLED:known]]
            _until(lambda: len(_stored(books)) > SETTLED, "the burst is being stored")
            pid = self.here.daemon()
            os.kill(pid, signal.SIGKILL)
            killed = time.monotonic_ns()
            at_death = _stored(books)
        calls += [tests.ask_tool("send_message", to="api", message=mark) for mark in marks[known:]]
        look = api.ask_tool("list_peers")
        for mark, call in zip(marks[SETTLED:], calls[SETTLED:], strict=True):
            answers[mark] = _ids(text_of(tests.answer_to(call)))[0]
        api.answer_to(look)
        before = sum(tests.times[call][1] < killed for call in calls)
        self.out.tell(
            f"tests sends api {known} messages. kill -9 {pid}, the daemon: {len(at_death)} are stored by then, and "
            f"{before} are answered. {LATER} more are sent while there is none."
        )
        takeover = milliseconds(killed, api.times[look][1])
        self.out.tell(f"A session starts the next daemon; it serves after {takeover:.0f} ms.")
        check(self.here.daemon() not in (0, pid), "another daemon serves")
        self.figures.append(("takeover: kill -9 of the daemon to the next answer", f"{takeover:.0f} ms"))
        self._check_burst(marks, answers, at_death)

    def measure(self) -> None:
        """Send to inbox, with two dozen sessions connected."""
        api = self.agents["api"]
        self.out.section(f"{CROWD} more sessions join, to measure")
        folder = self._folder("elsewhere")
        os.mkdir(folder)
        begun = time.monotonic()
        crowd = {f"n{number}": self.here.agent(f"session-n{number}", cwd=folder) for number in range(CROWD)}
        for name, agent in crowd.items():
            agent.initialize()
            agent.tool("set_summary", name=name)
        self.out.tell(f"They are here after {time.monotonic() - begun:.1f} s. api writes to each of them in turn.")
        check(f"{CROWD + 2} peers in scope machine" in api.tool("list_peers"), "all of them are listed")
        check("2 peers in scope repo" in api.tool("list_peers", scope="repo"), "they are not in the repository")
        self._pass_on(api, crowd)
        time.sleep(INBOX_GAP_S)  # As below.
        delays = []
        for turn in range(ROUNDS):
            until = time.monotonic() + INBOX_GAP_S
            for name, agent in crowd.items():
                call = api.ask_tool("send_message", to=name, message=f"turn {turn}. " + "x" * 490)
                text = text_of(api.answer_to(call))
                check(not text.startswith("Not sent"), f"it is sent: {text}")
                delays.append(milliseconds(api.times[call][0], agent.wait_inbox(f"turn {turn}.")[0]))
            # Lines to one inbox are kept apart, as the client drops what comes faster.
            time.sleep(max(0.0, until - time.monotonic()))
        self.out.good(f"{len(delays)} messages of 500 bytes, one at a time, each on disk before it is written out")
        self.figures.append(("send_message to the bytes on the inbox, p50", f"{median(delays):.1f} ms"))
        self.figures.append(("the same, p99", f"{percentile(delays, 0.99):.1f} ms"))

    def _pass_on(self, api: Agent, crowd: Collection[str]) -> None:
        """A guard: what an agent was told goes no further than to a few, unless its user says so."""
        for name in crowd:
            text = api.tool("send_message", to=name, message="tests is in a loop, have you heard?")
            if text.startswith("Not sent"):
                break
        else:
            raise NotAsTold("an agent passes on to a few only what another one told it")
        self.out.tell("It passes on what it was told last, and is stopped:")
        self.out.quote(text)
        api.hook("UserPromptSubmit", prompt="Write to all of them.", cwd="/")
        self.out.tell("Its user asks it to write to all of them.")

    def sum_up(self) -> None:
        """The table."""
        self.out.section("Measured here, just now")
        resident, private = memory(self.agents["api"].pids["adapter"])
        daemon, _ = memory(self.here.daemon())
        self.figures.append(("memory of a session's adapter: resident, private", f"{resident:.1f}, {private:.1f} MiB"))
        self.figures.append(("memory of the daemon, resident", f"{daemon:.1f} MiB"))
        self.out.table(self.figures)

    # --- parts of acts ------------------------------------------------------------------------------------------

    def _repository(self) -> tuple[str, str, str]:
        check(shutil.which("git"), "git is installed; the demonstration needs it")
        environ = {**self.here.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull}
        main, worktree = self._folder("shop"), self._folder("shop-web")
        run(["git", "init", "--quiet", main], environ)
        author = ["-c", "user.name=demo", "-c", "user.email=demo@localhost"]
        run(["git", *author, "commit", "--quiet", "--allow-empty", "--message=begin"], environ, main)
        run(["git", "worktree", "add", "--quiet", "-b", "pages", worktree], environ, main)
        subfolder = os.path.join(main, "tests")
        os.mkdir(subfolder)
        return main, worktree, subfolder

    def _folder(self, name: str) -> str:
        return os.path.join(self.here.root, name)

    def _begin(self, name: str, folder: str) -> Agent:
        agent = self.here.agent(f"session-{name}", cwd=folder)
        agent.initialize()
        first = min(agent.times)
        if not self.agents:
            took = milliseconds(agent.pids["spawned"], agent.times[first][1])
            self.figures.append(("session start: spawn of the adapter to initialize", f"{took:.0f} ms"))
        self.agents[name] = agent
        return agent

    def _describe(self, name: str, summary: str) -> None:
        self.out.call(name, f'set_summary(name={name}, summary="{summary}")')
        text = self.agents[name].tool("set_summary", name=name, summary=summary)
        check(f"You are {name} (" in text, f"{name} has its name")
        self.here.daemon()

    def _list(self, agent: Agent, scope: str) -> tuple[int, str]:
        call = agent.ask_tool("list_peers", scope=scope)
        return call, text_of(agent.answer_to(call))

    def _send(self, sender: str, to: str, message: str) -> tuple[str, str, int]:
        """Send and show the result: its text, the id, and when the call was written."""
        self.out.call(sender, f'send_message(to={to}, message="{message}")')
        agent = self.agents[sender]
        call = agent.ask_tool("send_message", to=to, message=message)
        text = text_of(agent.answer_to(call))
        self.out.quote(text)
        return text, _ids(text)[0], agent.times[call][0]

    def _receipts(self, name: str) -> str:
        self.out.call(name, "check_messages()")
        text = self.agents[name].tool("check_messages")
        self.out.quote(text[text.index("Your messages:") :])
        return text

    def _check_burst(self, marks: list[str], answers: dict[str, str], at_death: set[str]) -> None:
        api = self.agents["api"]
        with contextlib.closing(self._database()) as books:
            rows = books.execute("SELECT id, text FROM messages WHERE text LIKE 'burst %'").fetchall()
        check({text: message for message, text in rows} == answers, "each id that was answered is stored")
        check(len(rows) == len(marks), "no message is stored twice")
        check(at_death <= {text for _, text in rows}, "nothing that was stored is gone")
        self.out.good(f"{len(rows)} of {len(marks)} stored, each exactly once, under the id that its sender was told")
        for mark in marks:
            api.wait_inbox(mark)
        arrived = Counter(mark for _, line in api.inbox for mark in marks if mark in line)
        check(set(arrived.values()) == {1}, f"each is in the inbox once: {arrived.most_common(3)}")
        order = [mark for _, line in api.inbox for mark in re.findall(r"burst \d\d\.", line)]
        check(order == marks, "they arrive in the order in which they were sent")
        lines = sum("burst " in line for _, line in api.inbox)
        self.out.good(f"{len(arrived)} of {len(marks)} in the inbox of api, each once, in order, in {lines} lines")

    def _database(self) -> sqlite3.Connection:
        return sqlite3.connect(f"file:{self.here.home.database}?mode=ro", uri=True)

    def _row(self, query: str, *values: Any) -> Any:
        with contextlib.closing(self._database()) as books:
            return books.execute(query, values).fetchone()

    def _state(self, name: str) -> str:
        return str(self._row("SELECT state FROM peers WHERE name = ?", name)[0])


def _ids(text: str) -> list[str]:
    """The message ids in a text, in order."""
    found = MESSAGE_ID.findall(text)
    check(found, f"a message id stands in {text!r}")
    return found


def _stored(books: sqlite3.Connection) -> set[str]:
    return {text for (text,) in books.execute("SELECT text FROM messages WHERE text LIKE 'burst %'")}


def _until(condition: Callable[[], object], claim: str) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        check(time.monotonic() < deadline, claim)
        time.sleep(POLL_S)


def perform(out: Transcript) -> bool:
    """Tell the whole story; False if something was not as told."""
    with place("coterie-demo-") as here:
        story = Story(here, out)
        acts = (
            story.meet,
            story.talk,
            story.ask_and_wait,
            story.wrong_address,
            story.other_vendor,
            story.away,
            story.crash,
            story.measure,
            story.sum_up,
        )
        try:
            for act in acts:
                act()
        except (NotAsTold, AssertionError, CoterieError, OSError, subprocess.SubprocessError, sqlite3.Error) as error:
            if isinstance(error, BrokenPipeError):
                raise
            _fail(out, here, error)
            return False
    remains = here.remains()
    if remains:
        out.bad(f"left behind: {', '.join(remains)}")
        return False
    sessions = len(here.agents)
    daemons = len(here.started) - 2 * sessions
    out.tell(
        f"{len(here.started)} processes were started: {sessions} agents, {sessions} adapters, {daemons} daemons. "
        "All have ended, and the folder is gone. Everything was as told."
    )
    return True


def _fail(out: Transcript, here: Place, error: Exception) -> None:
    said = getattr(error, "stderr", None)
    out.bad(f"{error}" if isinstance(error, (NotAsTold, CoterieError)) else f"{type(error).__name__}: {error} {said}")
    with contextlib.suppress(OSError), open(here.home.log, errors="replace") as log:
        out.tell("The daemon's log ends with:")
        out.quote("".join(log.readlines()[-8:]))


def main() -> int:
    """Tell the story; the exit status says whether it was true."""
    take_signals()
    out = Transcript()
    try:
        out.title(
            "Coterie: three agents meet, talk, crash and lose nothing",
            "Real processes in a temporary home; nothing of yours is read or touched. Each agent is a stand-in that "
            "starts the real adapter and speaks MCP to it as the real clients do. Behind the bars stands what the "
            "agents read.",
        )
        return 0 if perform(out) else 1
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; everything that was started has ended\n")
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # Nobody reads any more; Python would complain at exit.
        return 1


if __name__ == "__main__":
    sys.exit(main())
