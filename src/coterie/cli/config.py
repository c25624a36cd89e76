"""``coterie config``. It reads the files itself, so that it works whatever the daemon does."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from coterie import settings as files
from coterie.cli import say
from coterie.cli.options import current_folder, examples, human_option, json_option, short_path
from coterie.cli.person import check_person
from coterie.cli.table import flowed, wrapped
from coterie.config import (
    KEYS,
    Key,
    Origin,
    Said,
    Settings,
    Source,
    Value,
    flat,
    key_named,
    stricter,
    unknown,
    value_of,
)
from coterie.errors import BadConfig, BadInput
from coterie.files import home
from coterie.limits import CONFIG_LOOK_S, GIT_S
from coterie.texts import tomltext

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

INDENT = "    "
LEAST = 16
"""Columns for a meaning; on a terminal too narrow for that, lines are longer than it."""
VERBS = {"set": 3, "unset": 2}
"""How many words each takes, itself included."""


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from click.shell_completion import CompletionItem

    said = ctx.params.get("words") or ()
    words = [*KEYS, *([] if said else VERBS)] if len(said) < 2 and (not said or said[0] in VERBS) else []
    return [CompletionItem(word) for word in words if word.startswith(incomplete)]


@click.command(
    epilog=examples(
        "coterie config",
        "coterie config guards.pair_burst",
        "coterie config set notify.desktop true",
        "coterie config unset notify.desktop",
    ),
)
@click.argument("words", nargs=-1, metavar="[KEY | set KEY VALUE | unset KEY]", shell_complete=_complete)
@click.option("--path", is_flag=True, help="Only print where your file is.")
@human_option
@json_option
def config(words: tuple[str, ...], path: bool, i_am_human: bool, as_json: bool) -> None:
    """Every setting, its value and where that comes from; set one.

    What holds in the folder you are in: the defaults, your file over them, and the .coterie.toml of the repository,
    which can only make stricter. A running daemon takes a change within a second.
    """
    if path:
        _show_path(as_json=as_json)
    elif words and words[0] in VERBS:
        if len(words) != VERBS[words[0]]:
            raise BadInput(f"{words[0]} takes {' and '.join(['a key', 'a value'][: VERBS[words[0]] - 1])}")
        _edit(words, i_am_human=i_am_human, as_json=as_json)
    elif len(words) > 1:
        raise BadInput(
            f"{words[1][:40]!r} is one word too many",
            f"to set it: coterie config set {shlex.join(word[:40] for word in words[:2])}",
        )
    else:
        _show([key_named(words[0])] if words else list(KEYS.values()), alone=bool(words), as_json=as_json)


def _show_path(*, as_json: bool) -> None:
    path = home().config
    if as_json:
        say.result_json({"path": path, "exists": os.path.exists(path)})
    else:
        say.result(path)


# --- what holds -------------------------------------------------------------------------------------------------------


def here(cwd: str) -> tuple[Settings, BadConfig | None]:
    """What holds in a folder, and what is wrong with its repository's file. Raises `BadConfig` for the person's."""
    base = files.load(home(), lines_of)
    try:
        return stricter(base, _said_by_repository(cwd)), None
    except BadConfig as error:
        return base, error


def lines_of(text: str) -> Mapping[str, int]:
    """The line of each key in a text that parses."""
    found = [statement for statement in tomltext.statements(text) if not statement.is_header]
    return {".".join(map(str, key.path)): text.count("\n", 0, key.start) + 1 for key in found}


def _said_by_repository(cwd: str) -> Said | None:
    common_dir = _git(cwd, "--git-common-dir")
    root = files.root_of(common_dir, "") or _git(cwd, "--show-toplevel") if common_dir else ""
    if not root:
        return None
    try:
        ended = subprocess.run(
            files.reading(root), stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        raise BadConfig(f"{files.path_in(root)} could not be read within {GIT_S:g} s", "is its disk well?") from None
    return files.read_in(root, ended.returncode, ended.stdout, lines_of)


def _git(cwd: str, question: str) -> str:
    command = ["git", "-C", cwd, "rev-parse", "--path-format=absolute", question]
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=GIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return os.fsdecode(ended.stdout).rstrip("\n") if ended.returncode == 0 else ""


def _show(keys: list[Key], *, alone: bool, as_json: bool) -> None:
    found, problem = here(current_folder())
    path = home().config
    if as_json:
        wrong = [{"message": problem.message, "hint": problem.hint}] if problem else []
        rows = [_as_json(key, found) for key in keys]
        say.result_json({"path": path, "exists": os.path.exists(path), "keys": rows, "problems": wrong})
        return
    if not alone:
        say.result(short_path(path) + ("" if os.path.exists(path) else "  (not there; the defaults hold)"))
    for key in keys:
        _show_key(key, found, alone=alone)
    if problem:
        say.note(f"{problem.message} (nothing in that file counts)")
        say.note(f"hint: {problem.hint}")


def _show_key(key: Key, found: Settings, *, alone: bool) -> None:
    width = say.width()
    head = flowed([f"{key.name} = {shown(found.values[key.name])}", f"({_from(found.origins[key.name])})"], width)
    first, *rest = head.split("\n")
    say.result("\n".join([say.bold(first), *rest]))
    told = [key.meaning]
    if alone:
        told.append(f"It is {key.wanted}; {shown(key.default)} by default.")
        told.append("A repository may " + (_stricter(key) if key.stricter else "not set it."))
    for line in told:
        for piece in [line] if width is None else wrapped(line, max(width - len(INDENT), LEAST)):
            say.result(INDENT + piece)


def _stricter(key: Key) -> str:
    return "turn it off." if isinstance(key.default, bool) else "set it lower."


def shown(value: Value) -> str:
    """A value as it stands in a file."""
    if isinstance(value, (str, tuple)):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else f"{value:g}" if isinstance(value, float) else str(value)


def _from(origin: Origin) -> str:
    if origin.source is Source.DEFAULT:
        return "default"
    return say.plain(short_path(origin.path)) + (f", line {origin.line}" if origin.line else "")


def _as_json(key: Key, found: Settings) -> dict[str, Any]:
    origin = found.origins[key.name]
    of = {"source": origin.source.value, "path": origin.path or None, "line": origin.line or None}
    return {
        "key": key.name,
        "value": found.values[key.name],
        "default": key.default,
        "origin": of,
        "meaning": key.meaning,
        "wanted": key.wanted,
        "repository": key.stricter,
    }


# --- setting ----------------------------------------------------------------------------------------------------------


def _edit(words: tuple[str, ...], *, i_am_human: bool, as_json: bool) -> None:
    verb, name = words[:2]
    value = value_of(key_named(name), words[2]) if verb == "set" else None
    check_person(f"config.{verb}", f"coterie config {shlex.join(words)}", i_am_human=i_am_human)
    path = home().config
    before = files.read(path)
    known = dict(flat(files.parsed(before or "", path)))
    if verb == "unset" and name not in known:
        if name not in KEYS:
            raise BadInput(unknown(name), f"nor does it stand in {path}")
        say.note(f"{name} was not set; its default holds")
    else:
        after = files.edited(before or "", path, name, value)
        if verb == "set":
            files.understood(after, path, lines_of)  # Another mistake in the file would keep this from counting.
        files.write(path, before, after)
    if as_json:
        say.result_json({"key": name, "value": value, "path": path, "set": verb == "set"})
    elif value is not None:
        say.result(f"{name} is {shown(value)} now; a running daemon takes it within {CONFIG_LOOK_S:g} s")
    elif name in KEYS:
        say.result(f"{name} is {shown(KEYS[name].default)}, its default")
    else:
        say.result(f"{name} was taken out")
