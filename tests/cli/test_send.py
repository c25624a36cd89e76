"""coterie send and reply: what is said is true."""

from __future__ import annotations

import re

import pytest

from cli.conftest import Shell
from cli.detached import COTERIE
from conftest import Place, wait_for
from coterie.cli.deliver import outcome
from coterie.limits import MESSAGE_BYTES_MAX

ID = r"m_[0-9a-z]{12}"


def gone(place: Place, name: str, state: str) -> None:
    wait_for(lambda: place.row("SELECT state FROM peers WHERE name = ?", name)[0] == state, f"{name} is {state}")


@pytest.mark.promise("M2")
def test_a_message_through_an_inbox_is_offered_and_not_called_more(shell: Shell) -> None:
    api = shell.place.named("api")
    said = shell.ok("send", "api", "the", "tests", "are", "green")
    assert re.fullmatch(rf"{ID} to api \(live\): offered through its inbox; not known to be read yet\n", said)
    _, line = api.wait_inbox("the tests are green")
    assert said[:14] in line


@pytest.mark.promise("M1")
def test_a_queued_message_is_called_queued_and_why(shell: Shell) -> None:
    shell.place.named("away").kill()
    shell.peer("tools")
    gone(shell.place, "away", "away")
    for to, state, why in (
        ("tools", "live", "tools looks when it calls a coterie tool; it waits up to 7 days"),
        ("away", "away", "away is away, it waits up to 7 days"),
        ("me", "live", r"\S+ reads it with coterie inbox; it waits up to 7 days"),
    ):
        said = shell.ok("send", to, "hello")
        assert re.fullmatch(rf"{ID} to \S+ \({state}\): queued: {why}\n", said), said
        assert "delivered" not in said
    assert shell.place.row("SELECT count(*) FROM messages WHERE state = 'queued'")[0] == 3


@pytest.mark.parametrize(
    ("state", "carrier", "reach", "to_state", "says"),
    [
        ("queued", "inbox", "inbox", "live", "queued: it is about to go through its inbox"),
        ("queued", None, "inbox", "live", "queued: its inbox is full until bob reads; it waits up to 2 hours"),
        ("queued", None, "hooks", "live", "queued: bob gets it at its next step or prompt"),
        ("queued", None, "none", "live", "queued: nothing reaches bob now; it waits up to 2 hours"),
        ("queued", None, "none", "ended", "queued: bob has ended, it is held up to 2 hours"),
        ("offered", "wait", "inbox", "live", "offered as the answer that it waits for; not known to be read yet"),
        ("offered", None, "tools", "live", "offered; not known to be read yet"),
        ("shown", None, "inbox", "live", "shown to bob"),
        ("acknowledged", None, "inbox", "live", "acknowledged: bob answered it"),
        ("expired", None, "inbox", "live", "expired"),
    ],
)
@pytest.mark.promise("M5")
def test_every_outcome_has_its_words(state: str, carrier: str, reach: str, to_state: str, says: str) -> None:
    copy = {"id": "m_1", "to": "bob", "to_state": to_state, "state": state, "carrier": carrier, "reach": reach}
    assert outcome(copy, 7200).startswith(f"m_1 to bob ({to_state}): {says}")


def test_nobody_is_refused_with_who_is_here(shell: Shell) -> None:
    shell.peer("api")
    ended = shell.run("send", "apo", "hello")
    assert (ended.status, ended.out) == (1, "")
    assert "nobody here is called 'apo'" in ended.err
    assert "api = p_" in ended.err
    assert shell.place.row("SELECT count(*) FROM messages")[0] == 0


def test_one_that_has_ended_is_refused_unless_held(shell: Shell) -> None:
    other = shell.place.agent(client="something", inbox=False)
    other.tool("set_summary", name="other")
    other.close()
    gone(shell.place, "other", "ended")
    refused = shell.run("send", "other", "too late")
    assert refused.status == 1
    assert "coterie send --hold" in refused.err
    said = shell.ok("send", "other", "--hold", "--life", "2h", "keep it")
    assert "to other (ended): queued: other has ended, it is held up to 2 hours" in said


def test_a_note_to_oneself_comes_to_ones_own_inbox(shell: Shell) -> None:
    name = shell.me
    assert f"to {name} (live): queued: {name} reads it with coterie inbox" in shell.ok("send", name, "remember")
    assert "| remember" in shell.ok("inbox")


def test_every_copy_has_its_line(shell: Shell) -> None:
    for name in ("one", "two"):
        shell.peer(name).call("peers.describe", role="builder")
    lines = shell.ok("send", "role:builder", "build it").splitlines()
    assert sorted(line.split()[2] for line in lines) == ["one", "two"]
    found = shell.json("send", "role:builder", "again")
    assert set(found) == {"messages", "waited", "no_wait", "answer"}
    assert [copy["to"] for copy in found["messages"]] == [line.split()[2] for line in lines]
    waiting = shell.run("send", "role:builder", "--wait", "1", "which of you?")
    assert waiting.status == 2
    assert "only an answer of one peer can be waited for" in waiting.err


def test_the_text_comes_from_the_arguments_or_standard_input(shell: Shell) -> None:
    shell.ok("send", "me", "-", stdin=b"line one\nline two\n")
    shell.ok("send", "me", stdin="größe\n".encode())
    shell.ok("send", "me", "--", "-v", "is it")
    shell.ok("reply", shell.json("log", "-n", "1")["messages"][0]["id"], "-", stdin=b"answered")
    texts = [message["text"] for message in shell.json("log")["messages"]]
    assert texts == ["line one\nline two", "größe", "-v is it", "answered"]


def test_texts_that_cannot_be_sent_are_refused_before_anything_is_stored(shell: Shell) -> None:
    shell.place.start()
    cases: tuple[tuple[list[str], bytes | None, str], ...] = (
        (["me", " "], b"", "the text is empty"),
        (["me"], b"\n", "the text is empty"),
        (["me"], None, "standard input is closed"),
        (["me"], b"\xff", "not UTF-8"),
        (["me"], b"x" * (MESSAGE_BYTES_MAX + 1), f"longer than the {MESSAGE_BYTES_MAX} bytes"),
        (["me"], b"\n" * (MESSAGE_BYTES_MAX - 1) + b"x", f"{MESSAGE_BYTES_MAX} fit"),
        ([" ", "x"], b"", "nobody is named"),
        (["me", "--wait", "51", "x"], b"", "cannot wait 51 s"),
        (["me", "--wait", "nan", "x"], b"", "cannot wait nan s"),
        (["me", "--wait", "0", "x"], b"", "cannot wait 0 s"),
        (["me", "--life", "7", "x"], b"", "90s, 30m, 2h, 3d"),
        (["me", "--life", "31d", "x"], b"", "from 1 second to 30 days"),
    )
    started = [shell.start("send", *arguments, stdin=stdin) for arguments, stdin, _ in cases]
    for (arguments, _, says), ended in zip(cases, (command.finish() for command in started), strict=True):
        assert (ended.status, ended.out) == (2, ""), arguments
        assert says in ended.err, arguments
    assert shell.place.row("SELECT count(*) FROM messages")[0] == 0


def test_at_a_terminal_a_text_is_typed_only_if_that_is_asked_for(shell: Shell) -> None:
    missing = shell.run("send", "me", terminal=80)
    assert missing.status == 2
    assert "write it after the recipient, or - to type it" in missing.out
    typed = shell.start("send", "me", "-", terminal=80)
    typed.wait_for("Ctrl-D", "out")
    typed.type("one\ntwo\n\x04")
    assert typed.finish().status == 0
    given_up = shell.start("send", "me", "-", terminal=80)
    given_up.wait_for("Ctrl-C gives it up", "out")
    given_up.type("three\n\x03")
    assert given_up.finish().status == 130
    assert [message["text"] for message in shell.json("log")["messages"]] == ["one\ntwo"]


def test_a_reply_goes_to_the_sender_and_acknowledges(shell: Shell) -> None:
    api = shell.peer("api")
    shell.ok("name")
    question = api.send("may I?", to=shell.me)
    assert "to api (live): queued" in shell.ok("reply", question[:8], "yes")
    (answer,) = api.call("mail.take", call="c_1")["letters"]
    assert (answer["reply_to"], answer["text"]) == (question, "yes")
    assert shell.place.state(question) == "acknowledged"
    unknown, empty = shell.all(["reply", "m_zzzz", "x"], ["reply", "", "x"])
    assert (unknown.status, empty.status) == (1, 2)
    assert "no message" in unknown.err
    assert "no message is named" in empty.err
    assert "to api (live)" in shell.ok("send", "api", "--reply-to", question, "and hurry")


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_an_answer_that_is_waited_for_is_printed_and_then_counts_as_shown(shell: Shell) -> None:
    api = shell.peer("api")
    waiting = shell.start("send", "api", "--wait", "20", "are you done?")
    question = api.read("are you done?")
    answer = api.send("yes\x1b[2J", reply_to=question)
    ended = waiting.finish()
    assert (ended.status, ended.err) == (0, "")
    said = f"{question} to api (live): acknowledged: api answered it\n"
    assert ended.out == f"{said}\napi answers  {answer}\n  | yes[U+001B][2J\n"
    assert shell.place.state(answer) == "shown"
    assert f"from api (codex)  {answer}" not in shell.ok("inbox")


def test_json_holds_the_answer(shell: Shell) -> None:
    api = shell.peer("api")
    waiting = shell.start("send", "api", "--wait", "20", "--json", "and now?")
    answer = api.send("now", reply_to=api.read("and now?"))
    found = waiting.finish()
    assert found.status == 0
    assert f'"answer": {{"id": "{answer}", "text": "now", "frame": "[coterie message ' in found.out


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_an_answer_that_cannot_be_printed_stays_unread(shell: Shell, unbuffered: str) -> None:
    api = shell.peer("api")
    waiting = shell.start("send", "api", "--wait", "20", "hello?", stdout="gone", env={"PYTHONUNBUFFERED": unbuffered})
    answer = api.send("here", reply_to=api.read("hello?"))
    assert waiting.finish().status == 141
    assert shell.place.state(answer) == "queued"
    assert "| here" in shell.ok("inbox")


def test_no_answer_yet_is_exit_4_and_it_comes_as_mail(shell: Shell) -> None:
    api = shell.peer("api")
    ended = shell.run("send", "api", "--wait", "0.05", "quick?")
    assert ended.status == 4
    assert "queued: api looks when it calls a coterie tool" in ended.out
    assert "no answer yet" in ended.err
    api.send("slow", reply_to=ended.out[:14])
    assert "| slow" in shell.ok("inbox")
    found = shell.run("send", "api", "--wait", "0.05", "--json", "quick?")
    assert found.status == 4
    assert '"waited": true, "no_wait": null, "answer": null' in found.out


def test_an_interrupted_wait_says_that_the_message_is_stored(shell: Shell) -> None:
    api = shell.peer("api")
    waiting = shell.start("send", "api", "--wait", "20", "never mind", terminal=120)
    waiting.wait_for("waiting up to 20 s for an answer", "out")
    question = api.read("never mind")
    waiting.type("\x03")
    ended = waiting.finish()
    assert ended.status == 130
    assert f"interrupted; {question} is stored and goes its way (api: offered)" in ended.out


def test_progress_is_for_terminals(shell: Shell) -> None:
    shell.peer("api")
    assert "waiting" not in shell.run("send", "api", "--wait", "0.01", "x").err


# --- a daemon that goes away ------------------------------------------------------------------------------------------


def test_a_send_whose_daemon_dies_before_it_answers_is_sent_again_and_stored_once(shell: Shell) -> None:
    shell.place.start("--crash-at", "before-answer:2")  # The first answer is that to hello.
    before = shell.place.pid()
    said = shell.ok("send", "me", "just once")
    assert shell.place.pid() != before
    assert "queued" in said
    assert shell.place.row("SELECT count(*), min(id) FROM messages") == (1, said[:14])


def test_an_error_after_the_message_left_says_that_it_may_be_stored(shell: Shell) -> None:
    shell.place.start("--crash-at", "before-answer:2")
    switched_off = (
        "import coterie.client as c, os\n"
        "was = c.Client.close\n"
        "def off(self): was(self); os.close(os.open(c.home().off, os.O_CREAT | os.O_WRONLY, 0o600))\n"
        "c.Client.close = off"
    )
    ended = shell.after(switched_off, "send", "me", "is it there?")
    assert ended.status == 3
    assert re.search(rf"switched off on this machine; it is not known whether {ID} was stored", ended.err)
    assert re.search(rf"coterie log --thread {ID}", ended.err)
    assert shell.place.row("SELECT count(*) FROM messages")[0] == 1


# --- in an agent's shell ----------------------------------------------------------------------------------------------


def test_in_an_agents_shell_it_is_the_agent_who_sends(shell: Shell) -> None:
    api, web = shell.place.named("api"), shell.peer("web")
    assert api.run(COTERIE, "send", "web", "from my shell")["status"] == 0
    (letter,) = web.call("mail.take", call="c_1")["letters"]
    assert (letter["from"], letter["kind"], letter["text"]) == ("api", "claude", "from my shell")
