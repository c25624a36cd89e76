"""The agents' programs, at pinned versions: found in a cache folder, or installed there from npm.

    python programs.py        installs what is missing; about 1.2 GB in all

The folder is ``$COTERIE_CLIENTS``, or ``~/.cache/coterie-clients``; each program has a tree of its own in it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PINNED = {
    "claude": ("@anthropic-ai/claude-code", "2.1.328"),
    "codex": ("@openai/codex", "0.169.0"),
    "gemini": ("@google/gemini-cli", "0.61.0"),
    "opencode": ("opencode-ai", "1.18.33"),
}
"""The npm package of each client, and the version that all facts about it in this project were measured with."""
NPM_S = 900
"""How long one install may take: hundreds of megabytes over a slow line."""
ANSWER_S = 120


def folder() -> Path:
    """Where the programs are."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(os.environ.get("COTERIE_CLIENTS") or f"{cache}/coterie-clients").absolute()


def program(client: str) -> Path:
    """Where the pinned version of a client is, or would be."""
    return folder() / f"{client}-{PINNED[client][1]}" / "node_modules" / ".bin" / client


def lacking() -> str:
    """What this machine lacks of the programs, or ""."""
    missing = [client for client in PINNED if not program(client).exists()]
    return f"{', '.join(missing)} (make test-clients installs them)" if missing else ""


def _npm(tree: Path, package: str, scratch: Path) -> bool:
    """Install into a new folder, with a cache of its own; the person's npm settings are only read."""
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    (tree / "package.json").write_text(json.dumps({"private": True}))
    settings = os.environ.get("NPM_CONFIG_USERCONFIG", str(Path.home() / ".npmrc"))
    environ = {**os.environ, "HOME": str(scratch), "NPM_CONFIG_USERCONFIG": settings}
    environ["npm_config_cache"] = str(scratch / "cache")
    quiet = ["--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
    try:
        done = subprocess.run(["npm", "install", *quiet, package], cwd=tree, env=environ, check=False, timeout=NPM_S)
    except subprocess.TimeoutExpired:
        print(f"npm did not end within {NPM_S} s", flush=True)
        return False
    return done.returncode == 0


def _answer(path: Path, scratch: Path) -> str:
    """What the program says its version is. Raises OSError or `subprocess.SubprocessError` if it does not start."""
    node = os.path.dirname(shutil.which("node") or "/usr/bin/node")
    environ = {"PATH": f"{node}:/usr/bin:/bin", "HOME": str(scratch)}
    said = subprocess.run(
        [path, "--version"], env=environ, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=ANSWER_S
    )
    return said.stdout.decode().strip()


def install(client: str, scratch: Path) -> bool:
    """Install a client if it is not there; whether it is there now and starts."""
    package, version = PINNED[client]
    path, start = program(client), time.monotonic()
    if not path.exists():
        print(f"{client}: installing {package}@{version} into {folder()} ...", flush=True)
        if not (_npm(scratch / "new", f"{package}@{version}", scratch) or _again(scratch, package, version)):
            print(f"{client}: npm could not install {package}@{version}", flush=True)
            return False
        tree = path.parents[2]
        shutil.rmtree(tree, ignore_errors=True)
        (scratch / "new").rename(tree)
    try:
        print(f"{client}: {_answer(path, scratch)} ({time.monotonic() - start:.0f} s)", flush=True)
    except (OSError, subprocess.SubprocessError) as error:
        print(f"{client}: {path} does not start: {error}", flush=True)
        return False
    return True


def _again(scratch: Path, package: str, version: str) -> bool:
    print(f"npm failed for {package}@{version}; once more ...", flush=True)
    return _npm(scratch / "new", f"{package}@{version}", scratch)


def main() -> int:
    """Install what is missing. 0: all four are there."""
    if lacking() and not shutil.which("npm"):
        print(f"npm is missing (Node 20 or newer), so these are not installed: {lacking().partition(' (')[0]}")
        return 1
    try:
        folder().mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=".install-", dir=folder()))
    except OSError as error:
        print(f"cannot write to {folder()}: {error.strerror}; set COTERIE_CLIENTS to another folder")
        return 1
    try:
        return 0 if sum(install(client, scratch) for client in PINNED) == len(PINNED) else 1
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
