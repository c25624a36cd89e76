"""Where Coterie keeps its files, and whether they are safely ours. Light, and the one place that names them.

Everything but the person's configuration lies in one folder: ``$COTERIE_HOME``, or ``~/.local/state/coterie``. XDG
variables are left aside on purpose: agents start their children with scrubbed environments (Codex passes HOME and
little else), and two sessions that disagree about the folder would each start a daemon and never meet.
"""

from __future__ import annotations

import errno
import os
import stat

from coterie.errors import DiskFull, Unsafe
from coterie.ids import fingerprint
from coterie.limits import SOCKET_PATH_BYTES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

USUAL = "/.local/state/coterie"
"""Where the folder lies below the person's home, if nothing else is said."""
FOLDER_MODE = 0o700
FILE_MODE = 0o600

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})


class Home:
    """The folder and the files in it."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.lock = os.path.join(folder, "daemon.lock")
        self.log = os.path.join(folder, "daemon.log")
        self.database = os.path.join(folder, "coterie.db")
        self.backups = os.path.join(folder, "backups")
        self.off = os.path.join(folder, "switched-off")
        """Exists while the person has Coterie switched off."""
        self.kills = os.path.join(folder, "agents-may-kill")
        """Exists while the person lets agents end each other's sessions; it says whose."""
        self.clock = os.path.join(folder, "clock.json")
        """What the clock said when: see daemon/clock.py."""
        self.device = os.path.join(folder, "device")
        """The folder of this device's key and certificate, and of the keys that pairings left."""
        self.config = self._config()
        """The person's configuration."""
        self.socket = self._socket()

    def _config(self) -> str:
        """It follows from the folder alone, so that whoever starts the daemon cannot choose it by the environment."""
        if self.folder.endswith(USUAL):
            return os.path.join(self.folder.removesuffix(USUAL) or "/", ".config", "coterie", "config.toml")
        return os.path.join(self.folder, "config.toml")

    def _socket(self) -> str:
        path = os.path.join(self.folder, "daemon.sock")
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES_MAX:
            return path
        return os.path.join(f"/tmp/coterie-{os.getuid()}", fingerprint(self.folder) + ".sock")  # noqa: S108 (owner and mode are checked: make_folder)

    @property
    def socket_folder(self) -> str:
        """The folder of the socket, which is another one when the path would be too long for a socket."""
        return os.path.dirname(self.socket)


def home(environ: Mapping[str, str] = os.environ) -> Home:
    """The home that `environ` names."""
    named = environ.get("COTERIE_HOME")
    folder = named or os.path.expanduser("~").rstrip("/") + USUAL
    return Home(os.path.abspath(folder))


def make_folder(path: str) -> None:
    """Make a folder that is ours alone, or check the one that is there. Raises `Unsafe`, with the fix."""
    try:
        _make_above(os.path.dirname(path))
        os.mkdir(path, FOLDER_MODE)
    except FileExistsError:
        pass
    except OSError as error:
        raise Unsafe(f"cannot make the folder {path}: {error.strerror}", "make it, or set COTERIE_HOME") from None
    check_folder(path)


def _make_above(path: str) -> None:
    """The folders above ours, which `os.makedirs` would leave to the umask: whoever may write there may swap ours."""
    if os.path.isdir(path):
        return
    if not os.path.exists(os.path.dirname(path)):
        _make_above(os.path.dirname(path))
    try:
        os.mkdir(path, FOLDER_MODE)
    except FileExistsError:
        if not os.path.isdir(path):  # Another starter may have made it just now.
            raise


def check_folder(path: str) -> None:
    """Raises `Unsafe`, with the fix, unless `path` is a real folder of ours that nobody else may enter."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Unsafe(f"there is no folder {path}: {error.strerror}", "make it, or set COTERIE_HOME") from None
    _check(path, found, stat.S_ISDIR, "folder", FOLDER_MODE)


def check_file(path: str) -> bool:
    """Whether the file exists. Raises `Unsafe`, with the fix, unless it is a real file of ours alone."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    _check(path, found, stat.S_ISREG, "file", FILE_MODE)
    return True


def check_socket(path: str) -> bool:
    """Whether the socket exists. Raises `Unsafe`, with the fix, unless it is a real socket of ours alone."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    _check(path, found, stat.S_ISSOCK, "socket", FILE_MODE)
    return True


def working_folder() -> str:
    """Where this process works. A name that is not UTF-8 is spelled with U+FFFD; a folder that was removed is ``/``."""
    try:
        return os.fsencode(os.getcwd()).decode("utf-8", "replace")
    except FileNotFoundError:
        return "/"


def _may_be_opened(path: str) -> bool:
    try:
        found = os.lstat(path)
    except OSError:
        return True
    return found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & FILE_MODE == FILE_MODE


def open_private(path: str, flags: int) -> int:
    """Open a file that is ours alone, made with mode 0600 from birth. Raises `Unsafe`, with the fix."""
    check_file(path)
    try:
        descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, FILE_MODE)
    except PermissionError:
        if _may_be_opened(path):
            raise  # It is ours and open to us: something else forbids it, such as a sandbox.
        raise Unsafe(f"{path} cannot be opened by you", f"chmod 600 {path}") from None
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise DiskFull(f"there is no room for {path}: {error.strerror}", "make room, and try again") from None
    try:
        _check(path, os.fstat(descriptor), stat.S_ISREG, "file", FILE_MODE)
    except Unsafe:
        os.close(descriptor)
        raise
    return descriptor


def _check(path: str, found: os.stat_result, is_kind: Callable[[int], bool], kind: str, mode: int) -> None:
    if stat.S_ISLNK(found.st_mode):
        raise Unsafe(f"{path} is a symbolic link", f"see where it leads (ls -l {path}), then remove it: rm {path}")
    if not is_kind(found.st_mode):
        raise Unsafe(f"{path} is not a {kind}", f"move it out of the way: mv {path} {path}.old")
    if found.st_uid != os.getuid():
        raise Unsafe(f"{path} belongs to another user (uid {found.st_uid})", "remove it, or set COTERIE_HOME")
    if stat.S_IMODE(found.st_mode) & 0o077:
        raise Unsafe(f"{path} is open to other users", f"chmod {mode:o} {path}")
