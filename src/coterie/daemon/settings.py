"""What holds now, and for whom: the person's settings, made stricter by the repository that a session works in.

Files are looked at only when somebody needs a setting, and not often. A file with a mistake counts for nothing: the
person's leaves what held before it, a repository's is as if it were not there. Both are said in `coterie status`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from coterie import settings as files
from coterie.config import DEFAULTS, KEYS, Said, Settings, stricter
from coterie.errors import BadConfig
from coterie.files import Home
from coterie.limits import CONFIG_LOOK_S, GIT_S, REPOSITORY_LOOK_S
from coterie.peers import Peer

log = logging.getLogger(__name__)

REPOSITORIES_MAX = 1024
"""Repositories remembered; sessions work in few."""
UNREAD = Said("", {"summary.prompts": False, "summary.files": False}, {})
"""What holds in a repository until its file was read for the first time: it may not want these shown."""


@dataclass(slots=True)
class _Repository:
    """What is known of one repository's file."""

    said: Said | None = UNREAD
    problem: BadConfig | None = None
    looked: float = float("-inf")
    looking: asyncio.Task[None] | None = None
    base: Settings | None = None
    made: Settings = DEFAULTS
    """What holds there, made of `base`."""

    def over(self, base: Settings) -> Settings:
        """What holds there, where the person's settings are `base`."""
        if self.base is not base:
            self.base, self.made = base, stricter(base, self.said)
        return self.made


class Keeper:
    """The settings of this device."""

    def __init__(self, place: Home, top_of: Callable[[str], Awaitable[str]]) -> None:
        self._place = place
        self._top_of = top_of
        """The top level of the checkout that a folder lies in."""
        self._loop = asyncio.get_running_loop()
        self._now = DEFAULTS
        self._problem: BadConfig | None = None
        self._stamp: files.Stamp | None = ()  # No file has this one: the first look is followed by a reading.
        self._looked = float("-inf")
        self._repositories: dict[str, _Repository] = {}
        self.watchers: list[Callable[[], None]] = []
        """Called when something else holds than before."""

    def look(self) -> None:
        """Something may have been written: see what holds now."""
        self._look_now()

    def problems(self) -> list[BadConfig]:
        """What is wrong with the files."""
        self._look_now()
        found = [self._problem, *(repository.problem for repository in self._repositories.values())]
        return [problem for problem in found if problem]

    def close(self) -> None:
        """Read nothing any more."""
        for repository in self._repositories.values():
            if repository.looking:
                repository.looking.cancel()

    # --- the person's ------------------------------------------------------------------------------------------

    def now(self) -> Settings:
        """What holds where no repository has a say."""
        if self._loop.time() - self._looked >= CONFIG_LOOK_S:
            self._look_now()
        return self._now

    def _look_now(self) -> None:
        self._looked = self._loop.time()
        stamp = files.stamp(self._place.config)
        if stamp != self._stamp:
            self._stamp = stamp
            self._read()

    def _read(self) -> None:
        try:
            found = files.load(self._place)
        except BadConfig as error:
            self._problem = error
            log.error("%s; what held before holds", error.message)
            return
        self._problem = None
        before, self._now = self._now, found
        if found.values != before.values:
            log.info("settings: %s", _told(found))
            for watcher in self.watchers:
                watcher()

    # --- a repository's ------------------------------------------------------------------------------------------

    def of(self, peer: Peer) -> Settings:
        """What holds for `peer`. A change of its repository's file is noticed by the next to ask after this one."""
        base = self.now()
        if not peer.repo:
            return base
        repository = self._repository(peer)
        if self._loop.time() - repository.looked >= REPOSITORY_LOOK_S:
            self._look(peer, repository)
        return repository.over(base)

    async def met(self, peer: Peer) -> None:
        """A session of `peer` begins: return when the file of its repository was read, if that is due."""
        self.of(peer)
        if peer.repo:
            looking = self._repository(peer).looking
            if looking:
                await asyncio.wait([looking])

    def _repository(self, peer: Peer) -> _Repository:
        # In a layout without a main worktree each checkout has a file of its own.
        key = files.root_of(peer.repo, "") or peer.cwd
        if key not in self._repositories:
            if len(self._repositories) >= REPOSITORIES_MAX:
                self.close()
                self._repositories.clear()
            self._repositories[key] = _Repository()
        return self._repositories[key]

    def _look(self, peer: Peer, repository: _Repository) -> None:
        repository.looked = self._loop.time()
        if repository.looking is None:
            repository.looking = asyncio.ensure_future(self._looked_at(peer.repo, peer.cwd, repository))

    async def _looked_at(self, common_dir: str, cwd: str, repository: _Repository) -> None:
        said, problem = None, None
        try:
            root = files.root_of(common_dir, "") or await self._top_of(cwd)
            said = await _said_in(root) if root else None
        except BadConfig as error:
            problem = error
            if repository.problem is None or repository.problem.message != error.message:
                log.warning("%s; it counts for nothing", error.message)
        finally:
            repository.looking = None
        if said != repository.said:
            repository.base = None
        repository.said, repository.problem = said, problem


async def _said_in(root: str) -> Said | None:
    """What the file of the repository at `root` says. Raises `BadConfig`, also if it cannot be read in time."""
    try:
        reader = await asyncio.create_subprocess_exec(
            *files.reading(root),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise BadConfig(f"{files.path_in(root)} could not be read: {error.strerror}") from None
    try:
        out, _ = await asyncio.wait_for(reader.communicate(), GIT_S)
    except TimeoutError:
        reader.kill()  # Not waited for: on a dead mount even its end can take for ever.
        raise BadConfig(f"{files.path_in(root)} could not be read within {GIT_S:g} s", "is its disk well?") from None
    return files.read_in(root, reader.returncode or 0, out)


def _told(found: Settings) -> str:
    changed = [f"{name} = {value}" for name, value in found.values.items() if value != KEYS[name].default]
    return ", ".join(changed) or "the defaults"
