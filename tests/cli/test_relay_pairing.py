"""coterie relay invite, join, pair and accept: two persons, two terminals."""

from __future__ import annotations

import io
import json
import re
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import segno

from cli.conftest import Shell, parsed
from cli.pairing import ASKED, COLUMNS, SHAPES, done, invite, join, pair, spelled, typed
from conftest import wait_for
from coterie import invitations
from coterie.cli.relay import inviting, qr, screens
from coterie.cli.table import text_width
from coterie.errors import PairingFailed

NEVER = """
import coterie.daemon.relay as service
async def never(*_): return False
service.RelayService.met = never
"""
"""A daemon that waits for no link."""
STYLES = re.compile(r"\x1b\[[0-9;]*m")


def config(shell: Shell) -> str:
    return Path(shell.place.home.config).read_text()


def wrong(code: str) -> str:
    """A well-formed relay code of the same place with another secret."""
    host, port = invitations.read(code).addresses[0]
    other = invitations.spell_code(host, port, bytes(3))
    return other if other != code else invitations.spell_code(host, port, bytes([0, 0, 1]))


# --- one command on each side -----------------------------------------------------------------------------------------


@pytest.mark.promise("L1")
def test_what_the_screen_says_is_all_that_is_typed(desk: Shell, laptop: Shell) -> None:
    command, screen = invite(desk)
    line = re.search(r"on the other device type\n\s+coterie (.+)\n", screen)
    assert line
    joined = laptop.run(*line[1].split(), terminal=COLUMNS)
    assert joined.status == 0, str(joined)
    invited = command.finish()
    assert invited.status == 0, str(invited)
    for said in ("paired with laptop (", "it may here: message, see", "laptop is connected"):
        assert said in invited.out
    assert "coterie: the relay is on from now on, so that laptop can come again (" in invited.out
    assert "coterie: to take it all back: coterie relay forget laptop" in invited.out
    assert "enabled = true" in config(desk)
    for said in ("connecting to 127.0.0.1:", "checking the invitation", "it may here: message, see"):
        assert said in joined.out
    ours = desk.json("relay", "identity")["short"]
    assert f"paired with desk ({ours}), connected\n" in joined.out
    assert "enabled" not in config(laptop)


@pytest.mark.parametrize("form", ["words", "link"])
@pytest.mark.promise("L1")
def test_the_words_and_the_link_are_given_where_it_asks(desk: Shell, laptop: Shell, form: str) -> None:
    command, screen = invite(desk, "--words", columns=40)
    text = spelled(screen, form)
    assert ("\n" in text) is (form == "words")  # The words are broken on so narrow a screen, and taken back so.
    assert join(laptop, text, columns=40).status == 0
    assert command.finish().status == 0


@pytest.mark.promise("L1")
def test_a_raw_code_goes_with_an_address(desk: Shell, laptop: Shell) -> None:
    command, screen = invite(desk, "pair")
    line = re.search(r"on the other device type\n\s+coterie (relay accept [0-9a-f-]{19} 127\.0\.0\.1:\d+)\n", screen)
    assert line
    assert "RELAY CODE" not in screen
    assert "INVITE LINK" not in screen
    assert laptop.run(*line[1].split(), terminal=COLUMNS).status == 0
    assert command.finish().status == 0


def test_a_raw_code_waits_for_its_place_and_another_terminal_says_it(desk: Shell, laptop: Shell) -> None:
    command, screen = invite(desk, "pair")
    line = re.search(r"coterie relay accept ([0-9a-f-]{19}) (127\.0\.0\.1:\d+)\n", screen)
    assert line
    accepting = laptop.start("relay", "accept", line[1], "tower", terminal=COLUMNS)
    accepting.wait_for(r"Ctrl-C withdraws it", "out")
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    missed = typed(laptop, "connect", f"127.0.0.1:{port}")
    assert missed.status == 1
    assert f"127.0.0.1:{port} cannot be reached" in missed.out
    accepting.wait_for(r"the code waits for another place", "out")
    told = done(laptop, "connect", line[2])
    accepted = accepting.finish()
    assert accepted.status == 0, str(accepted)
    for said in ("no device known here is called tower; where is the other device?", "coterie relay connect HOST:PORT"):
        assert said in accepted.out
    for on_screen in (told, accepted.out):
        assert "paired with desk (" in on_screen
        assert "it may here: message, see" in on_screen
    assert "a raw code waits in another terminal: pairing by it" in told
    assert command.finish().status == 0


def test_a_raw_code_that_waits_is_withdrawn_with_ctrl_c(laptop: Shell) -> None:
    code = invitations.spell_raw(bytes(7))
    for options in ((), ("--json",)):
        accepting = laptop.start("relay", "accept", code, *options, terminal=COLUMNS)
        accepting.wait_for(r"Ctrl-C withdraws it", "out")
        accepting.interrupt()
        ended = accepting.finish()
        assert (ended.status, "withdrawn: nobody was given the code" in ended.out) == (130, True), str(ended)
    typed_after = typed(laptop, "connect", "127.0.0.1:9")
    assert "no device is paired" in typed_after.out


def test_a_code_that_is_piped_in_is_taken(desk: Shell, laptop: Shell) -> None:
    command, screen = invite(desk)
    code = spelled(screen).lower().replace("-", "\n")
    joined = laptop.run("relay", "join", "--i-am-human", stdin=code.encode())
    assert (joined.status, "paired with desk" in joined.out) == (0, True), str(joined)
    assert "coterie: " not in joined.out
    assert command.finish().status == 0


def test_paired_again_the_relay_is_said_to_be_on_no_second_time(desk: Shell, laptop: Shell) -> None:
    pair(desk, laptop)
    invited, _ = pair(desk, laptop)
    assert "paired with laptop" in invited.out
    assert "the relay is on" not in invited.out


def test_json_is_a_line_at_once_and_one_at_the_end(desk: Shell, laptop: Shell) -> None:
    command = desk.start("relay", "invite", "--json", "--i-am-human")
    first = json.loads(command.wait_for(r"\{.*\}\n", "out"))
    assert {"code", "link", "words", "raw", "expires_s", "listening", "loopback", "without"} <= set(first)
    assert (first["words"], first["raw"], first["expires_s"]) == (None, None, 600)
    joined = laptop.run("relay", "join", first["code"], "--json", "--i-am-human")
    assert (joined.status, joined.err) == (0, "")
    assert parsed(joined.out)["connected"] is True
    invited = command.finish()
    assert (invited.status, invited.err) == (0, "")
    last = parsed(invited.out.splitlines(keepends=True)[1])
    assert (last["stage"], last["ok"], last["turned_on"]) == ("connected", True, True)
    assert last["device"]["name"] == "laptop"
    assert len(invited.out.splitlines()) == 2


def test_paired_and_not_connected_is_not_done(desk: Shell, laptop: Shell) -> None:
    for shell in (desk, laptop):
        shell.place.start(patch=NEVER)
    command, screen = invite(desk)
    joined = join(laptop, spelled(screen))
    invited = command.finish()
    assert (joined.status, invited.status) == (4, 4)
    assert "paired with desk" in joined.out
    assert "laptop is paired, and has not connected yet" in invited.out


# --- the screen -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [40, 80, 100])
def test_the_screen_fits(desk: Shell, columns: int) -> None:
    command, screen = invite(desk, "--words", "--qr", columns=columns, env={"TERM": "xterm"})
    command.interrupt()
    command.finish()
    results = [line for line in STYLES.sub("", screen).splitlines() if not line.startswith("coterie: ")]
    link = spelled(STYLES.sub("", screen), "link")
    for line in results:
        assert text_width(line) <= columns or line == link, line
    assert any("█" in line for line in results)
    identity = desk.json("relay", "identity")["shown"]
    assert identity in "".join(line.strip() for line in results)
    assert invitations.read(spelled(STYLES.sub("", screen), "words")).form == "words"
    assert "\x1b[1mRELAY CODE\x1b[0m" in screen


def modules(lines: list[str]) -> list[list[int]]:
    """The modules of a code that is drawn in half blocks, 1 where it is dark."""
    halves = {"█": (0, 0), "▀": (0, 1), "▄": (1, 0), " ": (1, 1)}
    rows = [[halves[char][half] for char in line] for line in lines for half in (0, 1)]
    return [row[qr.BORDER : -qr.BORDER] for row in rows[qr.BORDER :]]


@pytest.mark.parametrize("env", [{"TERM": "xterm"}, {"NO_COLOR": "1", "TERM": "xterm"}, {"TERM": "dumb"}])
def test_the_qr_code_is_the_link(desk: Shell, env: dict[str, str]) -> None:
    command, screen = invite(desk, "--qr", env=env)
    command.interrupt()
    ended = command.finish()
    drawn = [line for line in screen.splitlines() if re.search("[█▀▄]", line)]
    coloured = env == {"TERM": "xterm"}
    assert all(line.startswith("\x1b[97;40m") is coloured for line in drawn)
    assert ("light letters on a dark ground" in ended.out) is not coloured
    lines = [STYLES.sub("", line) for line in drawn]
    link = spelled(STYLES.sub("", screen), "link")
    wanted = [list(row) for row in segno.make(cast(Any, qr._PARTS.findall(link.upper())), error="l").matrix]
    assert modules(lines)[: len(wanted)] == wanted
    assert replace(invitations.read(link.upper()), name="desk") == invitations.read(link)
    assert len(lines[0]) < len(segno_lines(link)[0])


def segno_lines(text: str) -> list[str]:
    """A text drawn as it stands."""
    out = io.StringIO()
    segno.make(text, micro=False, error="l").terminal(out=out, compact=True, border=qr.BORDER)
    return out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("columns", "env", "said"),
    [
        (30, {}, r"no QR code: it needs 37 columns, and this terminal has 30"),
        (80, {"PYTHONIOENCODING": "ascii"}, r"no QR code: this terminal's encoding has no blocks"),
    ],
)
def test_where_no_qr_code_can_be_drawn_it_is_said(desk: Shell, columns: int, env: dict[str, str], said: str) -> None:
    command, screen = invite(desk, "--qr", columns=columns, env=env)
    command.interrupt()
    command.finish()
    assert re.search(said, screen)
    assert not re.search("[█▀▄]", screen)
    assert spelled(screen, "link")


def test_what_an_invitation_lacks_is_said(desk: Shell) -> None:
    command, screen = invite(desk, "--addr", "box.lan")
    command.interrupt()
    command.finish()
    assert "coterie: no relay code: " in screen
    assert "does not fit into a relay code" in screen
    assert re.search(r"on the other device type\n\s+coterie relay join\nand give it the link\n", screen)
    assert "for this machine alone" not in screen
    command, screen = invite(desk)
    command.interrupt()
    command.finish()
    assert "coterie: that is for this machine alone" in screen


# --- the end of an invitation -----------------------------------------------------------------------------------------


@pytest.mark.promise("L2")
def test_ctrl_c_withdraws_it_and_says_so(desk: Shell, laptop: Shell) -> None:
    command, screen = invite(desk)
    command.interrupt()
    ended = command.finish()
    assert ended.status == 130
    assert "coterie: the invitation is withdrawn; its codes are worth nothing now\n" in ended.out
    assert "Traceback" not in ended.out
    status = desk.json("relay", "status")
    assert (status["invitation_s"], status["listening"]) == (None, [])
    joined = join(laptop, spelled(screen))
    assert joined.status == 1
    assert "hint: " in joined.out


@pytest.mark.promise("L2")
def test_a_wrong_code_burns_it_and_both_screens_say_what_to_do(desk: Shell, laptop: Shell) -> None:
    command, screen = invite(desk)
    joined = join(laptop, wrong(spelled(screen)))
    invited = command.finish()
    assert (joined.status, invited.status) == (1, 1)
    assert "coterie: the code was not accepted, and is burnt now\n" in joined.out
    assert re.search(r"coterie: hint: .*ask for a new invitation", joined.out)
    assert "coterie: somebody tried the invitation with a wrong code, and it is burnt\n" in invited.out
    assert re.search(r"coterie: hint: .*make a new invitation", invited.out)
    assert desk.json("relay", "peers") == {"devices": []}


def test_as_json_a_failure_says_why_and_whether_to_try_again(desk: Shell, laptop: Shell) -> None:
    command = desk.start("relay", "invite", "--json", "--i-am-human")
    code = json.loads(command.wait_for(r"\{.*\}\n", "out"))["code"]
    joined = laptop.run("relay", "join", wrong(code), "--json", "--i-am-human")
    invited = command.finish()
    for ended in (joined, invited):
        error = parsed(ended.out.splitlines(keepends=True)[-1])["error"]
        assert (ended.status, error["kind"], error["reason"], error["again"]) == (1, "pairing-failed", "wrong", False)
        assert error["hint"]


def test_when_its_time_is_over_it_is_said(desk: Shell) -> None:
    desk.place.start(patch="import coterie.limits\ncoterie.limits.INVITATION_S = 0.3\n")
    ended = desk.run("relay", "invite", terminal=COLUMNS)
    assert ended.status == 1
    assert "the invitation is over\ncoterie: hint: to invite again: coterie relay invite\n" in ended.out


def test_a_slip_is_told_before_anything_is_sent(desk: Shell, laptop: Shell) -> None:
    command, screen = invite(desk)
    code = spelled(screen)
    joined = join(laptop, code[:-1] + ("A" if code[-1] != "A" else "B"))
    assert joined.status == 2
    assert "coterie: there is a slip in that relay code\n" in joined.out
    assert "connecting" not in joined.out
    assert join(laptop, code).status == 0
    assert command.finish().status == 0


def test_a_second_invitation_names_the_first(desk: Shell) -> None:
    command, _ = invite(desk)
    ended = typed(desk, "invite")
    assert ended.status == 1
    assert "an invitation is open already" in ended.out
    command.interrupt()
    command.finish()


def test_a_port_that_is_taken_is_named(desk: Shell) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = typed(desk, "invite", "--port", str(port))
    assert ended.status == 1
    assert f"port {port} is taken" in ended.out
    assert "hint: " in ended.out


def test_interrupted_while_it_joins_it_says_what_may_be(desk: Shell, laptop: Shell) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        code = invitations.spell_code("127.0.0.1", silent.getsockname()[1], bytes(3))
        command = laptop.start("relay", "join", code, terminal=COLUMNS)
        command.wait_for("connecting to", "out")
        command.interrupt()
        ended = command.finish()
    assert ended.status == 130
    assert "coterie relay peers says who is paired" in ended.out
    assert "Traceback" not in ended.out


@pytest.mark.parametrize(
    ("text", "status", "said"),
    [
        ("", 2, "there is no invitation"),
        ("cctl://laptop-a3f2@192.168.1.50:9847/k/a3f29b1cd4e5f678", 2, "claudectl"),
        ("a3f2-9b1c-d4e5-f6c7", 2, "says nothing of where the other device is"),
        ("x" * 3000, 2, "too long for an invitation"),
        (invitations.spell_code("127.0.0.1", 1, bytes(3)), 1, "cannot be reached"),
    ],
)
def test_what_goes_wrong_is_said_with_what_to_do(laptop: Shell, text: str, status: int, said: str) -> None:
    ended = laptop.run("relay", "join", "--i-am-human", stdin=text.encode())
    assert (ended.status, ended.out) == (status, ""), str(ended)
    assert said in ended.err
    assert "hint: " in ended.err
    assert "Traceback" not in ended.err


def test_nobody_types_at_a_closed_door(laptop: Shell) -> None:
    ended = laptop.run("relay", "join", "--i-am-human", stdin=None)
    assert (ended.status, "nowhere to ask for the code" in ended.err) == (2, True)
    command = laptop.start("relay", "join", terminal=COLUMNS)
    command.wait_for(ASKED, "out")
    command.type("\x04")
    assert command.finish().status == 130


def test_interrupted_once_it_is_paired_it_says_so(desk: Shell, laptop: Shell) -> None:
    desk.place.start(patch=NEVER.replace("return False", "await __import__('asyncio').sleep(60)"))
    command, screen = invite(desk)
    assert join(laptop, spelled(screen)).status == 0
    command.wait_for("to take it all back", "out")
    command.interrupt()
    ended = command.finish()
    assert ended.status == 130
    assert "interrupted; the invitation was over before: coterie relay peers says who is paired" in ended.out
    assert desk.json("relay", "peers")["devices"][0]["name"] == "laptop"


# --- what is said while it waits --------------------------------------------------------------------------------------


class Silent:
    """A daemon that tells of nothing until time is up."""

    def __init__(self) -> None:
        self.waits: list[float | None] = []

    def next_event(self, wait_s: float | None = None) -> dict[str, object] | None:
        self.waits.append(wait_s)
        over = {"stage": "over", "text": "nobody joined", "done": True, "ok": False, "reason": "expired"}
        return over if wait_s is None else None


def test_whoever_waits_is_told_how_long_it_may_be_yet(capsys: pytest.CaptureFixture[str]) -> None:
    client = Silent()
    with pytest.raises(PairingFailed):
        inviting._await(cast(Any, client), 600.0, as_json=False)
    assert capsys.readouterr().err.splitlines() == [
        "coterie: still waiting; 5 minutes left",
        "coterie: still waiting; 1 minute left",
    ]
    assert client.waits[0] == pytest.approx(300, abs=5)


def test_a_try_that_costs_nothing_is_told_with_where_it_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    event = {"stage": "failed", "text": "a device broke off", "hint": "the invitation holds", "host": "192.0.2.7"}
    screens.inviting(event)
    said = "coterie: a device broke off (from 192.0.2.7)\ncoterie: hint: the invitation holds\n"
    assert capsys.readouterr() == ("", said)


def test_where_the_settings_could_not_be_changed_it_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    device = {"name": "laptop", "short": "2JO4JHY", "grants": []}
    screens.inviting({"stage": "paired", "device": device, "turned_on": True, "problem": "line 3 is no TOML"})
    out, err = capsys.readouterr()
    assert out == "\npaired with laptop (2JO4JHY)\nit may here: nothing\n"
    assert err.startswith("coterie: the relay is on until the daemon ends, and no longer: line 3 is no TOML\n")
    assert "from now on" not in err


def test_five_burnt_ones_name_the_way_out(desk: Shell) -> None:
    event = {"stage": "over", "text": "burnt", "hint": "make a new one", "done": True, "ok": False, "locked": True}
    assert inviting._failure(event).hint.endswith("coterie relay invite --unlock")


def test_every_form_has_its_place_on_the_screen() -> None:
    assert {form.value for form in invitations.Form} == set(SHAPES)


def test_a_daemon_that_ends_ends_the_invitation(desk: Shell) -> None:
    command, _ = invite(desk)
    desk.place.kill()
    ended = command.finish()
    assert ended.status == 3
    assert "the daemon went away" in ended.out
    wait_for(lambda: desk.json("relay", "status")["invitation_s"] is None, "nobody is invited")
