"""Edits of a JSON text that leave every other byte of it as it was. Pure.

Comments (``//``, ``/* */``), trailing commas and a byte order mark are taken where the client takes them (`Dialect`):
what it cannot read is broken for us too, or an edit would be praised that has no effect. To find its way, an edit
looks at the text with comments and trailing commas blanked out, character for character, so that a position means the
same in both; what it writes goes into the text as it was.
"""

from __future__ import annotations

import json
import re
from typing import Any, NamedTuple

from coterie.texts import APPEND, BadText, Path, misshapen, must_not_stand_twice, newline_of

_COMMENTS = re.compile(r'"(?:[^"\\]|\\.)*"?|//[^\r\n]*|/\*.*?\*/', re.DOTALL)
_COMMAS = re.compile(r'"(?:[^"\\]|\\.)*"|,(?=[ \t\r\n]*[}\]])', re.DOTALL)
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_SCALAR = re.compile(r"[^ \t\r\n,\]}]+")
_BLANKS = re.compile(r"[ \t\r\n]*")
_COMMA = re.compile(r"[ \t\r\n]*,")
_REST_OF_LINE = re.compile(r"(?:[ \t]*(?:/\*.*?\*/|//[^\r\n]*))*", re.DOTALL)
_WHITE = " \t\r\n"
_BOM = "\ufeff"
_INDENT = "  "
"""What a text gets that shows no indentation of its own: what all four clients write."""


class Dialect(NamedTuple):
    """What a client reads beyond JSON."""

    comments: bool = False
    commas: bool = False
    """Behind the last member of an object, or element of an array."""
    bom: bool = False


def parse(text: str, dialect: Dialect) -> Any:
    """The value of a text; an empty text is an empty object. Raises `BadText` with line and column."""
    if text.startswith(_BOM) and not dialect.bom:
        raise BadText("a byte order mark, which this client cannot read", 1, 1)
    view = _Text(text, dialect)
    if view.is_blank:
        return {}
    try:
        return json.loads(view.bare, object_pairs_hook=must_not_stand_twice, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise BadText(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise BadText("it is nested too deeply") from None
    except BadText:
        raise
    except ValueError as error:
        raise BadText(str(error)) from None


def _no_constant(text: str) -> Any:
    raise BadText(f"{text} is not JSON")


def _without_bom(text: str) -> str:
    return " " + text[1:] if text.startswith(_BOM) else text


def _blank_comment(found: re.Match[str]) -> str:
    if found[0].startswith('"'):
        return found[0]
    return re.sub(r"[^\r\n]", " ", found[0])


def _blank_comma(found: re.Match[str]) -> str:
    return " " if found[0] == "," else found[0]


# --- where things stand -----------------------------------------------------------------------------------------------


class Child(NamedTuple):
    """A member of an object, or an element of an array."""

    name: str | int
    start: int
    """Where its key begins; of an element, its value."""
    value: int
    end: int


class Container(NamedTuple):
    """An object or an array."""

    open: int
    close: int
    is_object: bool
    children: list[Child]


class _Text:
    """A text and the two views of it."""

    def __init__(self, text: str, dialect: Dialect) -> None:
        self.text = text
        self.commas = _COMMENTS.sub(_blank_comment, _without_bom(text)) if dialect.comments else _without_bom(text)
        """Without comments, and with trailing commas."""
        self.bare = _COMMAS.sub(_blank_comma, self.commas) if dialect.commas else self.commas
        self.is_blank = not self.bare.strip(_WHITE)
        self.eol = newline_of(text)
        self.tight = '":' in self.bare and '": ' not in self.bare
        """Whether it is written without blanks, as programs do."""

    def in_line_comment(self, end: int) -> bool:
        """Whether a ``//`` comment ends here."""
        if self.bare[end - 1 : end] == self.text[end - 1 : end]:
            return False
        found = [comment for comment in _COMMENTS.finditer(self.text, 0, end) if comment[0].startswith("//")]
        return bool(found) and found[-1].end() == end

    def root(self) -> int:
        return self._skip(0)

    def _skip(self, at: int) -> int:
        found = _BLANKS.match(self.bare, at)
        return found.end() if found else at

    def _end(self, at: int) -> int:
        """Where the value that begins here ends."""
        if self.bare[at] in "{[":
            depth = 0
            for found in _BRACKETS.finditer(self.bare, at):
                depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(found[0], 0)
                if depth == 0:
                    return found.end()
        whole = (_STRING if self.bare[at] == '"' else _SCALAR).match(self.bare, at)
        if whole is None:
            raise BadText("it is not JSON")
        return whole.end()

    def container(self, at: int) -> Container | None:
        """The object or array that begins here."""
        if self.bare[at : at + 1] not in ("{", "["):
            return None
        is_object = self.bare[at] == "{"
        children: list[Child] = []
        place = self._skip(at + 1)
        while self.bare[place] not in "}]":
            child = self._child(place, is_object, len(children))
            children.append(child)
            place = self._skip(child.end)
            if self.bare[place] == ",":
                place = self._skip(place + 1)
        return Container(at, place, is_object, children)

    def _child(self, place: int, is_object: bool, index: int) -> Child:
        if not is_object:
            return Child(index, place, place, self._end(place))
        key_end = self._end(place)
        value = self._skip(self._skip(key_end) + 1)
        return Child(json.loads(self.bare[place:key_end]), place, value, self._end(value))

    def deepest(self, path: Path) -> tuple[Container, int]:
        """The deepest container on the way along `path`, and how many steps of it lead there."""
        at, taken = self.root(), 0
        while True:
            container = self.container(at)
            if container is None:
                raise misshapen(path[:taken])
            child = next((child for child in container.children if child.name == path[taken]), None)
            if child is None or taken == len(path) - 1:
                return container, taken
            at, taken = child.value, taken + 1

    def found(self, path: Path) -> tuple[Container, int]:
        """The container of what stands at `path`, and its index there."""
        container, taken = self.deepest(path)
        names = [child.name for child in container.children]
        if taken != len(path) - 1 or path[-1] not in names:
            raise BadText(f"there is no {'.'.join(map(str, path))}")
        return container, names.index(path[-1])

    # --- how it is written --------------------------------------------------------------------------------------------

    def line_indent(self, at: int) -> str:
        """The blanks that begin the line of a position."""
        begin = max(self.text.rfind("\n", 0, at), self.text.rfind("\r", 0, at)) + 1
        found = re.compile(r"\ufeff?([ \t]*)").match(self.text, begin, at)
        return found[1] if found else ""

    def unit(self) -> str:
        """One step of indentation, as the outermost object shows it."""
        root = self.container(self.root())
        return (root and self.own_line(root)) or _INDENT

    def own_line(self, container: Container) -> str | None:
        """The indentation of the children of a container if they stand on lines of their own."""
        if not container.children:
            return None
        before = self.text[container.open + 1 : container.children[0].start]
        return self.line_indent(container.children[0].start) if "\n" in before else None

    def is_one_line(self) -> bool:
        return "\n" not in self.text.strip(_WHITE) and bool(self.text.strip(_WHITE + "{}" + _BOM))

    def written(self, value: Any, indent: str | None) -> str:
        """A value as text, its lines below the first indented by `indent`; on one line without."""
        if indent is None:
            return json.dumps(value, ensure_ascii=False, separators=(",", ":") if self.tight else (", ", ": "))
        return _laid_out(value, self.unit()).replace("\n", self.eol + indent)

    def member(self, container: Container, name: str | int, value: Any, indent: str | None) -> str:
        text = self.written(value, indent)
        if not container.is_object:
            return text
        colon = ":" if self.tight and indent is None else ": "
        return json.dumps(name, ensure_ascii=False) + colon + text


def _laid_out(value: Any, unit: str) -> str:
    """JSON with each member of an object on a line of its own, and each array on one: a person reads what is added."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value, ensure_ascii=False)
    members = (f"{json.dumps(name, ensure_ascii=False)}: {_laid_out(member, unit)}" for name, member in value.items())
    inside = ",\n".join(members).replace("\n", f"\n{unit}")
    return f"{{\n{unit}{inside}\n}}"


# --- edits ------------------------------------------------------------------------------------------------------------


def set_value(text: str, path: Path, value: Any, dialect: Dialect) -> str:
    """`text` with this value at `path`, where objects that are missing on the way are made.

    A last step of `APPEND` adds an element to an array. Raises `BadText` where something else is in the way.
    """
    view = _Text(text, dialect)
    if view.is_blank:
        whole = _laid_out(_nested(path, value), _INDENT)
        return text + whole.replace("\n", view.eol) + view.eol
    container, taken = view.deepest(path)
    if container.is_object is (path[taken] == APPEND):
        raise misshapen(path[:taken])
    child = next((child for child in container.children if child.name == path[taken]), None)
    if child is not None:
        indent = view.line_indent(child.start) if view.own_line(container) is not None else None
        return text[: child.value] + view.written(value, indent) + text[child.end :]
    return _inserted(view, container, path[taken], _nested(path[taken + 1 :], value))


def _nested(path: Path, value: Any) -> Any:
    for name in reversed(path):
        value = [value] if name == APPEND else {name: value}
    return value


def _inserted(view: _Text, container: Container, name: str | int, value: Any) -> str:
    if not container.children:
        return _filled(view, container, name, value)
    text, last = view.text, container.children[-1]
    comma = _COMMA.match(view.commas, last.end)
    after = comma.end() if comma else last.end
    indent = view.own_line(container)
    member = view.member(container, name, value, indent)
    if indent is None:
        place, gap = after, "" if view.tight else " "
    else:
        rest = _REST_OF_LINE.match(text, after)
        place, gap = rest.end() if rest else after, view.eol + indent
    joint, trail = ("", ",") if comma else (",", "")
    return text[: last.end] + joint + text[last.end : place] + gap + member + trail + text[place:]


def _filled(view: _Text, container: Container, name: str | int, value: Any) -> str:
    """The text with a first child in a container that is empty, but for comments perhaps."""
    text, inside = view.text, view.text[container.open + 1 : container.close]
    if view.is_one_line():
        return text[: container.open + 1] + view.member(container, name, value, None) + text[container.close :]
    outer = view.line_indent(container.open)
    indent = outer + view.unit()
    kept = inside.rstrip(_WHITE)
    tail = inside[len(kept) :] if kept and "\n" in inside[len(kept) :] else view.eol + outer
    member = view.member(container, name, value, indent)
    return text[: container.open + 1] + kept + view.eol + indent + member + tail + text[container.close :]


def delete(text: str, path: Path, dialect: Dialect) -> str:
    """`text` without what stands at `path`. Raises `BadText` if nothing does."""
    view = _Text(text, dialect)
    container, index = view.found(path)
    child = container.children[index]
    comma = _COMMA.match(view.commas, child.end)
    is_last = index == len(container.children) - 1
    if is_last and index == 0:
        return _emptied(view, container, child, comma)
    if not is_last and comma:
        return _without_following(view, child, comma.end())
    return _without_last(view, container.children[index - 1], child, comma)


def _emptied(view: _Text, container: Container, child: Child, comma: re.Match[str] | None) -> str:
    text, end = view.text, comma.end() if comma else child.end
    before, after = text[container.open + 1 : child.start], text[end : container.close]
    if not before.strip(_WHITE) and not after.strip(_WHITE):
        return text[: container.open + 1] + text[container.close :]
    return text[: _lead(view, child.start, end)] + text[end:]


def _lead(view: _Text, start: int, end: int) -> int:
    """Where a cut may begin: at the end of the line before, unless what follows would come to stand in its comment."""
    lead = len(view.text[:start].rstrip(_WHITE))
    own_line = "\n" in view.text[lead:start]
    follows = view.text[end:].lstrip(" \t")[:1]
    return lead if own_line and (follows in ("\r", "\n", "") or not view.in_line_comment(lead)) else start


def _without_following(view: _Text, child: Child, end: int) -> str:
    """What has another behind it takes its comma along."""
    lead = _lead(view, child.start, end)
    if lead != child.start:
        return view.text[:lead] + view.text[end:]
    return view.text[: child.start] + view.text[end:].lstrip(" \t")


def _without_last(view: _Text, previous: Child, child: Child, trailing: re.Match[str] | None) -> str:
    """The last one takes the comma before it along, or its own if it has one."""
    text, end = view.text, trailing.end() if trailing else child.end
    comma = view.bare.index(",", previous.end)
    kept = text[: comma + 1] if trailing else text[:comma]
    between = text[comma + 1 : child.start]
    if not between.strip(_WHITE):
        return kept + text[end:]
    return kept + text[comma + 1 : _lead(view, child.start, end)] + text[end:]
