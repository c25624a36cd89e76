"""The relay of two real daemons: pairing, links, rights, and the settings, as the person's verbs have it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Place, a_place, wait_for
from coterie import invitations
from coterie.errors import BadInput, DiskFull, Limited, NoMatch, PairingFailed, Refused
from coterie.limits import BURNT_MAX, FAILURES_MAX
from daemon.disks import FULL_DISK, fill, make_room
from daemon.pairs import PERSON, Computer, Terminal, configure, free_port, pair

LOADED = """
import os, signal, sys
def tell(*_):
    with open(os.path.join(os.environ["HOME"], "modules.part"), "w") as file:
        file.write(" ".join(sys.modules))
    os.rename(file.name, os.path.join(os.environ["HOME"], "modules"))
signal.signal(signal.SIGUSR1, tell)
"""


@pytest.fixture
def other() -> Iterator[Place]:
    """A second home."""
    with a_place() as here:
        yield here


@pytest.fixture
def desk(place: Place) -> Computer:
    return Computer(place, "desk")


@pytest.fixture
def laptop(other: Place) -> Computer:
    return Computer(other, "laptop")


@pytest.mark.parametrize("form", ["code", "words", "link", "raw"])
@pytest.mark.promise("L1")
def test_each_form_of_an_invitation_ends_in_a_link(desk: Computer, laptop: Computer, form: str) -> None:
    inviting = pair(desk, laptop, form)
    assert [told["stage"] for told in inviting.stages] == ["trying", "paired", "connected"]
    assert inviting.stages[-1]["done"]
    theirs, ours = desk.wait("laptop", connected=True), laptop.wait("desk", connected=True)
    assert (theirs["standing"], ours["standing"]) == ("paired", "paired")
    assert theirs["grants"] == theirs["theirs"] == ["message", "see"]
    assert (ours["links_wanted"], theirs["links_wanted"]) == (True, False)
    assert "enabled = true" in desk.config()
    assert "enabled" not in laptop.config()


# --- invitations ------------------------------------------------------------------------------------------------------


def wrong(code: str) -> str:
    """A relay code for the same place that is well formed, and not the one that was given out."""
    invitation = invitations.read(code)
    host, port = invitation.addresses[0]
    other = invitations.spell_code(host, port, bytes(3))
    return other if other != code else invitations.spell_code(host, port, bytes([0, 0, 1]))


@pytest.mark.promise("L2")
def test_a_wrong_code_burns_the_invitation_and_both_are_told(desk: Computer, laptop: Computer) -> None:
    inviting = Terminal(desk.place)
    code = inviting.call("relay.invite", forms=["code"])["code"]
    with pytest.raises(PairingFailed) as caught:
        laptop.call("join", text=wrong(code))
    assert not caught.value.again
    told = inviting.until("over")
    assert (told["reason"], told["done"], told["ok"]) == ("wrong", True, False)
    with pytest.raises(PairingFailed):
        laptop.call("join", text=code)
    assert (desk.call("peers"), laptop.call("peers")) == ({"devices": []}, {"devices": []})
    assert desk.call("status")["listening"] == []


def test_a_slip_of_the_finger_burns_nothing(desk: Computer, laptop: Computer) -> None:
    inviting = Terminal(desk.place)
    code = inviting.call("relay.invite", forms=["code"])["code"]
    with pytest.raises(BadInput, match="slip"):
        laptop.call("join", text=code[:-1] + ("A" if code[-1] != "A" else "B"))
    laptop.call("join", text=code.lower().replace("-", " "))
    inviting.until("connected")


@pytest.mark.promise("L2")
def test_five_burnt_ones_lock_pairing_until_the_person_acts(desk: Computer, laptop: Computer) -> None:
    inviting = Terminal(desk.place)
    for _ in range(BURNT_MAX):
        inviting.stages.clear()
        code = inviting.call("relay.invite", forms=["code"])["code"]
        with pytest.raises(PairingFailed):
            laptop.call("join", text=wrong(code))
        inviting.until("over")
    assert inviting.stages[-1]["locked"]
    with pytest.raises(Limited, match="pairing is locked") as caught:
        inviting.call("relay.invite")
    assert caught.value.hint.endswith("coterie relay invite --unlock")
    assert desk.call("status")["locked"]
    kept = Path(desk.place.home.device, "pairing-locked")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    desk.place.kill()
    desk.start()
    inviting = Terminal(desk.place)
    assert desk.call("status")["locked"]
    with pytest.raises(Limited, match="pairing is locked"):
        inviting.call("relay.invite")
    code = inviting.call("relay.invite", unlock=True)["code"]
    assert not kept.exists()
    laptop.call("join", text=code)
    inviting.until("connected")
    desk.place.kill()
    desk.start()
    assert not desk.call("status")["locked"]


def test_a_new_invitation_is_for_those_too_who_failed_too_often_before(desk: Computer, laptop: Computer) -> None:
    inviting = Terminal(desk.place)
    code = inviting.call("relay.invite")["code"]
    for _ in range(FAILURES_MAX):
        with socket.create_connection(("127.0.0.1", desk.port)) as stranger:
            stranger.shutdown(socket.SHUT_WR)
            stranger.recv(1)
    with pytest.raises(PairingFailed) as caught:
        laptop.call("join", text=code)
    assert (caught.value.reason, caught.value.again) == ("closed", True)
    assert inviting.call("relay.withdraw")["withdrawn"]
    laptop.call("join", text=inviting.call("relay.invite")["code"])
    inviting.until("connected")


def test_an_invitation_is_withdrawn_with_the_terminal_that_made_it(desk: Computer, laptop: Computer) -> None:
    inviting = Terminal(desk.place)
    code = inviting.call("relay.invite")["code"]
    assert desk.call("status")["invitation_s"] > 500
    with pytest.raises(Refused, match="an invitation is open already"):
        desk.call("invite")
    assert desk.call("status")["invitation_s"] > 500
    inviting.close()
    wait_for(lambda: desk.call("status")["invitation_s"] is None, "it is withdrawn")
    wait_for(lambda: desk.call("status")["listening"] == [], "nothing listens")
    with pytest.raises(PairingFailed):
        laptop.call("join", text=code)
    again = Terminal(desk.place)
    again.call("relay.invite")
    assert again.call("relay.withdraw") == {"withdrawn": True}
    assert again.until("over")["reason"] == "withdrawn"
    assert again.call("relay.withdraw") == {"withdrawn": False}


def test_an_invitation_ends_by_itself(place: Place) -> None:
    desk = Computer(place, "desk", early="import coterie.limits\ncoterie.limits.INVITATION_S = 0.3\n")
    inviting = Terminal(desk.place)
    inviting.call("relay.invite")
    assert inviting.until("over")["reason"] == "expired"
    wait_for(lambda: desk.call("status")["listening"] == [], "nothing listens")


def test_a_port_that_is_taken_is_named_with_the_way_out(desk: Computer, laptop: Computer) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", desk.port))
        other.listen()
        with pytest.raises(Refused, match=f"port {desk.port} is taken") as caught:
            desk.call("invite")
        assert "--port" in caught.value.hint
        assert desk.call("status")["invitation_s"] is None
        inviting, port = Terminal(desk.place), free_port()
        invitation = inviting.call("relay.invite", port=port)
        assert invitation["listening"] == [f"127.0.0.1:{port}"]
        laptop.call("join", text=invitation["code"])
        assert inviting.until("connected")["ok"]
        assert f"listen_port = {port}" in desk.config()
        with pytest.raises(Refused, match=f"listens on port {port} already"):
            desk.call("invite", port=desk.port)


def test_where_an_address_does_not_fit_into_a_code_it_is_said(desk: Computer) -> None:
    found = desk.call("invite", addr="box.lan")
    assert (found["code"], found["listening"]) == (None, [f"box.lan:{desk.port}"])
    assert f"@box.lan:{desk.port}/k/" in found["link"]
    assert "does not fit into a relay code" in found["without"]["code"]
    desk.call("withdraw")
    with pytest.raises(BadInput, match="no form of an invitation fits"):
        desk.call("invite", addr="box.lan", forms=["words"])
    with pytest.raises(BadInput, match="no form 'smoke'"):
        desk.call("invite", forms=["smoke"])


def test_a_code_without_a_place_is_told_what_it_lacks(desk: Computer, laptop: Computer) -> None:
    inviting = Terminal(desk.place)
    raw = inviting.call("relay.invite", forms=["raw"])["raw"]
    with pytest.raises(BadInput, match="says nothing of where"):
        laptop.call("join", text=raw)
    with pytest.raises(BadInput, match="is no address"):
        laptop.call("accept", code=raw, peer="not an address")
    code = invitations.spell_code("127.0.0.1", 1, bytes(3))
    with pytest.raises(BadInput, match="no raw code"):
        laptop.call("accept", code=code, peer="127.0.0.1:1")


# --- a raw code that waits for its place ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("named", "why"), [({}, ""), ({"peer": "tower"}, "no device known here is called tower; ")], ids=["none", "unknown"]
)
def test_a_raw_code_waits_until_the_person_says_where_to(
    desk: Computer, laptop: Computer, named: dict[str, str], why: str
) -> None:
    inviting, accepting = Terminal(desk.place), Terminal(laptop.place)
    invitation = inviting.call("relay.invite", forms=["raw"])
    accepting.begin("relay.accept", code=invitation["raw"], **named)
    asked = accepting.until("where")
    assert asked["text"] == f"{why}where is the other device? Type in another terminal: coterie relay connect HOST:PORT"
    assert not asked["done"]
    with pytest.raises(Refused, match="another raw code waits"):
        laptop.call("accept", code=invitation["raw"])
    with pytest.raises(PairingFailed, match="cannot be reached") as caught:
        laptop.call("connect", to=f"127.0.0.1:{free_port()}")
    assert caught.value.again
    assert "the code waits for another place" in accepting.until("failed")["text"]
    card = laptop.call("connect", to=invitation["listening"][0])
    assert (card["name"], card["paired"], card["connected"]) == ("desk", True, True)
    there = accepting.answer()
    assert (there["id"], there["connected"]) == (card["id"], True)
    for terminal in (accepting, laptop.terminal):
        assert terminal.stages[-1]["stage"] == "connected"
        assert terminal.stages[-1]["done"]
    inviting.until("connected")
    assert not laptop.call("connect", to=invitation["listening"][0])["paired"]


def test_so_it_does_where_nobody_knows_how_a_known_device_is_reached(desk: Computer, laptop: Computer) -> None:
    pair(desk, laptop)
    accepting = Terminal(desk.place)
    accepting.begin("relay.accept", code=invitations.spell_raw(bytes(7)), peer="LAPTOP")
    assert accepting.until("where")["text"].startswith("it is not known where laptop is; ")


def test_a_raw_code_that_waits_and_is_burnt_ends_for_both_terminals(desk: Computer, laptop: Computer) -> None:
    inviting, accepting = Terminal(desk.place), Terminal(laptop.place)
    invitation = inviting.call("relay.invite", forms=["raw"])
    accepting.begin("relay.accept", code=invitations.spell_raw(bytes(7)))
    accepting.until("where")
    for ends in (lambda: laptop.call("connect", to=invitation["listening"][0]), accepting.answer):
        with pytest.raises(PairingFailed) as caught:
            ends()
        assert (caught.value.reason, caught.value.again) == ("wrong", False)
    assert inviting.until("over")["reason"] == "wrong"
    with pytest.raises(Refused, match="no device is paired"):
        laptop.call("connect", to=invitation["listening"][0])


def test_a_raw_code_waits_no_longer_than_its_terminal(laptop: Computer) -> None:
    code = invitations.spell_raw(bytes(7))
    first = Terminal(laptop.place)
    first.begin("relay.accept", code=code)
    first.until("where")
    first.close()
    again = Terminal(laptop.place)

    def waits() -> bool:
        again.begin("relay.accept", code=code)
        again._read()  # The question where to, or that another one waits.
        return bool(again.stages)

    wait_for(waits, "another terminal may wait")


def test_a_raw_code_waits_no_longer_than_it_holds(other: Place) -> None:
    laptop = Computer(other, "laptop", early="import coterie.limits\ncoterie.limits.INVITATION_S = 0.3\n")
    with pytest.raises(PairingFailed, match="nobody said within") as caught:
        laptop.call("accept", code=invitations.spell_raw(bytes(7)))
    assert (caught.value.reason, caught.value.again) == ("expired", False)


def test_a_device_of_the_same_name_as_this_one_gets_another(place: Place, other: Place) -> None:
    one, two = Computer(place, "vm"), Computer(other, "vm")
    pair(one, two)
    assert (one.call("peers")["devices"][0]["name"], two.call("peers")["devices"][0]["name"]) == ("vm-2", "vm-2")


def test_a_second_device_with_the_right_code_is_refused_and_the_person_warned(desk: Computer, laptop: Computer) -> None:
    inviting = Terminal(desk.place)
    code = inviting.call("relay.invite")["code"]
    laptop.call("join", text=code)
    inviting.until("connected")
    with a_place() as third:
        phone = Computer(third, "phone")
        with pytest.raises(PairingFailed) as caught:
            phone.call("join", text=code)
        assert caught.value.reason == "used"
    warned = "SELECT text FROM messages WHERE sender = 'coterie'"
    wait_for(lambda: desk.place.rows(warned), "the person is warned")
    assert desk.place.row(warned)[0].startswith("a second device has the right code")
    assert [device["name"] for device in desk.call("peers")["devices"]] == ["laptop"]


@pytest.mark.promise("S7")
def test_nothing_of_a_secret_is_written_down(desk: Computer, laptop: Computer) -> None:
    inviting = Terminal(desk.place)
    found = inviting.call("relay.invite", forms=["code", "words", "link", "raw"])
    laptop.call("join", text=found["words"])
    inviting.until("connected")
    keys = [path.read_text().strip() for one in (desk, laptop) for path in Path(one.place.home.device).glob("pairs/*")]
    assert len(set(keys)) == 1 < len(keys)
    secrets = [found[form] for form in ("code", "words", "link", "raw")] + keys
    for one in (desk, laptop):
        one.place.kill()
        for path in Path(one.place.home.folder).rglob("*"):
            if path.is_file() and path.parent.name != "pairs":
                held = path.read_bytes()
                assert [s for s in secrets if s.encode() in held or s.replace("-", "").encode() in held] == []


# --- what is there before anything is wanted --------------------------------------------------------------------------


@pytest.mark.promise("S3")
def test_a_daemon_that_nobody_wants_to_connect_pays_nothing(place: Place) -> None:
    place.start(patch=PERSON + LOADED)
    terminal = Terminal(place)
    assert terminal.call("relay.status")["id"] is None
    assert terminal.call("relay.peers") == {"devices": []}
    terminal.call("daemon.status")
    assert not os.path.exists(place.home.device)
    os.kill(place.pid(), signal.SIGUSR1)
    wait_for((place.root / "modules").exists, "it tells what it has loaded")
    modules = (place.root / "modules").read_text().split()
    assert "coterie.daemon.relay" in modules
    # asyncio loads ssl by itself; what makes contexts and connections of it is ours.
    assert not {"coterie.net.relay", "coterie.net.tls", "coterie.net.pairings", "coterie.net.pake"} & set(modules)
    loaded = {name.partition(".")[0] for name in modules}
    assert loaded & {"cryptography", "spake2", "segno", "psutil", "ctypes"} <= {"ctypes"}


def test_the_identity_is_made_once(desk: Computer) -> None:
    first = desk.call("identity")
    assert first["name"] == "desk"
    assert first["shown"].replace("-", "") == first["id"]
    desk.place.kill()
    desk.start()
    assert desk.call("identity") == first
    assert desk.call("status")["listening"] == []


# --- links ------------------------------------------------------------------------------------------------------------


@pytest.mark.promise("L3")
def test_after_either_daemon_was_killed_there_is_a_link_again(desk: Computer, laptop: Computer) -> None:
    pair(desk, laptop)
    for one, here, there in ((desk, desk, laptop), (laptop, laptop, desk)):
        one.place.kill()
        there.wait(here.name, connected=False)
        assert there.card(here.name)["last_seen_s"] < 60
        one.start()
        there.wait(here.name, connected=True)
        here.wait(there.name, connected=True)


@pytest.mark.promise("S10")
def test_a_device_that_was_forgotten_is_cut_off_at_once_and_told(desk: Computer, laptop: Computer) -> None:
    pair(desk, laptop)
    desk.wait("laptop", connected=True)
    id_ = laptop.card("desk")["id"]
    begun = time.monotonic()
    assert desk.call("forget", device="laptop")["standing"] == "forgotten"
    laptop.wait("desk", connected=False)
    assert time.monotonic() - begun < 1
    assert desk.call("peers") == {"devices": []}
    assert list(Path(desk.place.home.device).glob("pairs/*")) == []
    laptop.wait("desk", has_forgotten=True, links_wanted=False)
    notices = "SELECT text FROM messages WHERE sender = 'coterie'"
    wait_for(lambda: laptop.place.rows(notices), "the person there is told")
    assert laptop.place.row(notices)[0].startswith("desk has forgotten this device\n")
    laptop.place.kill()
    laptop.start()
    assert laptop.card("desk")["has_forgotten"]
    with pytest.raises(NoMatch, match="no paired device is called"):
        desk.call("forget", device="laptop")
    pair(desk, laptop)
    assert laptop.card("desk")["id"] == id_


def test_a_device_that_could_not_be_forgotten_is_there_again_with_its_key(place: Place, laptop: Computer) -> None:
    """The store has the device as long as it could not write that it was forgotten, so its key must be there too."""
    desk = Computer(place, "desk", patch=FULL_DISK)
    pair(desk, laptop)
    wait_for(lambda: place.row("SELECT standing FROM devices")[0] == "paired", "that they met is on the disk")
    kept = next(Path(place.home.device).glob("pairs/*"))
    key = kept.read_text()
    fill(place)
    with pytest.raises(DiskFull):
        desk.call("forget", device="laptop")
    assert kept.read_text() == key
    laptop.wait("desk", connected=False, has_forgotten=True)
    place.kill()
    make_room(place)
    desk.start()
    assert desk.card("laptop")["standing"] == "paired"
    laptop.call("connect", to="desk")
    desk.wait("laptop", connected=True)
    desk.call("forget", device="laptop")
    assert not kept.exists()


def test_pairing_again_renews_the_key_of_the_same_device(desk: Computer, laptop: Computer) -> None:
    pair(desk, laptop)
    desk.call("rename", device="laptop", name="lap")
    desk.call("grant", device="lap", grants=["task"])
    key = next(Path(desk.place.home.device).glob("pairs/*")).read_text()
    pair(desk, laptop, "link")
    card = desk.wait("lap", connected=True, standing="paired")
    assert card["grants"] == ["message", "see", "task"]
    assert len(desk.call("peers")["devices"]) == 1
    assert next(Path(desk.place.home.device).glob("pairs/*")).read_text() != key


@pytest.mark.promise("L3")
def test_disconnected_it_stays_until_the_person_connects(desk: Computer, laptop: Computer) -> None:
    pair(desk, laptop)
    assert desk.call("disconnect", device="laptop")["parted"]
    desk.wait("laptop", connected=False)
    laptop.wait("desk", connected=False)
    wait_for(lambda: laptop.log().count("no link to 127.0.0.1") > 1, "the other tries in vain")
    assert not desk.card("laptop")["connected"]
    desk.call("connect", to="laptop")
    laptop.wait("desk", connected=True)
    laptop.call("disconnect", device="desk")
    assert not laptop.wait("desk", connected=False)["links_wanted"]
    with pytest.raises(Refused, match="it is not known where laptop is"):
        desk.call("connect", to="laptop")


def test_connecting_by_an_address_finds_the_device_that_is_there(desk: Computer, laptop: Computer) -> None:
    pair(desk, laptop)
    laptop.call("disconnect", device="desk")
    laptop.wait("desk", connected=False, links_wanted=False)
    card = laptop.call("connect", to=f"localhost:{desk.port}")
    assert (card["name"], card["connected"], card["links_wanted"]) == ("desk", True, True)
    assert f"localhost:{desk.port}" in card["addresses"]
    with pytest.raises(Refused, match="nothing listens there"):
        laptop.call("connect", to=f"127.0.0.1:{free_port()}")


def test_a_device_is_renamed_here_alone(desk: Computer, laptop: Computer) -> None:
    pair(desk, laptop)
    assert desk.call("rename", device="laptop", name="lap.2")["before"] == "laptop"
    assert laptop.call("identity")["name"] == "laptop"
    for name in ("a b", "a@b", "x" * 41, "-"):
        with pytest.raises(BadInput, match="no device can be called"):
            desk.call("rename", device="lap.2", name=name)


# --- rights -----------------------------------------------------------------------------------------------------------


@pytest.mark.promise("L4")
def test_rights_are_given_and_taken_at_once_and_both_know(desk: Computer, laptop: Computer) -> None:
    pair(desk, laptop)
    given = desk.call("grant", device="laptop", grants=["task", "exec"])
    assert (given["grants"], given["changed"]) == (["exec", "message", "see", "task"], ["exec", "task"])
    laptop.wait("desk", theirs=["exec", "message", "see", "task"])
    desk.call("revoke", device="laptop", grants=["see", "exec"])
    laptop.wait("desk", theirs=["message", "task"])
    for one in (laptop, desk):
        one.place.kill()
    laptop.start()
    assert laptop.card("desk")["theirs"] == ["message", "task"], "also while it is away"
    desk.start()
    assert desk.card("laptop")["grants"] == ["message", "task"]
    for wrong_one in (["fly"], []):
        with pytest.raises(BadInput, match="no right"):
            desk.call("grant", device="laptop", grants=wrong_one)


# --- life -------------------------------------------------------------------------------------------------------------


def test_a_daemon_stays_while_a_link_is_wanted_and_no_longer(desk: Computer, laptop: Computer) -> None:
    pair(desk, laptop)
    for one in (desk, laptop):
        one.place.kill()
        one.settings["daemon_idle_exit_s"] = 1
    configure(laptop.place, **laptop.settings)
    laptop.start()
    laptop.terminal.close()
    daemon = laptop.place.daemons[-1]
    with pytest.raises(subprocess.TimeoutExpired):
        daemon.wait(2.5)
    Terminal(laptop.place).call("relay.disconnect", device="desk")
    for connection in laptop.place.connections:
        connection.close()
    assert daemon.wait(20) == 0


def test_where_the_settings_cannot_be_changed_it_listens_for_now(place: Place, other: Place) -> None:
    desk, laptop = Computer(place, "desk"), Computer(other, "laptop")
    text = f"relay.listen_addr = '127.0.0.1'\nrelay.listen_port = {desk.port}\n"
    Path(place.home.config).write_text(text)
    inviting = pair(desk, laptop)
    told = inviting.until("paired")
    assert "cannot be edited from here" in told["problem"]
    assert (told["relay_on"], desk.config()) == (True, text)
    assert desk.call("status")["listening"] == [f"127.0.0.1:{desk.port}"]
    assert desk.call("serve", on=False)["listening"] == []


def test_where_it_cannot_listen_the_settings_stay_as_they_are(desk: Computer) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken, before = other.getsockname()[1], desk.config()
        with pytest.raises(Refused, match=f"port {taken} is taken"):
            desk.call("serve", port=taken)
    assert desk.config() == before
    assert desk.call("status")["problem"] is None
    found = desk.call("serve", port=0)
    assert (found["enabled"], found["listening"]) == (True, [f"127.0.0.1:{found['port']}"])
    assert f"listen_port = {found['port']}" in desk.config()
    assert desk.call("serve", on=False)["listening"] == []


MALFORMED = """
import coterie.daemon.abouts as abouts
def tell(self, device):
    self._network.send(device.id, "about", **{**self._about_us(), "grants": [], **WRONG})
abouts.Abouts.tell = tell
"""


@pytest.mark.parametrize(
    "wrong_one",
    [
        {"name": 5},
        {"name": "x" * 41},
        {"version": None},
        {"version": "x" * 41},
        {"grants": "see"},
        {"grants": ["x" * 16]},
        {"grants": ["see"] * 17},
        {"addresses": "box:1"},
        {"addresses": ["box:1"] * 9},
    ],
    ids=str,
)
def test_what_a_device_says_of_itself_is_looked_at(place: Place, other: Place, wrong_one: dict[str, object]) -> None:
    desk, laptop = Computer(place, "desk"), Computer(other, "laptop", patch=f"WRONG = {wrong_one}\n{MALFORMED}")
    inviting = Terminal(desk.place)
    code = inviting.call("relay.invite")["code"]
    laptop.call("join", text=code)
    wait_for(lambda: "sent a about that breaks the rules" in desk.log(), "the link is cut")
    assert desk.card("laptop")["theirs"] is None


def test_addresses_that_a_device_tells_are_bounded_and_spelled_our_way(place: Place, other: Place) -> None:
    told = {"addresses": ["BOX.lan:1", "not an address", "::1", "box.lan:1"], "name": "a\u202eb"}
    desk, laptop = Computer(place, "desk"), Computer(other, "laptop", patch=f"WRONG = {told}\n{MALFORMED}")
    pair(desk, laptop)
    card = desk.wait("laptop", addresses=["box.lan:1", "[::1]:9847"])
    assert card["calls_itself"] == "a-U-202E-b"
