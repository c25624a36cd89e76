"""Whether the log has commits that SQLite no longer reads, because something before them was damaged.

SQLite ends a log at the first frame that is not as it was written, and says nothing: one that a power cut tore ends the
same way. What stands behind that place proves little by itself. SQLite goes on writing there, in the same life of the
log (with the same salts), so that the tails of commits that were torn and never accepted stay behind newer frames.

One thing proves a loss. The checksum of a frame goes on from that of the frame before it, and a transaction begins with
the checksum of the last commit that its writer knew to be on the disk. So where the sum over a frame that ends a commit
leads to that of the next frame, that commit was on the disk before the next frame was written. Of the last commit
in a log there is no such proof: damage in it cannot be told from a tear.

The format is that of SQLite's file format, section 4; of the index, of its "WAL-mode file format", section 2.1.
"""

from __future__ import annotations

import contextlib
import os
import struct
import sys

from coterie.errors import StoreFailed
from coterie.store import copies

HEADER = struct.Struct(">8I")
"""Magic, version, page size, checkpoint, two salts, two checksums."""
FRAME = struct.Struct(">6I")
"""Page, size of the database after a commit (0: no commit), two salts, two checksums."""
SUMMED = 24, 8
"""Of the log's header and of a frame's, the bytes that enter the checksum."""
INDEX = struct.Struct("=16xI28x")
"""The index's header: how many frames SQLite reads. The rest changes with every transaction."""
PAGE_BYTES = 4096
"""Of a page, where the header cannot be believed: SQLite's own default, which is ours."""

Words = tuple[int, ...]
"""Two of them are a checksum."""


def lost_commits(database: str) -> int:
    """How many commits are proven to be lost, at the least. No connection of this process may have the database open:
    closing a file, as this does, gives up all locks that the process has on it.
    """
    if not os.path.exists(database + "-wal") or not os.path.getsize(database + "-wal"):
        return 0
    with contextlib.closing(copies.opened(database)) as connection, contextlib.suppress(FileNotFoundError):
        connection.execute("PRAGMA user_version").fetchone()  # With that SQLite looks how far the log goes.
        with open(database + "-wal", "rb") as log, open(database + "-shm", "rb") as index:
            before = _state(log.fileno(), index.fileno())
            lost = _lost(database, log.fileno(), *before)
            # Where somebody wrote meanwhile, frames came behind those that were read, and nothing is proven.
            return lost if lost and before == _state(log.fileno(), index.fileno()) else 0
    return 0


def words(lost: int) -> str:
    """How what is lost is told."""
    return f"at least {lost} commit{'s' if lost > 1 else ''}"


def sync(database: str) -> None:
    """Bring the log to the disk. A daemon that was killed in the middle of a commit may have left it whole and not
    synced; it is read from now on, and must not be gone after a power cut. Raises `StoreFailed`.
    """
    try:
        copies.sync(database + "-wal")
        copies.sync(os.path.dirname(database))
    except FileNotFoundError:
        return
    except OSError as error:
        raise StoreFailed(
            f"{database}-wal cannot be brought to the disk: {error.strerror}", "see the system's log for the disk"
        ) from error


def _state(log: int, index: int) -> tuple[bytes, bytes]:
    return os.pread(log, HEADER.size, 0), os.pread(index, INDEX.size, 0)


def _lost(database: str, log: int, head: bytes, known: bytes) -> int:
    if len(head) < HEADER.size or len(known) < INDEX.size:
        return 0
    frames = _Frames(log, head)
    read = INDEX.unpack(known)[0] if frames.whole else 0
    proven = [frame for frame in range(read + 1, frames.count) if frames.was_synced(frame)]
    if proven and not read and _has(database, frames, proven):
        return 0  # The database is read alone, and lacks nothing of them.
    return len(proven)


def _has(database: str, frames: _Frames, commits: list[int]) -> bool:
    """Whether the database has what these commits wrote, or what later ones did, as far as that can be told."""
    size = frames.page_size
    with open(database, "rb") as pages:
        for page, versions in _versions(frames, commits).items():
            content = os.pread(pages.fileno(), size, (page - 1) * size)
            if not any(content == frames.content(frame) for frame in versions):
                return False
    return True


def _versions(frames: _Frames, commits: list[int]) -> dict[int, list[int]]:
    """The pages that these commits wrote, each with the frames that hold it as it was by the last of them or later."""
    sure, last = set(commits), commits[-1]
    versions: dict[int, list[int]] = {}
    for frame in range(commits[0], last + 1):
        if frame in sure or frames.goes_on(frame):
            versions[frames.page(frame)] = [frame]
        else:
            versions.clear()  # It may have been about any page.
    for frame in range(last + 1, frames.count + 1):
        if not frames.is_of_this_life(frame):
            break
        page = frames.page(frame)
        if not frames.goes_on(frame):
            versions.pop(page, None)
        elif page in versions:
            versions[page].append(frame)
    return versions


class _Frames:
    """The frames of a log, counted from 1. What stands in their place 0 is the log's header."""

    def __init__(self, log: int, head: bytes) -> None:
        self._log = log
        magic, _, page_size, _, *salts, one, two = HEADER.unpack(head)
        self.page_size: int = page_size
        self._order = ">" if magic & 1 else "<"
        self._begin = one, two
        self._sum_of_head = self._summed((0, 0), head[: SUMMED[0]])
        self.whole = self._sum_of_head == self._begin
        """Whether the header is as it was written. SQLite reads nothing of a log where it is not."""
        self._salts = tuple(salts)
        if not self.whole:
            self.page_size, self._order = PAGE_BYTES, ">" if sys.byteorder == "big" else "<"
            self._sum_of_head = self._summed((0, 0), head[: SUMMED[0]])
        self.count = max(0, os.fstat(log).st_size - HEADER.size) // (self.page_size + FRAME.size)
        if not self.whole and self.count:
            self._salts = self._words(1)[2:4]

    def page(self, frame: int) -> int:
        """Which page it holds."""
        return self._words(frame)[0]

    def content(self, frame: int) -> bytes:
        """The page that it holds."""
        return self._read(self._start(frame) + FRAME.size, self.page_size)

    def was_synced(self, frame: int) -> bool:
        """Whether a frame ends a commit, and the next one was written by somebody who knew it to be on the disk."""
        if not self._words(frame)[1] or not self.is_of_this_life(frame + 1):
            return False
        # Of the frame before, the checksum itself may be what was damaged, or what it is the sum of.
        return self._lead_on(self._stored(frame - 1), frame) or self._lead_on(self._sum(frame - 1), frame)

    def goes_on(self, frame: int) -> bool:
        """Whether a frame is as it was written after the one before it."""
        return self.is_of_this_life(frame) and self._next(self._stored(frame - 1), frame) == self._stored(frame)

    def is_of_this_life(self, frame: int) -> bool:
        """Whether it was written since the log last began anew."""
        return self._words(frame)[2:4] == self._salts

    def _lead_on(self, before: Words, frame: int) -> bool:
        return self._next(self._next(before, frame), frame + 1) == self._stored(frame + 1)

    def _sum(self, frame: int) -> Words:
        return self._next(self._stored(frame - 1), frame) if frame else self._sum_of_head

    def _stored(self, frame: int) -> Words:
        return self._words(frame)[4:6] if frame else self._begin

    def _next(self, before: Words, frame: int) -> Words:
        return self._summed(before, self._read(self._start(frame), SUMMED[1]) + self.content(frame))

    def _summed(self, before: Words, content: bytes) -> Words:
        one, two = before
        words = struct.unpack(f"{self._order}{len(content) // 4}I", content)
        for first, second in zip(words[::2], words[1::2], strict=True):
            one = (one + first + two) & 0xFFFFFFFF
            two = (two + second + one) & 0xFFFFFFFF
        return one, two

    def _words(self, frame: int) -> Words:
        return FRAME.unpack(self._read(self._start(frame), FRAME.size))

    def _read(self, at: int, size: int) -> bytes:
        # Whoever writes may have made it shorter meanwhile.
        return os.pread(self._log, size, at).ljust(size, b"\0")

    def _start(self, frame: int) -> int:
        return HEADER.size + (frame - 1) * (self.page_size + FRAME.size)
