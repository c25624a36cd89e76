"""One JSON object a line, strictly: bytes in, objects out, without any I/O. This module is light.

Strict means what RFC 8259 leaves open and attackers use: a name that stands twice, NaN and Infinity, numbers that
overflow, nesting that exhausts the stack, lone surrogates, bytes that are not UTF-8, and lines that never end are
all `BadLine`, and nothing else ever comes out of here. The reader lives on after each of them.

What a session's own client tells its hook is read loosely: it is no attacker, and passes on what tools gave it.
"""

from __future__ import annotations

import json
import math
from collections import Counter

from coterie.errors import BadLine
from coterie.limits import JSON_DEPTH_LOOSE_MAX, JSON_DEPTH_MAX, LINE_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, NoReturn

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def encode(message: dict[str, Any] | list[Any]) -> bytes:
    """`message` as one line with its newline. Raises ValueError on NaN; a newline inside a text is escaped."""
    return _encode(message).encode() + b"\n"


def _no_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise BadLine(f"the member {twice[:40]!r} stands twice in one object")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BadLine("a number is too large")
    return number


def _no_constant(text: str) -> NoReturn:
    raise BadLine(f"{text} is not JSON")


_decode = json.JSONDecoder(object_pairs_hook=_no_twice, parse_float=_finite, parse_constant=_no_constant).decode
_decode_loosely = json.JSONDecoder(parse_float=_finite, parse_constant=_no_constant).decode
"""Of a name that stands twice in one object the last counts, as in JavaScript."""


def _depth(value: Any) -> int:
    depth = -1
    level: list[Any] = [[value]]
    while level:
        depth += 1
        children = [child for parent in level for child in (parent.values() if isinstance(parent, dict) else parent)]
        level = [child for child in children if isinstance(child, (dict, list))]
    return depth


def _check(line: bytes, value: Any, depth_max: int) -> None:
    """Look for what the decoder lets through, at a price only for lines that could hold it."""
    if line.count(b"[") + line.count(b"{") > depth_max and _depth(value) > depth_max:
        raise BadLine(f"nested deeper than {depth_max} levels")
    if b"\\u" in line:
        try:
            _encode(value).encode()
        except UnicodeEncodeError:
            raise BadLine("a text holds half a surrogate pair") from None


def _mended(value: Any, decoder: Callable[[str], Any]) -> Any:
    """`value` with U+FFFD for every half of a surrogate pair."""
    return decoder(_encode(value).encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def decode(line: bytes, *, mend: bool = False, loose: bool = False) -> dict[str, Any] | list[Any]:
    """The object (or the list: a batch) on one line. Raises `BadLine`, and nothing else.

    `mend` takes half a surrogate pair for U+FFFD. Clients written in JavaScript cut a text within an emoji; refusing
    their whole line would leave a call without an answer. `loose` takes deep nesting, and of a name that stands twice
    the last.
    """
    decoder, depth_max = (_decode_loosely, JSON_DEPTH_LOOSE_MAX) if loose else (_decode, JSON_DEPTH_MAX)
    try:
        value = decoder(line.decode())
        if mend and b"\\u" in line:
            value = _mended(value, decoder)
        _check(line, value, depth_max)
    except UnicodeDecodeError as error:
        raise BadLine(f"not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise BadLine(f"nested deeper than {depth_max} levels") from None
    except json.JSONDecodeError as error:
        raise BadLine(f"not JSON: {error.msg} at character {error.pos}") from None
    except ValueError:  # an integer of more digits than Python converts
        raise BadLine("a number is too large") from None
    if not isinstance(value, (dict, list)):
        raise BadLine("a line must hold one JSON object")
    return value


class LineReader:
    """Cuts a stream of bytes into lines of bounded length."""

    def __init__(self, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._max = line_bytes_max
        self._rest = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> Iterator[bytes | BadLine]:
        """Every line that `data` completes, or a `BadLine` in the place of one that was too long.

        A line that is too long is reported once, when it passes the limit, and skipped to its end.
        """
        start = 0
        while (end := data.find(b"\n", start)) >= 0:
            line = self._line(data[start:end])
            start = end + 1
            if line is not None:
                yield line
        tail = data[start:]
        if not self._skipping:
            self._rest += tail
            if len(self._rest) > self._max:
                self._rest.clear()
                self._skipping = True
                yield self._too_long()

    def _line(self, end: bytes) -> bytes | BadLine | None:
        """The line that `end` completes; None for an empty one and for the end of one already reported."""
        if self._skipping:
            self._skipping = False
            return None
        line = bytes(self._rest) + end if self._rest else end
        self._rest.clear()
        if len(line) > self._max:
            return self._too_long()
        return line if line.strip() else None

    def _too_long(self) -> BadLine:
        return BadLine(f"a line is longer than {self._max} bytes")
