"""Which repository a folder belongs to, as git says: the common directory, so that worktrees and subdirectories of
one repository are the same.
"""

from __future__ import annotations

import asyncio
import os

from coterie.limits import BRANCH_S, GIT_S

CACHE_MAX = 1024
"""Folders remembered; sessions start in few."""


class Repositories:
    """Asks git once for each folder that sessions start in, and for its branch once for all that ask together."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._branches: dict[str, tuple[float, asyncio.Task[str]]] = {}

    async def common_dir(self, folder: str) -> str:
        """The git common directory of `folder`, or an empty text outside a repository."""
        if folder not in self._known:
            found = await _ask_git(folder, "rev-parse", "--path-format=absolute", "--git-common-dir")
            if found is None:
                return ""  # Not remembered: git was slow, or the folder is not there yet.
            if len(self._known) >= CACHE_MAX:
                self._known.clear()
            if not found:
                return ""  # `git init` may come later.
            self._known[folder] = found
        return self._known[folder]

    async def top_level(self, folder: str) -> str:
        """The folder that the checkout in `folder` begins at; empty where there is none, as in a bare repository."""
        return await _ask_git(folder, "rev-parse", "--path-format=absolute", "--show-toplevel") or ""

    async def branch(self, folder: str) -> str:
        """The branch that is checked out in `folder`, now or BRANCH_S ago at most; empty outside a repository and on no
        branch.
        """
        now = asyncio.get_running_loop().time()
        asked, look = self._branches.get(folder, (-BRANCH_S, None))
        if look is None or now - asked > BRANCH_S:
            if len(self._branches) >= CACHE_MAX:
                self._branches.clear()
            look = asyncio.ensure_future(_look_at_branch(folder))
            self._branches[folder] = now, look
        return await asyncio.shield(look)


async def _look_at_branch(folder: str) -> str:
    return await _ask_git(folder, "branch", "--show-current") or ""


async def _ask_git(folder: str, *question: str) -> str | None:
    """What git says; empty if it refuses, None if it cannot be asked."""
    command = ("git", "-C", folder, *question)
    try:
        git = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError:
        return None
    try:
        out, _ = await asyncio.wait_for(git.communicate(), GIT_S)
    except TimeoutError:
        git.kill()  # Not waited for: on a dead mount even its end can take for ever.
        return None
    return os.fsdecode(out).rstrip("\n") if git.returncode == 0 else ""
