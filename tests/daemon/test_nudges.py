"""When a session's client is told that there is mail, and what the sender hears of it. The client is scripted; the
daemon, its store and the sessions are real.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator

import pytest

from conftest import Place, wait_for
from coterie import ids
from coterie.client import Client
from coterie.frames import Letter
from coterie.ids import NUDGE
from coterie.testing.agent import Agent

# A carrier that writes each nudge into a file, and answers what another file says.
CLIENT = """
import json, os, sys, types
from coterie.agents import carriers
from coterie.agents.carriers.carrier import Carrier, Nudge
from coterie.errors import Unavailable
HOME = os.environ["HOME"]
class Scripted(Carrier):
    async def nudge(self, endpoint, session, text):
        with open(os.path.join(HOME, "nudges"), "a") as file:
            file.write(json.dumps([endpoint, session, text]) + "\\n")
        answer = open(os.path.join(HOME, "answer")).read()
        if answer.startswith("no: "):
            raise Unavailable(answer[4:])
        if answer.startswith("unknown: "):
            error = Unavailable(answer[9:])
            error.unanswered = True
            raise error
        if answer == "defect":
            raise ValueError("unheard of")
        return Nudge(answer)
    async def close(self):
        pass
scripted = types.ModuleType("scripted")
scripted.carrier = Scripted
sys.modules["scripted"] = scripted
carriers.MODULES["codex"] = "scripted"
"""
EAGER = """
import coterie.daemon.nudges as nudges
nudges.NUDGE_GAP_S = nudges.NUDGE_PATIENCE_S = 0.3
nudges.NUDGE_RETRIES_S = (0.1, 0.1)
"""


THREAD = {"threadId": "ses-1"}
ENDPOINT = "/somewhere/control.sock"


class Woken:
    """The client of one session."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.answer("started")

    def answer(self, answer: str) -> None:
        (self.place.root / "answer").write_text(answer)

    def nudges(self) -> list[list[str]]:
        file = self.place.root / "nudges"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    def wait_nudges(self, count: int) -> list[list[str]]:
        wait_for(lambda: len(self.nudges()) >= count, f"{count} nudges")
        return self.nudges()


@pytest.fixture(params=["usual", "eager"])
def client(place: Place, request: pytest.FixtureRequest) -> Woken:
    place.start(patch=CLIENT + (EAGER if request.param == "eager" else ""))
    return Woken(place)


usual = pytest.mark.parametrize("client", ["usual"], indirect=True)
eager = pytest.mark.parametrize("client", ["eager"], indirect=True)


def hook(place: Place, event: str, **fields: object) -> dict[str, str]:
    """What the hook of the woken session does."""
    told = {"event": event, "kind": "codex", "session": "ses-1", "cwd": "/", **fields}
    answer: dict[str, str] = place.connect("hook").call("session.event", told)
    return answer


def reachable(place: Place) -> Agent:
    """A session whose client takes nudges, and which is known by its hooks."""
    agent = place.agent(client="codex-mcp-client", inbox=False)
    agent.tool("set_summary", name="web", meta=THREAD)
    hook(place, "start", endpoint=ENDPOINT)
    return agent


def send(sender: Agent, text: str = "hello") -> tuple[str, str]:
    said = sender.tool("send_message", to="web", message=text)
    return re.match(r"m_\w+", said)[0], said  # type: ignore[index]


@pytest.fixture
def web(client: Woken) -> Iterator[Agent]:
    return reachable(client.place)


@usual
@pytest.mark.promise("T3")
def test_an_idle_session_is_woken_by_a_word_without_the_text(client: Woken, web: Agent) -> None:
    api = client.place.named("api")
    message, said = send(api, "the secret of the sea")
    assert "began a turn" in said
    ((endpoint, session, text),) = client.nudges()
    assert (endpoint, session) == (ENDPOINT, "ses-1")
    assert message in text
    assert '"api"' in text
    assert NUDGE in text
    assert "secret" not in text
    assert client.place.state(message) == "queued", "a nudge is no offer"
    assert "the secret of the sea" in web.tool("check_messages", meta=THREAD)


@usual
def test_it_is_told_again_when_it_gave_a_sign_and_more_has_come(client: Woken, web: Agent) -> None:
    api = client.place.named("api")
    send(api)
    hook(client.place, "prompt")
    hook(client.place, "stop")
    send(api)
    send(api)
    hook(client.place, "prompt")
    hook(client.place, "stop")
    assert len(client.wait_nudges(3)) == 3, "of the same mail it is not told twice"
    assert "3 messages" in client.nudges()[2][2]


@eager
def test_without_a_sign_it_is_told_of_new_mail_after_a_while(client: Woken, web: Agent) -> None:
    api = client.place.named("api")
    send(api)
    second, _ = send(api)
    assert second in client.wait_nudges(2)[1][2]


@eager
def test_hooks_of_a_busy_session_have_the_first_try(client: Woken, web: Agent) -> None:
    api = client.place.named("api")
    hook(client.place, "prompt")
    message, said = send(api, "by hook")
    assert "told" not in said.replace("about to be told", "")
    assert "by hook" in hook(client.place, "after-tool", room=6000)["context"]
    second, _ = send(api, "nobody fetches it")
    assert second in client.wait_nudges(1)[0][2]
    assert message not in client.nudges()[0][2]


@eager
def test_a_client_that_does_not_take_it_is_asked_again_and_the_sender_is_told(client: Woken, web: Agent) -> None:
    api = client.place.named("api")
    client.answer("no: nobody listens there")
    _, said = send(api)
    assert "nobody listens there" in said
    client.wait_nudges(2)
    client.answer("queued")
    client.wait_nudges(3)
    hook(client.place, "stop")
    assert "keeps it for the end of its turn" in send(api)[1]


@eager
def test_it_is_not_asked_for_ever(client: Woken, web: Agent) -> None:
    api = client.place.named("api")
    client.answer("no: nobody listens there")
    send(api)
    client.wait_nudges(3)
    send(api, "and again")
    assert len(client.wait_nudges(4)) == 4


@eager
def test_what_may_have_been_told_is_not_told_again(client: Woken, web: Agent) -> None:
    """Each try could cost a turn."""
    api = client.place.named("api")
    client.answer("unknown: it did not answer in time")
    assert "it did not answer in time; whether it was told is not known" in send(api)[1]
    second, _ = send(api)
    assert len(client.wait_nudges(2)) == 2
    assert second in client.nudges()[1][2], "told again only when there was more to tell"


@usual
def test_mail_that_a_carrier_took_and_did_not_bring_is_told_of_again(client: Woken, web: Agent) -> None:
    api = client.place.named("api")
    send(api, "the secret of the sea")
    dying = client.place.connect("hook")
    told = {"event": "prompt", "kind": "codex", "session": "ses-1", "cwd": "/", "room": 6000}
    assert "the secret of the sea" in dying.call("session.event", told)["context"]
    hook(client.place, "stop")
    assert len(client.nudges()) == 1
    dying.close()
    client.wait_nudges(2)


@usual
def test_an_unheard_of_answer_ends_nothing(client: Woken, web: Agent) -> None:
    api = client.place.named("api")
    client.answer("defect")
    assert "something unexpected" in send(api)[1]
    assert "api" in api.tool("list_peers")


@usual
def test_where_it_lives_is_still_known_after_the_daemon_came_back(client: Woken, web: Agent) -> None:
    os.kill(web.pids["adapter"], signal.SIGSTOP)  # It would start a daemon too, and not the one with this client.
    client.place.kill()
    client.place.start(patch=CLIENT)
    os.kill(web.pids["adapter"], signal.SIGCONT)
    api = client.place.named("api")
    wait_for(lambda: "is woken for mail" in api.tool("list_peers"), "its adapter is back")
    send(api)
    client.wait_nudges(1)


def loaded(place: Place) -> Client:
    """A session of which no process is known."""
    hook(place, "start", endpoint=ENDPOINT)
    person = place.connect("adapter")
    person.call("peers.register", {"kind": "other", "cwd": "/"})
    return person


@usual
def test_one_that_is_only_loaded_is_woken_while_it_is_fresh(client: Woken) -> None:
    sender = loaded(client.place)
    name = client.place.row("SELECT name FROM peers WHERE kind = 'codex'")[0]
    sender.call("messages.send", {"id": ids.new_message_id(), "to": name, "text": "hello"})
    client.wait_nudges(1)


def test_one_that_is_only_loaded_and_long_silent_is_not(place: Place) -> None:
    client = Woken(place)
    place.start(patch=CLIENT + "import coterie.daemon.nudges as nudges; nudges.LOADED_WOKEN_S = 0.0")
    sender = loaded(place)
    name = place.row("SELECT name FROM peers WHERE kind = 'codex'")[0]
    sent = sender.call("messages.send", {"id": ids.new_message_id(), "to": name, "text": "hello", "settle_s": 0.2})
    assert "may run without a window" in sent["messages"][0]["nudge_failure"]
    assert client.nudges() == []


def test_the_words_name_a_few_and_count_the_rest() -> None:
    from coterie.daemon.nudges import words

    letters = [Letter(f"m_{n}", "ann", "claude", "this device", f"m_{n}", None, "text") for n in range(3)]
    assert "1 message for you: m_0" in words(letters[:1], 1, hooked=False)
    assert "5 messages" in words(letters, 5, hooked=True)
    assert "and 2 more" in words(letters, 5, hooked=True)
    assert "call check_messages" in words(letters, 5, hooked=True)
