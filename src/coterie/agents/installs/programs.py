"""Where programs are: ours, by a path that lasts, and those of the agents."""

from __future__ import annotations

import json
import os
import re
import shutil
import sysconfig
import tempfile
from collections.abc import Mapping
from typing import NamedTuple

from coterie.agents.installs.entries import ADAPTER, HOOK
from coterie.errors import Refused

VERSION = re.compile(r"\d+\.\d+\.\d+[\w.+-]*")
_USUAL = (".local/bin", ".npm-global/bin", ".bun/bin", ".claude/local", ".opencode/bin")
"""Folders in HOME where installers of the agents put them, and which a shell without its profile does not search."""

TEMPORARY = ("/tmp", "/var/tmp", "/private/tmp")  # noqa: S108 (to be avoided)


class Ours(NamedTuple):
    """Our two programs, as they are to stand in configurations."""

    adapter: str
    hook: str


def ours(environ: Mapping[str, str], *, anywhere: bool = False) -> Ours:
    """Our programs by absolute, lasting paths. Raises `Refused` if they lie where things are cleared away, unless
    `anywhere` will do.
    """
    return Ours(*(_ours(name, environ, anywhere=anywhere) for name in (ADAPTER, HOOK)))


def _ours(name: str, environ: Mapping[str, str], *, anywhere: bool) -> str:
    program = os.path.join(sysconfig.get_path("scripts"), name)
    if not os.access(program, os.X_OK):
        raise Refused(f"there is no program {program}", "install coterie again, whole")
    lasting = _lasting_link(program, name, environ) or program
    why = _why_fleeting(lasting, environ)
    if why and not anywhere:
        raise Refused(
            f"{lasting} will not last: {why}",
            "install it for good (uv tool install coterie, or pipx install coterie); --force takes it as it is",
        )
    try:
        lasting.encode()
    except UnicodeEncodeError:
        raise Refused(f"the path {lasting!r} is not UTF-8", "install coterie in a folder whose name is") from None
    return lasting


def _lasting_link(program: str, name: str, environ: Mapping[str, str]) -> str | None:
    """The link on PATH that leads to this very program: pipx and uv keep it when they put in a new version."""
    found = shutil.which(name, path=environ.get("PATH"))
    same = found and os.path.isabs(found) and os.path.realpath(found) == os.path.realpath(program)
    return os.path.normpath(found) if found and same and not _why_fleeting(found, environ) else None


def _why_fleeting(path: str, environ: Mapping[str, str]) -> str | None:
    """Why a path will not last, or None if it does as far as one can tell."""
    temporary = {tempfile.gettempdir(), *TEMPORARY, *filter(None, [environ.get("TMPDIR")])}
    caches = [environ[name] for name in ("UV_CACHE_DIR", "XDG_CACHE_HOME") if environ.get(name)]
    for spelled in {path, os.path.realpath(path)}:
        parts = spelled.split("/")
        if any(_is_below(spelled, folder) for folder in temporary):
            return "it is in a folder for temporary files"
        if any(_is_below(spelled, folder) for folder in caches) or {".cache", "Caches", "archive-v0"} & set(parts):
            return "it is in a cache (uvx and pipx run clear theirs)"
    return None


def _is_below(path: str, folder: str) -> bool:
    return path.startswith((folder.rstrip("/") + "/", os.path.realpath(folder).rstrip("/") + "/"))


def find(name: str, environ: Mapping[str, str]) -> str | None:
    """An agent's program: on PATH, or where its installer puts it."""
    home = environ.get("HOME") or os.path.expanduser("~")
    places = [environ.get("PATH") or os.defpath, *(os.path.join(home, folder) for folder in _USUAL)]
    return shutil.which(name, path=os.pathsep.join(places))


def version(program: str) -> str | None:
    """The version of an agent, as far as its files tell: to ask the program takes up to seconds."""
    path = os.path.realpath(program)
    while (folder := os.path.dirname(path)) != path:
        if found := VERSION.fullmatch(os.path.basename(path)):
            return found[0]
        told = _package_version(os.path.join(folder, "package.json"))
        if told:
            return told
        path = folder
        if os.path.basename(path) == "node_modules":
            return None
    return None


def _package_version(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            told = json.load(file)
    except (OSError, ValueError):  # No package, or none that says anything.
        return None
    found = told.get("version") if isinstance(told, dict) else None
    return found if isinstance(found, str) else None
