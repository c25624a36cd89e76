"""What a session does, as its hooks tell: a summary that needs no model and no asking.

It is made of the branch, the first line of the last prompt and the files touched last. What the agent says of itself
wins until it is OWN_SUMMARY_S old. Other devices are told of it what the owner's settings allow, and no path that does
not begin in the session's own folder.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from coterie.frames import one_line
from coterie.limits import ACTIVITY_FILES_MAX, OWN_SUMMARY_S, PROMPT_LINE_CHARS, SUMMARY_CHARS_MAX

FILE_CHARS = 60
"""A path in a summary; of a longer one the end says more."""
CUT = "…"


@dataclass(slots=True)
class Activity:
    """What one session does."""

    branch: str = ""
    prompt: str = ""
    """The first line of its last prompt."""
    files: list[str] = field(default_factory=list)
    """Files it touched, the newest first; relative to its folder where they lie in it."""

    def asked(self, line: str) -> bool:
        """Its user asked for something, and what it touched before belongs to what was asked before. False if that is
        nothing new.
        """
        prompt = one_line(line, PROMPT_LINE_CHARS)
        if not prompt or prompt == self.prompt:
            return False
        self.prompt, self.files = prompt, []
        return True

    def touched(self, paths: list[str], cwd: str) -> bool:
        """It is about to change these files. False if none of them is new."""
        shown = [_shown_path(path, cwd) for path in paths]
        new = not set(shown).issubset(self.files)
        self.files = list(dict.fromkeys([*reversed(shown), *self.files]))[:ACTIVITY_FILES_MAX]
        return new

    def line(self, *, prompts: bool = True, files: bool = True, outside: bool = True) -> str:
        """All of it in one line, but for what is not to be shown; empty if nothing is known. `outside`: also files that
        do not lie in its folder.
        """
        prompt, touched = self.prompt if prompts else "", self.files if files else []
        if not outside:
            touched = [path for path in touched if not path.startswith(("/", CUT))]
        parts = [f"on {self.branch}"] if self.branch else []
        if prompt:
            parts.append(f"asked: {prompt}")
        if touched:
            parts.append(f"files: {', '.join(touched)}")
        return one_line("; ".join(parts), SUMMARY_CHARS_MAX) if prompt or touched else ""


def _shown_path(path: str, cwd: str) -> str:
    inside = path.removeprefix(cwd.rstrip("/") + "/")
    # Newlines separate files in the store, and whatever else a path holds is shown to models.
    line = one_line(inside, len(inside) * 12 + 1)
    return line if len(line) <= FILE_CHARS else CUT + line[1 - FILE_CHARS :]


@dataclass(frozen=True, slots=True)
class Summary:
    """What others are told that a peer does."""

    text: str
    at: float | None = None
    own: bool = True
    """Whether the peer said so itself; otherwise its hooks tell."""


def summary(own: str, own_at: float | None, told: str, heard: float | None, now: float) -> Summary:
    """The summary to show at the time `now`: the peer's own while it is fresh, then what its hooks `told`."""
    # A clock that was set back must not make an old summary win for ever: a negative age is no age.
    fresh = own_at is not None and 0 <= now - own_at < OWN_SUMMARY_S
    if own and (fresh or not told):
        return Summary(own, own_at)
    return Summary(told, heard, own=False) if told else Summary("")
