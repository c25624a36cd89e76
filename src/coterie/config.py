"""The configuration: every key with its meaning, its range, and whether a repository may make it stricter.

Two files say something: the person's, and `.coterie.toml` of a repository. The second was written by whoever wrote the
repository, so it can only make stricter: a number lower, a thing off. A file counts whole or not at all.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeGuard

from coterie.endpoints import PORT
from coterie.errors import BadConfig, BadInput
from coterie.frames import one_line
from coterie.guards import Limits
from coterie.limits import (
    ACKNOWLEDGED_KEPT_S,
    DAY_S,
    DEVICE_NAME_CHARS,
    HEARTBEAT_S,
    HISTORY_BYTES_MAX,
    IDLE_EXIT_S,
    MESSAGE_BYTES_MAX,
    MESSAGE_LIFE_MAX_S,
    MESSAGE_LIFE_S,
    MIB,
    PEERS_MAX,
    RECONNECT_MAX_S,
)

REPOSITORY_FILE = ".coterie.toml"
NAME_CHARS = 60
"""How much of a name that is none of ours an error repeats."""

LIST_MAX = 32
"""Texts in one list."""
SHARED = ("name", "role", "agent", "repo", "summary", "state")
"""What other devices may be shown of a session."""

Number = bool | int | float
Value = Number | str | tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """What a text may be, or each one of a list."""

    wanted: str
    """In words."""
    pattern: str

    def fits(self, value: object) -> bool:
        """Whether it may be `value`."""
        return isinstance(value, str) and re.fullmatch(self.pattern, value) is not None


@dataclass(frozen=True, slots=True)
class Key:
    """One thing that can be set."""

    name: str
    default: Value
    meaning: str
    low: Number = False
    high: Number = True
    stricter: bool = False
    """Whether a repository's file may set it lower, or off."""
    text: Text = Text("", "")
    """Of a key that is a text, or a list of texts."""

    @property
    def wanted(self) -> str:
        """What it may be, in words."""
        if isinstance(self.default, bool):
            return "true or false"
        if isinstance(self.default, (str, tuple)):
            return self.text.wanted
        kind = "whole number" if isinstance(self.default, int) else "number"
        low, high = (f"{end:g}" if isinstance(end, float) else str(end) for end in (self.low, self.high))
        return f"a {kind} from {low} to {high}"

    def takes(self, value: object) -> bool:
        """Whether it may be `value`."""
        if isinstance(self.default, str):
            return self.text.fits(value)
        if isinstance(self.default, tuple):
            return _is_list(value) and all(map(self.text.fits, value))
        if isinstance(value, bool) or isinstance(self.default, bool):
            return isinstance(value, bool) and isinstance(self.default, bool)
        if isinstance(value, float) and isinstance(self.default, int):
            return False
        return isinstance(value, (int, float)) and self.low <= value <= self.high  # NaN is in no range.


def _is_list(value: object) -> TypeGuard[list[object] | tuple[object, ...]]:
    return isinstance(value, (list, tuple)) and len(value) <= LIST_MAX and len({*map(repr, value)}) == len(value)


_HOST = r"[0-9A-Za-z_.:%-]{1,255}"
_NAME = Text(f"letters, digits and . _ -, at most {DEVICE_NAME_CHARS}", rf"[0-9A-Za-z._-]{{0,{DEVICE_NAME_CHARS}}}")
_LISTENER = Text("an IPv4 or IPv6 address or a name of this machine", _HOST)
_PLACES = Text("a list of host:port", rf"(\[{_HOST}\]|{_HOST}):[0-9]{{1,5}}|{_HOST}")
_SHARED = Text(f"a list of any of {', '.join(SHARED)}", "|".join(SHARED))

_LIMITS = Limits()
_KEYS = (
    Key("guards.pair_burst", _LIMITS.pair_burst, "Messages from one agent to another at once.", 1, 10_000, True),
    Key(
        "guards.pair_per_minute",
        _LIMITS.pair_per_minute,
        "Messages a minute from one agent to another, once a burst is spent.",
        1,
        10_000,
        True,
    ),
    Key(
        "guards.repeats",
        _LIMITS.repeats,
        "How often an agent may send another the same text within ten minutes.",
        1,
        1_000,
        True,
    ),
    Key(
        "guards.thread",
        _LIMITS.thread,
        "Messages of agents in one thread without a word of a person.",
        1,
        100_000,
        True,
    ),
    Key(
        "guards.exchange",
        _LIMITS.exchange,
        "Messages between two agents, in all threads, without a word of a person to either.",
        1,
        100_000,
        True,
    ),
    Key("guards.hops", _LIMITS.hops, "How many further peers may pass on what began with one.", 0, 100, True),
    Key("guards.fan_out", _LIMITS.fan_out, "Recipients of one message from an agent.", 1, 1_000, True),
    Key("guards.mailbox_messages", _LIMITS.mailbox_messages, "Unread messages of one peer.", 1, 100_000, True),
    Key(
        "guards.mailbox_bytes",
        _LIMITS.mailbox_bytes,
        "Bytes of text in the unread messages of one peer.",
        MESSAGE_BYTES_MAX,
        256 * MIB,
        True,
    ),
    Key(
        "mail.life_days",
        MESSAGE_LIFE_S / DAY_S,
        "Days that a message waits unread, where its sender says nothing else.",
        0.01,
        MESSAGE_LIFE_MAX_S / DAY_S,
    ),
    Key(
        "mail.wake_idle",
        True,
        "Whether mail wakes a session that is idle, which costs a turn of its model; else its next prompt brings it.",
    ),
    Key("history.days", ACKNOWLEDGED_KEPT_S / DAY_S, "Days that the text of answered messages is kept.", 0.0, 3_650.0),
    Key("history.mib", HISTORY_BYTES_MAX // MIB, "MiB of text of messages that are over; the oldest go.", 1, 65_536),
    Key("daemon.idle_exit_s", IDLE_EXIT_S, "Seconds without a connection after which the daemon ends.", 1.0, 604_800.0),
    Key(
        "summary.prompts",
        True,
        "Whether the first line of your prompts is part of a session's summary, which other agents see.",
        stricter=True,
    ),
    Key(
        "summary.files",
        True,
        "Whether the names of files that a session touches are part of its summary.",
        stricter=True,
    ),
    Key("notify.desktop", False, "Whether the desktop shows a notification when there is mail for you."),
    Key("relay.enabled", False, "Whether this device listens for the devices that it is paired with."),
    Key("relay.listen_port", PORT, "The TCP port on which it listens.", 1, 65_535),
    Key("relay.listen_addr", "0.0.0.0", "Where it listens; :: is IPv6 and IPv4.", text=_LISTENER),  # noqa: S104 (nothing listens before relay.enabled)
    Key("relay.max_peers", PEERS_MAX, "Devices that are connected at once.", 1, 64),
    Key(
        "relay.heartbeat_interval_secs",
        HEARTBEAT_S,
        "Seconds between two signs of life on a link; after three without one it is dead.",
        1,
        3_600,
    ),
    Key(
        "relay.reconnect_max_secs",
        RECONNECT_MAX_S,
        "The longest pause, in seconds, between two tries to reach a device: "
        "a link is tried again within half a minute.",
        1,
        3_600,
    ),
    Key(
        "relay.auto_connect",
        (),
        "Where to look for paired devices, beside the addresses that are known of them.",
        text=_PLACES,
    ),
    Key("relay.name", "", "What this device calls itself; where there is nothing, its host name.", text=_NAME),
    Key("relay.share", SHARED, "What paired devices with the right to see are shown of a session.", text=_SHARED),
)
KEYS = {key.name: key for key in _KEYS}
TABLES = frozenset(name.partition(".")[0] for name in KEYS)


class Source(StrEnum):
    """Where a value comes from."""

    DEFAULT = "default"
    FILE = "file"
    """The person's."""
    REPOSITORY = "repository"


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value comes from, and which file that is."""

    source: Source = Source.DEFAULT
    path: str = ""
    line: int = 0
    """0: not known."""


@dataclass(frozen=True, slots=True)
class Said:
    """What one file says."""

    path: str
    values: Mapping[str, Value]
    lines: Mapping[str, int]

    def origin(self, name: str, source: Source) -> Origin:
        """Where it says something of the key `name`."""
        return Origin(source, self.path, self.lines.get(name, 0))


@dataclass(frozen=True, slots=True)
class Settings:
    """A value for every key, and where it comes from."""

    values: Mapping[str, Value]
    origins: Mapping[str, Origin]
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        chosen = {limit.name: int(self.number(f"guards.{limit.name}")) for limit in fields(Limits)}
        object.__setattr__(self, "limits", Limits(**chosen))

    def number(self, name: str) -> float:
        """The value of a key that is a number."""
        value = self.values[name]
        assert isinstance(value, (int, float))
        return float(value)

    def on(self, name: str) -> bool:
        """The value of a key that is true or false."""
        return self.values[name] is True

    def text(self, name: str) -> str:
        """The value of a key that is a text."""
        value = self.values[name]
        assert isinstance(value, str)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """The value of a key that is a list of texts."""
        value = self.values[name]
        assert isinstance(value, tuple)
        return value


DEFAULTS = Settings({name: key.default for name, key in KEYS.items()}, dict.fromkeys(KEYS, Origin()))


def settings(said: Said | None) -> Settings:
    """What holds where the person's file says this (None: there is no file)."""
    if said is None:
        return DEFAULTS
    origins = {name: said.origin(name, Source.FILE) for name in said.values}
    return Settings({**DEFAULTS.values, **said.values}, {**DEFAULTS.origins, **origins})


def stricter(base: Settings, said: Said | None) -> Settings:
    """What holds in a repository whose file says this. What would allow more than `base` changes nothing."""
    lower = {name: value for name, value in said.values.items() if _is_lower(value, base.values[name])} if said else {}
    if said is None or not lower:
        return base
    origins = {name: said.origin(name, Source.REPOSITORY) for name in lower}
    return Settings({**base.values, **lower}, {**base.origins, **origins})


def _is_lower(value: Value, than: Value) -> bool:
    return isinstance(value, (int, float)) and isinstance(than, (int, float)) and value < than


def said(data: Mapping[str, Any], path: str, lines: Mapping[str, int], *, repository: bool = False) -> Said:
    """What the decoded file at `path` says. Raises `BadConfig` with its first mistake: file, line if known, key."""
    values: dict[str, Value] = {}
    for name, value in flat(data):
        where = f"{path}, line {lines[name]}" if name in lines else path
        key = KEYS.get(name)
        if key is None:
            line = f"take it out{'' if repository else f': coterie config unset {one_line(name, NAME_CHARS)}'}"
            raise BadConfig(f"{where}: {unknown(name)}", f"mend it there, or {line}")
        if repository and not key.stricter:
            raise BadConfig(f"{where}: {name} is not for a repository to set", "take it out; only a person may set it")
        if not key.takes(value):
            raise BadConfig(f"{where}: {name} is {one_line(repr(value), NAME_CHARS)}", f"it must be {key.wanted}")
        values[name] = tuple(value) if isinstance(value, list) else value
    return Said(path, values, lines)


def flat(data: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every value under its dotted name. An empty table that is none of ours stands for itself."""
    for name, value in data.items():
        path = f"{before}{name}"
        if isinstance(value, Mapping) and (value or path in TABLES):
            yield from flat(value, f"{path}.")
        else:
            yield path, value


def unknown(name: str) -> str:
    """That `name` is no key, and what may be meant."""
    if name in TABLES:
        return f"{name} is a table of keys, not a key"
    near = get_close_matches(name, KEYS, 1)
    meant = f"; did you mean {near[0]}?" if near else ""
    return f"{one_line(name, NAME_CHARS)} is no key{meant}"


def key_named(name: str) -> Key:
    """The key of this name. Raises `BadInput` with the nearest."""
    if name not in KEYS:
        raise BadInput(unknown(name), "coterie config lists every key")
    return KEYS[name]


def value_of(key: Key, text: str) -> Value:
    """What somebody typed as the value of a key. Raises `BadInput` that says what it may be."""
    if isinstance(key.default, (str, tuple)):
        return _text_of(key, text)
    value: object = {"true": True, "false": False}.get(text.lower(), text)
    for number in (float, int):
        try:
            value = number(text)
        except ValueError:
            continue
    if not key.takes(value):
        raise BadInput(f"{key.name} cannot be {one_line(text, NAME_CHARS)}", f"it must be {key.wanted}")
    return value  # type: ignore[return-value]


def _text_of(key: Key, text: str) -> Value:
    value: Value = text.strip() if isinstance(key.default, str) else tuple(text.replace(",", " ").split())
    if not key.takes(value):
        hint = key.wanted if isinstance(key.default, str) else f"{key.wanted}, with commas between them"
        raise BadInput(f"{key.name} cannot be {one_line(text, NAME_CHARS)}", f"it must be {hint}")
    return value
