"""The local socket, byte by byte: whatever comes, the answer is clear, the connection lives, and nothing leaks."""

from __future__ import annotations

import json
import os
import random
import select
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Place, wait_for
from coterie import ids
from coterie.limits import IN_FLIGHT_MAX, LINE_BYTES_MAX, MIB, OUTGOING_BYTES_MAX
from daemon.sessions import configure
from wire import Json, Raw, kind, request

HELLO = request(1, "hello", protocol=[1, 1], version="0", client="test")
SESSION = {"kind": "claude", "session": "s", "cwd": "/"}


@pytest.fixture
def raw(daemon: Place) -> Iterator[Raw]:
    """A connection on which hello was said."""
    with Raw(daemon.home.socket) as connection:
        yield connection.greet()


def lives(raw: Raw) -> bool:
    """Whether the connection still serves."""
    return "result" in raw.call("daemon.status")


# --- every request, in every piece ---------------------------------------------------------------------------------


def every_request() -> list[bytes]:
    """A request for every method but those that end the daemon, each with the answer of a result or an error."""
    message = ids.new_message_id()
    return [
        request(2, "daemon.status"),
        request(3, "session.event", event="start", **SESSION),
        request(4, "session.event", event="prompt", prompt='wörds, 速い, 🚀 and \\ " \n', room=8000, **SESSION),
        request(5, "peers.register", kind="other", cwd="/tmp"),
        request(6, "peers.describe", name="ann", role="builder", summary="größer"),
        request(7, "peers.list", scope="machine"),
        request(8, "peers.rename_other", peer="ann", name="bob"),
        request(9, "messages.send", id=message, to="me", text="to myself"),
        request(10, "messages.log", limit=5),
        request(11, "messages.read", message=message, call="c"),
        request(12, "mail.take", call="c_1", check=True),
        request(13, "mail.shown", call="c_1"),
        request(14, "mail.failed", call="c_1"),
        request(15, "offers.written", call="c_1"),
        request(16, "offers.failed", call="c_1", reason="none"),
    ]


def served(place: Place, pieces: Callable[[bytes], list[bytes]]) -> dict[int, str]:
    """Each request by itself, in pieces; whether its answer was a result, or which error."""
    found = {}
    with Raw(place.home.socket) as raw:
        for line in [HELLO, *every_request()]:
            for piece in pieces(line):
                raw.send(piece)
            answer = raw.answer()
            found[answer["id"]] = kind(answer) if "error" in answer else "result"
    return found


def test_requests_may_come_in_any_pieces(place: Place) -> None:
    found = []
    ways: list[Callable[[bytes], list[bytes]]] = [
        lambda line: [line],
        lambda line: [line[at : at + 1] for at in range(len(line))],
        lambda line: [line[: len(line) // 2], line[len(line) // 2 :]],
        lambda line: [b"\r\n \n" + line[:-1] + b" \r\n"],
    ]
    for way in ways:
        place.start()
        found.append(served(place, way))
        place.kill()
        os.unlink(place.home.database)
    assert found[0] == found[1] == found[2] == found[3]
    assert [number for number, what in found[0].items() if what != "result"] == [8]
    assert found[0][8] == "human-only"


def test_requests_may_come_all_at_once(daemon: Place) -> None:
    with Raw(daemon.home.socket) as raw:
        lines = [HELLO, *every_request()]
        raw.send(b"".join(lines))
        answers = raw.answers(len(lines))
    assert {answer["id"] for answer in answers} == set(range(1, 17))


def test_a_request_with_garbage_in_its_line_is_not_carried_out(daemon: Place, raw: Raw) -> None:
    for garbage in (b"}", b" {}", b"\x00", b"\xff"):
        for line in every_request():
            raw.send(line[:-1] + garbage + b"\n")
            answer = raw.answer()
            assert (answer["id"], kind(answer)) == (None, "bad-line"), line
    assert daemon.row("SELECT (SELECT count(*) FROM peers) + (SELECT count(*) FROM messages)")[0] == 0
    assert lives(raw)


def test_garbage_after_a_request_is_an_error_of_its_own(raw: Raw) -> None:
    for garbage in (b"}", b"garbage", b"\x00", b"\xff\xfe", b'{"half": '):
        raw.send(request(7, "daemon.status") + garbage + b"\n")
        first, second = raw.answers(2)
        assert (first["id"], "result" in first) == (7, True)
        assert (second["id"], kind(second)) == (None, "bad-line")
        assert lives(raw)


def test_the_beginning_of_a_line_that_never_ends_is_no_answer_and_no_harm(daemon: Place) -> None:
    with Raw(daemon.home.socket) as raw:
        raw.greet().send(b'{"jsonrpc": "2.0", "id": 1, "meth')
    with Raw(daemon.home.socket) as raw:
        assert lives(raw.greet())


# --- what is no request --------------------------------------------------------------------------------------------

BAD = {
    "not JSON": (b"hello?", -32700, "not JSON"),
    "a member twice": (b'{"jsonrpc":"2.0","id":1,"method":"daemon.status","id":2}', -32700, "'id' stands twice"),
    "twice, deep inside": (
        b'{"jsonrpc":"2.0","id":1,"method":"m","params":[{"b":1,"b":2}]}',
        -32700,
        "stands twice",
    ),
    "NaN": (b'{"jsonrpc":"2.0","id":1,"method":"daemon.status","params":{"x":NaN}}', -32700, "NaN is not JSON"),
    "Infinity": (b'{"jsonrpc":"2.0","id":1,"method":"daemon.status","params":{"x":-Infinity}}', -32700, "is not JSON"),
    "a number that overflows": (b'{"jsonrpc":"2.0","id":1,"method":"m","params":{"x":1e999}}', -32700, "too large"),
    "an endless integer": (b'{"jsonrpc":"2.0","id":' + b"9" * 5000 + b',"method":"m"}', -32700, "too large"),
    "a depth bomb": (b"[" * 100_000, -32700, "nested deeper"),
    "a depth bomb that closes": (b'{"a":' * 40 + b"1" + b"}" * 40, -32700, "nested deeper"),
    "a line too long": (b'{"jsonrpc":"2.0","id":1,"method":"' + b"x" * LINE_BYTES_MAX + b'"}', -32700, "longer than"),
    "not UTF-8": (b'{"jsonrpc":"2.0","id":1,"method":"\xff"}', -32700, "not UTF-8"),
    "an overlong encoding": (b'{"jsonrpc":"2.0","id":1,"method":"\xc0\xaf"}', -32700, "not UTF-8"),
    "half a surrogate pair": (b'{"jsonrpc":"2.0","id":1,"method":"\\ud800"}', -32700, "half a surrogate"),
    "a text": (b'"daemon.status"', -32700, "one JSON object"),
    "null": (b"null", -32700, "one JSON object"),
    "a batch": (b'[{"jsonrpc":"2.0","id":1,"method":"daemon.status"}]', -32602, "batches are not served"),
    "an empty batch": (b"[]", -32602, "batches are not served"),
    "no id": (b'{"jsonrpc":"2.0","method":"daemon.status"}', -32602, "the id must be"),
    "an id that is null": (b'{"jsonrpc":"2.0","id":null,"method":"daemon.status"}', -32602, "the id must be"),
    "an id that is true": (b'{"jsonrpc":"2.0","id":true,"method":"daemon.status"}', -32602, "the id must be"),
    "no method": (b'{"jsonrpc":"2.0","id":1}', -32602, "not a JSON-RPC 2.0 request"),
    "a method that is no text": (b'{"jsonrpc":"2.0","id":1,"method":7}', -32602, "not a JSON-RPC 2.0 request"),
    "params that are a list": (
        b'{"jsonrpc":"2.0","id":1,"method":"daemon.status","params":[]}',
        -32602,
        "not a JSON-RPC",
    ),
    "params that are null": (
        b'{"jsonrpc":"2.0","id":1,"method":"daemon.status","params":null}',
        -32602,
        "not a JSON-RPC",
    ),
    "no version": (b'{"id":1,"method":"daemon.status"}', -32602, "not a JSON-RPC 2.0 request"),
    "another version": (b'{"jsonrpc":"1.0","id":1,"method":"daemon.status"}', -32602, "not a JSON-RPC 2.0 request"),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.promise("N1")
def test_what_is_no_request_gets_a_clear_error_and_the_connection_lives_on(raw: Raw, what: str) -> None:
    line, code, words = BAD[what]
    raw.send(line + b"\n")
    answer = raw.answer()
    assert answer["error"]["code"] == code
    assert kind(answer) == {-32700: "bad-line", -32602: "bad-input"}[code]
    assert words in answer["error"]["message"]
    assert answer["id"] in (None, 1)
    assert lives(raw)


def test_missing_params_are_no_params(raw: Raw) -> None:
    raw.send(b'{"jsonrpc":"2.0","id":"a text","method":"daemon.status"}\n')
    assert raw.answer()["id"] == "a text"


def test_an_unknown_method_is_told_by_name(raw: Raw) -> None:
    answer = raw.call("peers.eat", who="all")
    assert (answer["error"]["code"], kind(answer)) == (-32601, "unknown-method")
    assert "'peers.eat'" in answer["error"]["message"]
    assert "older" in answer["error"]["data"]["hint"]
    assert lives(raw)


@pytest.mark.parametrize(
    ("method", "params", "words"),
    [
        ("hello", {"protocol": 1, "client": "test"}, "protocol must be a list"),
        ("hello", {"protocol": [1, True], "client": "test"}, "protocol must be a list"),
        ("hello", {"protocol": [1, 1], "client": ""}, "client is empty"),
        ("messages.send", {"to": "me", "text": "x"}, "id must be a text"),
        ("messages.send", {"id": "m_1", "to": "me", "text": "x"}, "is not a message id"),
        ("messages.log", {"limit": "ten"}, "limit must be a number"),
        ("messages.log", {"limit": 10**30}, "limit must be between"),
        ("mail.take", {"call": "c", "check": 1}, "check must be true or false"),
        ("peers.list", {"scope": "moon"}, "no scope 'moon'"),
        ("peers.register", {"kind": "other"}, "cwd must be a text"),
        ("session.event", {"event": "birth", **SESSION}, "no event 'birth'"),
    ],
)
def test_params_of_the_wrong_kind_are_named(raw: Raw, method: str, params: Json, words: str) -> None:
    raw.call("peers.register", kind="other", cwd="/")
    answer = raw.call(method, **params)
    assert kind(answer) == "bad-input"
    assert words in answer["error"]["message"]
    assert lives(raw)


# --- hello ---------------------------------------------------------------------------------------------------------


def test_nothing_is_served_before_hello(daemon: Place) -> None:
    with Raw(daemon.home.socket) as raw:
        for line in every_request():
            raw.send(line)
            answer = raw.answer()
            assert answer["id"] == json.loads(line)["id"]
            assert (kind(answer), answer["error"]["message"]) == ("bad-input", "say hello first")
        assert lives(raw.greet())
    assert daemon.row("SELECT count(*) FROM peers")[0] == 0


def test_who_says_no_hello_is_told_and_cut_off(place: Place) -> None:
    """However busily it talks meanwhile; who said it in time stays."""
    place.start(patch="import coterie.limits; coterie.limits.HELLO_S = 0.3")
    with Raw(place.home.socket) as silent, Raw(place.home.socket) as busy, Raw(place.home.socket) as polite:
        polite.greet()
        busy.send(request(1, "daemon.status") + b'{"jsonrpc":')
        assert busy.answer()["id"] == 1
        for raw in (silent, busy):
            last = raw.answer()
            assert "no hello within 0.3 s" in last["error"]["message"]
            assert raw.ends()
        assert lives(polite)


def test_hello_may_be_said_again(raw: Raw) -> None:
    assert lives(raw.greet().greet())


# --- many at once --------------------------------------------------------------------------------------------------


def test_pipelined_requests_are_all_answered_once(place: Place) -> None:
    """Ten times as many as may be under way at once."""
    count = 10 * IN_FLIGHT_MAX
    configure(place, pair_burst=count, exchange=count)
    place.start()
    numbers = range(1000, 1000 + count)
    with Raw(place.home.socket) as raw:
        raw.greet().call("peers.register", kind="other", cwd="/")
        raw.send(b"".join(request(n, "messages.send", id=ids.new_message_id(), to="me", text=f"{n}") for n in numbers))
        answers = raw.answers(count)
        assert sorted(answer["id"] for answer in answers) == list(numbers)
        assert all("result" in answer for answer in answers)
        assert place.row("SELECT count(*), count(DISTINCT id) FROM messages") == (count, count)
        assert lives(raw)


@pytest.mark.promise("N2")
def test_what_is_under_way_is_bounded_and_the_rest_waits_unread(daemon: Place, raw: Raw) -> None:
    """64 sends that wait for answers keep the connection from being read, until half of them have one."""
    with Raw(daemon.home.socket) as other:
        other.greet().call("session.event", event="start", **SESSION)
        answering = other.call("peers.register", kind="codex", session="answering", cwd="/")["result"]["peer"]["id"]
        raw.call("peers.register", kind="other", cwd="/")
        questions = {number: ids.new_message_id() for number in range(1000, 1000 + IN_FLIGHT_MAX)}
        for number, message in questions.items():
            raw.send(request(number, "messages.send", id=message, to=answering, text=f"{number}?", wait_s=50))
        wait_for(lambda: daemon.row("SELECT count(*) FROM messages")[0] == IN_FLIGHT_MAX, "all are stored")
        raw.send(request(7, "daemon.status"))
        for message in questions.values():
            other.call("messages.send", id=ids.new_message_id(), reply_to=message, text=f"{message}!")
    order = [answer["id"] for answer in raw.answers(IN_FLIGHT_MAX + 1)]
    assert sorted(order) == [7, *questions]
    assert order.index(7) >= IN_FLIGHT_MAX // 2


# --- who does not read ---------------------------------------------------------------------------------------------


def memory(pid: int) -> int:
    """The most memory that a process ever had, in bytes."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) * 1024


def push_until_cut(connection: socket.socket, line: bytes, most: int) -> int:
    """Write without ever reading, until it is cut off; returns how many bytes went out."""
    connection.setblocking(False)
    sent = 0
    while sent < most:
        ready = select.select([], [connection], [], 20)[1]
        assert ready, "neither read from nor cut off"
        try:
            sent += connection.send(line)
        except (BrokenPipeError, ConnectionResetError):
            return sent
    raise AssertionError(f"{sent} bytes, and it is not cut off")


COUNTED = """
import os, coterie.daemon.handlers as handlers
inner = handlers.METHODS["messages.log"]
def counted(daemon, connection, params):
    with open(os.path.join(daemon.place.folder, "count"), "a") as count:
        count.write(".")
    return inner(daemon, connection, params)
handlers.METHODS["messages.log"] = counted
"""


@pytest.mark.promise("N2")
def test_who_reads_nothing_is_cut_off_and_takes_neither_memory_nor_time(place: Place) -> None:
    place.start(patch=COUNTED)
    with Raw(place.home.socket) as raw, Raw(place.home.socket) as deaf:
        raw.greet().call("peers.register", kind="other", cwd="/")
        for number in range(60):
            raw.call("messages.send", id=ids.new_message_id(), to="me", text=f"{number}" + "x" * 14_000)
        size = len(json.dumps(raw.call("messages.log", limit=60, texts=True)))
        assert size > 200_000
        before = memory(place.pid())
        deaf.greet().call("peers.register", kind="other", cwd="/")
        push_until_cut(deaf.socket, request(9, "messages.log", limit=60, texts=True) * 1000, 64 * MIB)
        assert memory(place.pid()) - before < 3 * OUTGOING_BYTES_MAX
        assert lives(raw)
    assert "its connection is cut" in Path(place.home.log).read_text()
    assert Path(place.home.folder, "count").stat().st_size < 2 + 2 * OUTGOING_BYTES_MAX / size


def test_a_line_that_never_ends_takes_no_memory_either(daemon: Place, raw: Raw) -> None:
    before = memory(daemon.pid())
    for _ in range(64):
        raw.send(b"x" * MIB)
    assert kind(raw.answer()) == "bad-line"
    raw.send(b"\n")
    assert lives(raw)
    assert memory(daemon.pid()) - before < 8 * LINE_BYTES_MAX


# --- defects -------------------------------------------------------------------------------------------------------

BROKEN = """
import coterie.daemon.handlers as handlers
def broken(daemon, connection, params):
    raise KeyError("/home/secret/path")
async def broken_later(daemon, connection, params):
    raise KeyError("/home/secret/path")
handlers.METHODS |= {"peers.list": broken, "messages.log": broken_later}
"""


@pytest.mark.parametrize("method", ["peers.list", "messages.log"])
def test_a_defect_of_ours_ends_nothing_and_leaks_nothing(place: Place, method: str) -> None:
    place.start(patch=BROKEN)
    with Raw(place.home.socket) as raw:
        raw.greet().send(request(5, method))
        answer = raw.answer()
        assert (answer["id"], answer["error"]["code"], kind(answer)) == (5, -32603, "defect")
        assert "secret" not in json.dumps(answer)
        assert "KeyError" not in json.dumps(answer)
        assert lives(raw)
    logged = Path(place.home.log).read_text()
    assert "KeyError" in logged
    assert "secret" not in logged.replace('raise KeyError("/home/secret/path")', "")


# --- fuzz ----------------------------------------------------------------------------------------------------------


ODD: list[Any] = [
    None, True, -1, 0, 1e308, 10**19, "", " ", "\x00", "/\x00", "/proc/self/fd/0", "../..", "~", "all", "me", "repo",
    "role:", "role:x", "x@y", "p_", "m_", "m_000000000000", "m_000000000000.2", "%", "' OR 1", "\u202e", "🚀" * 100,
    "x" * 70_000, [], {}, [[]], {"": ""},
]  # fmt: skip
"""Values that some code somewhere does not expect."""


MORE = (
    "wait_s",
    "settle_s",
    "life_s",
    "hold",
    "reply_to",
    "thread",
    "before",
    "peer",
    "agent_pid",
    "agent_id",
    "one_shot",
)


def odd_request(chance: random.Random, seeds: list[bytes]) -> bytes:
    """A good request with one value, or a few, replaced, dropped or added."""
    message = json.loads(chance.choice(seeds))
    params = message["params"]
    for _ in range(chance.randint(1, 3)):
        name = chance.choice([*params, *MORE])
        if chance.random() < 0.2:
            params.pop(name, None)
        else:
            params[name] = chance.choice(ODD)
    return json.dumps(message, ensure_ascii=chance.random() < 0.5).encode()


def mangled(chance: random.Random, seeds: list[bytes]) -> bytes:
    """A good line with bytes changed, cut out, put in, doubled; or nothing but chance."""
    line = bytearray(chance.choice(seeds)[:-1])
    for _ in range(chance.randint(1, 4)):
        at, what = chance.randrange(len(line) + 1), chance.randrange(6)
        if what == 0 and line:
            line[at % len(line)] = chance.randrange(256)
        elif what == 1:
            del line[at : at + chance.randint(1, 8)]
        elif what == 2:
            line[at:at] = chance.randbytes(chance.randint(1, 8))
        elif what == 3:
            line[at:at] = line[at : at + chance.randint(1, 40)]
        elif what == 4:
            line[at:] = chance.choice(seeds)[chance.randrange(20) : -1]
        else:
            line = bytearray(chance.randbytes(chance.randint(1, 200)))
    return bytes(line).replace(b"\n", b" ")


@pytest.mark.parametrize("make", [mangled, odd_request], ids=["mangled bytes", "odd values"])
@pytest.mark.promise("N1")
def test_two_thousand_lines_of_nonsense_find_no_defect(
    daemon: Place, make: Callable[[random.Random, list[bytes]], bytes]
) -> None:
    """Each line gets one answer, a result or an error that blames the caller; the daemon lives on, the same one."""
    seed = random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    seeds = every_request()
    pid = daemon.pid()
    with Raw(daemon.home.socket) as raw:
        raw.greet()
        for number in range(10_000, 12_000):
            line = make(chance, seeds)
            raw.send(line + b"\n" + request(number, "daemon.status"))
            answers = raw.answers(1 + bool(line.strip()))
            assert number in [answer["id"] for answer in answers], (seed, line[:500], answers)
            assert "defect" not in [kind(answer) for answer in answers if "error" in answer], (seed, line[:500])
        assert raw.call("daemon.status")["result"]["pid"] == pid
    assert daemon.daemons[0].poll() is None
