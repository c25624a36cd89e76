"""Strict JSON lines: what is let through, what is not, and that the reader lives on."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coterie.errors import BadLine
from coterie.jsonline import LineReader, decode, encode
from coterie.limits import JSON_DEPTH_LOOSE_MAX, JSON_DEPTH_MAX, LINE_BYTES_MAX

# --- One line ------------------------------------------------------------------------------------------------------

LINES: list[tuple[bytes, Any]] = [
    (b"{}", {}),
    (b"[]", []),
    (b' {"a" : [ 1 , -2.5e3, null, true, false ] } ', {"a": [1, -2500.0, None, True, False]}),
    (b'{"a":{"a":{"a":1}},"b":1}', {"a": {"a": {"a": 1}}, "b": 1}),
    (b'[{"a":1},{"a":2}]', [{"a": 1}, {"a": 2}]),
    (b'{"":""}', {"": ""}),
    ('{"ä":"\u2028 € 😀"}'.encode(), {"ä": "\u2028 € 😀"}),
    (rb'{"a":"\ud83d\ude00"}', {"a": "😀"}),
    (rb'{"a":"\\ud800"}', {"a": r"\ud800"}),
    (rb'{"a":"\n\t\u0000\u001b"}', {"a": "\n\t\0\x1b"}),
    (b'{"a":"' + b"[{" * 100 + b'"}', {"a": "[{" * 100}),
    (b"[" + b"[]," * 99 + b"[]]", [[]] * 100),
    (b'{"n":' + b"9" * 300 + b"}", {"n": int("9" * 300)}),
    (b'{"n":1e-999}', {"n": 0.0}),
    (b"\r{}\r", {}),
]
IDS = [repr(line[:30]) for line, _ in LINES]


@pytest.mark.parametrize(("line", "value"), LINES, ids=IDS)
def test_a_good_line(line: bytes, value: Any) -> None:
    assert decode(line) == value


def nested(depth: int, inner: bytes = b"") -> bytes:
    return b"[" * depth + inner + b"]" * depth


TOO_DEEP = f"nested deeper than {JSON_DEPTH_MAX} levels"
BAD_LINES = [
    # Names that stand twice: parsers differ about which one counts.
    (b'{"a":1,"a":1}', "the member 'a' stands twice in one object"),
    (b'{"b":1,"a":{"x":1,"c":2,"c":3}}', "the member 'c' stands twice in one object"),
    (b'{"a":1,"\\u0061":2}', "the member 'a' stands twice in one object"),
    (b'{"' + b"n" * 90 + b'":1,"' + b"n" * 90 + b'":1}', f"the member '{'n' * 40}' stands twice in one object"),
    # Numbers that are none.
    (b'{"a":NaN}', "NaN is not JSON"),
    (b'{"a":Infinity}', "Infinity is not JSON"),
    (b'[-Infinity]', "-Infinity is not JSON"),
    (b"[1e999]", "a number is too large"),
    (b"[-1e999]", "a number is too large"),
    (b"[" + b"9" * 400 + b".5]", "a number is too large"),
    (b"[" + b"1" * 5000 + b"]", "a number is too large"),
    (b"[-" + b"1" * 500_000 + b"]", "a number is too large"),
    # Nesting that would exhaust the stack.
    (b"[" * 100_000, TOO_DEEP),
    (nested(100_000), TOO_DEEP),
    (b'{"a":' * 100_000, TOO_DEEP),
    (nested(JSON_DEPTH_MAX + 1), TOO_DEEP),
    (nested(JSON_DEPTH_MAX + 1, b"1"), TOO_DEEP),
    (b'{"a":' * (JSON_DEPTH_MAX + 1) + b"1" + b"}" * (JSON_DEPTH_MAX + 1), TOO_DEEP),
    (b'[{"a":' * 17 + b"{}" + b"}]" * 17, TOO_DEEP),
    # Half a pair of surrogates, as a text and as a name.
    (rb'{"a":"\ud800"}', "a text holds half a surrogate pair"),
    (rb'{"a":"x\udfff"}', "a text holds half a surrogate pair"),
    (rb'{"a":"\ude00\ud83d"}', "a text holds half a surrogate pair"),
    (rb'{"\ud800":1}', "a text holds half a surrogate pair"),
    # Bytes that are not UTF-8: a stray one, an overlong slash, a coded surrogate, one cut short, UTF-16.
    (b'{"a":"\xff"}', "not UTF-8 at byte 6"),
    (b'{"a":"\xc0\xaf"}', "not UTF-8 at byte 6"),
    (b'{"\xed\xa0\x80":1}', "not UTF-8 at byte 2"),
    (b'{"a":"\xe2\x82', "not UTF-8 at byte 6"),
    ("{}".encode("utf-16"), "not UTF-8 at byte 0"),
    # Not JSON at all, or more than one value.
    (b"", "not JSON: Expecting value at character 0"),
    (b"   ", "not JSON: Expecting value at character 3"),
    (b"GET / HTTP/1.1", "not JSON: Expecting value at character 0"),
    (b"\xef\xbb\xbf{}", "not JSON: Expecting value at character 0"),
    (b"{} {}", "not JSON: Extra data at character 3"),
    (b'{"a":1}garbage', "not JSON: Extra data at character 7"),
    (b"{'a':1}", "not JSON: Expecting property name enclosed in double quotes at character 1"),
    (b'{"a":"\x00"}', "not JSON: Invalid control character at at character 6"),
    (b'{"a":01}', "not JSON: Expecting ',' delimiter at character 6"),
    (b'{"a"', "not JSON: Expecting ':' delimiter at character 4"),
    (b'{"a":"', "not JSON: Unterminated string starting at at character 5"),
    (rb'{"a":"\x"}', r"not JSON: Invalid \escape at character 6"),
    # JSON, and no object.
    (b"1", "a line must hold one JSON object"),
    (b"null", "a line must hold one JSON object"),
    (b'"text"', "a line must hold one JSON object"),
    (b'"' + b"[" * 100 + b'"', "a line must hold one JSON object"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "message"), BAD_LINES, ids=[repr(line[:30]) for line, _ in BAD_LINES])
@pytest.mark.promise("N1")
def test_a_bad_line(line: bytes, message: str) -> None:
    with pytest.raises(BadLine) as caught:
        decode(line)
    assert caught.value.message == message


@pytest.mark.parametrize("inner", [b"", b"1", b'"[["'])
def test_the_deepest_line_allowed(inner: bytes) -> None:
    line = nested(JSON_DEPTH_MAX, inner)
    assert encode(decode(line)) == line + b"\n"


def test_the_deepest_object_allowed() -> None:
    line = b'{"a":' * (JSON_DEPTH_MAX - 1) + b"{}" + b"}" * (JSON_DEPTH_MAX - 1)
    assert encode(decode(line)) == line + b"\n"


def test_a_hundred_thousand_names_are_judged_in_linear_time() -> None:
    """Quadratic, this line would hold the daemon for minutes; the suite's time limit would end it."""
    names = b",".join(b'"%05x":1' % number for number in range(100_000))
    line = b"{" + names + b',"z":1,"z":2}'
    assert len(line) < LINE_BYTES_MAX
    with pytest.raises(BadLine, match="the member 'z' stands twice"):
        decode(line)


# --- Encoding ------------------------------------------------------------------------------------------------------


def test_encode() -> None:
    assert encode({"a": [1, "x\ny", None], "ä": "€"}) == '{"a":[1,"x\\ny",null],"ä":"€"}\n'.encode()
    assert encode([]) == b"[]\n"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, "\ud800"])
def test_what_cannot_be_encoded_is_a_value_error(value: Any) -> None:
    with pytest.raises(ValueError, match=r"JSON compliant|surrogates"):
        encode({"a": value})


# --- The reader ----------------------------------------------------------------------------------------------------


def outcome(item: bytes | BadLine) -> Any:
    """What a line holds, or why it is bad."""
    if isinstance(item, BadLine):
        return f"bad: {item.message}"
    try:
        return decode(item)
    except BadLine as error:
        return f"bad: {error.message}"


def read(pieces: list[bytes], line_bytes_max: int = LINE_BYTES_MAX) -> list[Any]:
    reader = LineReader(line_bytes_max)
    return [outcome(item) for piece in pieces for item in reader.feed(piece)]


def single(data: bytes) -> list[bytes]:
    return [bytes([byte]) for byte in data]


@pytest.mark.parametrize(("line", "value"), LINES, ids=IDS)
def test_a_line_whole_and_byte_by_byte(line: bytes, value: Any) -> None:
    assert read([line + b"\n"]) == [value]
    assert read([*single(line), b"\n"]) == [value]
    assert read([line[:2], line[2:] + b"\n" + line[:3], line[3:], b"\n"]) == [value, value]


@pytest.mark.parametrize(("line", "value"), LINES, ids=IDS)
def test_a_line_with_garbage_after_it(line: bytes, value: Any) -> None:
    """The line comes out as soon as it is whole, the garbage is a bad line, and what follows is read again."""
    stream = line + b"\n" + b"\xff garbage"
    rest = b"\n" + line + b"\n"
    for pieces in ([stream], single(stream)):
        assert read(pieces) == [value]
        assert read([*pieces, rest]) == [value, "bad: not UTF-8 at byte 0", value]


def test_nothing_comes_out_before_the_newline() -> None:
    reader = LineReader()
    assert list(reader.feed(b'{"a":1}')) == []
    assert list(reader.feed(b"")) == []
    assert list(reader.feed(b"\n")) == [b'{"a":1}']
    assert list(reader.feed(b"\n")) == []


def test_blank_lines_are_nothing() -> None:
    assert list(LineReader().feed(b"\n \n\r\n\t\n{}\r\n\n[]\n")) == [b"{}\r", b"[]"]


TOO_LONG = "bad: a line is longer than 8 bytes"


def test_a_line_of_exactly_the_limit() -> None:
    assert read([b'{"a":12}\n'], 8) == [{"a": 12}]
    assert read(single(b'{"a":12}\n'), 8) == [{"a": 12}]


@pytest.mark.parametrize("pieces", [lambda data: [data], single, lambda data: [data[:9], data[9:]]])
def test_a_line_over_the_limit_is_skipped_to_its_end(pieces: Any) -> None:
    assert read(pieces(b'[1]\n{"a":123}\n[2]\n'), 8) == [[1], TOO_LONG, [2]]
    assert read(pieces(b'{"a":123}\n' * 2 + b"[3]\n"), 8) == [TOO_LONG, TOO_LONG, [3]]


@pytest.mark.promise("N1")
def test_a_line_that_never_ends_is_reported_once_and_not_kept() -> None:
    reader = LineReader(8)
    reports = [item for _ in range(1000) for item in reader.feed(b"x" * 1000)]
    assert [outcome(item) for item in reports] == [TOO_LONG]
    assert len(reader._rest) == 0
    assert list(reader.feed(b"x\n[1]\n")) == [b"[1]"]


@pytest.mark.promise("N2")
def test_the_limit_of_the_wire() -> None:
    line = b'{"a":"' + b"x" * (LINE_BYTES_MAX - 8) + b'"}'
    assert len(line) == LINE_BYTES_MAX
    assert list(LineReader().feed(line + b"\n")) == [line]
    assert read([line + b" \n"]) == [f"bad: a line is longer than {LINE_BYTES_MAX} bytes"]


# --- Anything ------------------------------------------------------------------------------------------------------

_FRAGMENTS = st.sampled_from(
    [b"\n", b"{}", b"[", b"]", b"{", b"}", b'"', b":", b",", b'{"a":1}\n', rb"\ud800", b"1e999", b"NaN", b"\xff", b" "]
)
_STREAMS = st.binary(max_size=200) | st.lists(_FRAGMENTS, max_size=40).map(b"".join)


def expected(data: bytes, line_bytes_max: int) -> list[Any]:
    """What a reader must say of a whole stream, written without a reader."""
    *whole, rest = data.split(b"\n")
    too_long = f"bad: a line is longer than {line_bytes_max} bytes"
    said = [too_long if len(line) > line_bytes_max else outcome(line) for line in whole if line.strip(b" \t\r\v\f")
            or len(line) > line_bytes_max]  # fmt: skip
    return [*said, too_long] if len(rest) > line_bytes_max else said


@given(_STREAMS, st.lists(st.integers(0, 200)), st.integers(1, 30))
@example(b"\n" * 31, [], 30)
@example(b"x" * 31 + b"\n", [30], 30)
def test_any_bytes_in_any_cuts(data: bytes, cuts: list[int], line_bytes_max: int) -> None:
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    pieces = [data[start:end] for start, end in pairwise(edges)]
    assert read(pieces, line_bytes_max) == expected(data, line_bytes_max)


@given(st.binary() | st.lists(_FRAGMENTS).map(b"".join) | st.text().map(str.encode))
@pytest.mark.promise("N1")
def test_only_bad_line_ever_comes_out(line: bytes) -> None:
    try:
        value = decode(line)
    except BadLine:
        return
    assert isinstance(value, (dict, list))
    assert value == json.loads(line)
    assert decode(encode(value)) == value


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(_TEXTS, inner),
    max_leaves=20,
)
_MESSAGES = st.dictionaries(_TEXTS, _VALUES) | st.lists(_VALUES)


@given(st.lists(_MESSAGES, max_size=5), st.integers(1, 50))
def test_what_was_encoded_is_read_again(messages: list[Any], piece: int) -> None:
    stream = b"".join(map(encode, messages))
    assert stream.count(b"\n") == len(messages)
    assert read([stream[at : at + piece] for at in range(0, len(stream), piece)]) == messages


def test_half_a_surrogate_pair_can_be_mended_and_the_rest_stays() -> None:
    line = b'{"text":"cut \\ud83d, whole \\ud83d\\ude00, \\u00e9 \xf0\x9f\x9a\x80"}'
    assert decode(line, mend=True) == {"text": "cut \ufffd, whole 😀, é 🚀"}
    with pytest.raises(BadLine, match="half a surrogate pair"):
        decode(line)
    assert decode(b'{"text":"nothing to mend"}', mend=True) == {"text": "nothing to mend"}


# --- Loosely -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inner", [b"", b"1", rb'"cut \ud83d"'])
def test_loosely_what_is_nested_deep_is_read(inner: bytes) -> None:
    line = nested(JSON_DEPTH_LOOSE_MAX, inner)
    assert encode(decode(line, mend=True, loose=True)) == line.replace(rb"\ud83d", "\ufffd".encode()) + b"\n"
    with pytest.raises(BadLine, match=TOO_DEEP):
        decode(line)


@pytest.mark.parametrize("line", [nested(JSON_DEPTH_LOOSE_MAX + 1), nested(100_000), b'{"a":' * 100_000])
def test_loosely_there_is_an_end_to_it(line: bytes) -> None:
    with pytest.raises(BadLine, match=f"nested deeper than {JSON_DEPTH_LOOSE_MAX} levels"):
        decode(line, loose=True)


def test_loosely_the_last_of_two_counts() -> None:
    assert decode(b'{"a":1,"b":{"c":1,"c":2},"a":3}', loose=True) == {"a": 3, "b": {"c": 2}}
    # Two that are one only after mending.
    assert decode(rb'{"\ud83d":1,"\ud83e":2}', mend=True, loose=True) == {"\ufffd": 2}
    with pytest.raises(BadLine, match="stands twice"):
        decode(rb'{"\ud83d":1,"\ud83e":2}', mend=True)


@pytest.mark.parametrize(
    "line", [b"", b"7", b"[NaN]", b"[1e999]", b"[" + b"1" * 5000 + b"]", b'{"a":"\xff"}', b"{} {}"]
)
def test_loosely_the_rest_is_as_strict(line: bytes) -> None:
    with pytest.raises(BadLine):
        decode(line, mend=True, loose=True)
