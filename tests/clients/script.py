"""What the scripted model does: directives in the texts that it is given, and rules that a test lays down.

A directive is obeyed whoever wrote it: the prompt, a hook, or a peer, quoted in its frame.

    CALL:<tool>:<json>     call a tool
    SAY:<rest of line>     answer so, which ends the turn
    DELAY:<seconds>        hold back what follows

Of a turn the newest text with directives counts, one directive a request. A rule fires when a text that is new since
the model's last word matches its pattern; what it says is done before the directives go on.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from clients.entries import ANSWER, CALL, CONTEXT, GIVEN, RESULT, USER, Conversation, Entry

Json = dict[str, Any]

DIRECTIVE = re.compile(r"\b(?:CALL:(?P<tool>[\w.-]+):(?=\{)|SAY: *(?P<say>[^\n]*)|DELAY:(?P<delay>[\d.]+))")
FRAME = re.compile(r"\[coterie message (?P<id>m_\w+) from (?P<head>.*?)\n(?P<body>.*?)\n\[end of (?P=id)\]", re.DOTALL)
ID = "$ID"
"""In what a rule says: the id of the message whose frame matched."""


class Action(NamedTuple):
    """The model's next step: call a tool, or say a text (None: report what came last)."""

    tool: str = ""
    arguments: Json = {}  # noqa: RUF012 (read only)
    say: str | None = None
    delay: float = 0.0
    call: str = ""
    """The id of the tool call."""
    hold: threading.Event | None = None
    """What the answer waits for."""


def directives(text: str) -> list[Action]:
    """The directives of a text, in order."""
    actions: list[Action] = []
    delay, position = 0.0, 0
    while match := DIRECTIVE.search(text, position):
        position = match.end()
        if match["delay"]:
            delay = float(match["delay"])
            continue
        action = Action(say=match["say"], delay=delay)
        if match["tool"]:
            with contextlib.suppress(ValueError):
                arguments, position = json.JSONDecoder().raw_decode(text, position)
                action = Action(match["tool"], arguments, delay=delay)
        actions.append(action)
        delay = 0.0
    return [*actions, Action(delay=delay)] if delay else actions


class Rule:
    """When a text that matches is given to the model, it does what `says` tells."""

    def __init__(
        self, pattern: str, says: str | Callable[[re.Match[str]], str], once: bool = True, framed: bool = False
    ) -> None:
        """`framed`: only the text of a message counts, and not its heading, or the same words elsewhere."""
        self.pattern = re.compile(pattern, re.DOTALL)
        self.says = says
        self.once = once
        self.framed = framed
        self.fired = 0
        self.hold: threading.Event | None = None

    def held(self) -> threading.Event:
        """The answer waits until the event that this returns is set: the agent is busy so long."""
        self.hold = threading.Event()
        return self.hold

    def match(self, entry: Entry) -> list[Action]:
        """What is to be done about an entry. Of several frames that match, each counts."""
        todo: list[Action] = []
        for frame in FRAME.finditer(entry.text):
            if not (self.once and self.fired) and (found := self.pattern.search(frame[0])):
                todo += self._do(found, frame["id"])
        if todo or self.framed:
            return todo
        found = self.pattern.search(entry.text)
        return self._do(found, "") if found else []

    def _do(self, found: re.Match[str], message: str) -> list[Action]:
        self.fired += 1
        says = self.says if isinstance(self.says, str) else self.says(found)
        first, *later = directives(says.replace(ID, message))
        return [first._replace(hold=self.hold), *later]


class Script:
    """What one session's model does."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._follow: dict[str, list[Action]] = {}
        """What a rule has still to do, by the id of the call that it waits for."""
        self._lock = threading.Lock()

    def next(self, talk: Conversation) -> Action:
        """The answer to a request with this conversation."""
        with self._lock:
            news = talk.news()
            todo = [action for entry in news if entry.kind in GIVEN for action in self._by_rule(entry)]
            for entry in news:
                todo += self._follow.get(entry.call, []) if entry.kind == RESULT else []
            if not todo:
                return self._planned(talk)
            action, *later = [a for a in todo[:-1] if a.tool] + todo[-1:]
            action = named(action)
            if action.tool:
                self._follow[action.call] = later
            return action if action.tool or action.say is not None else action._replace(say=report(news))

    def _by_rule(self, entry: Entry) -> list[Action]:
        live = [rule for rule in self.rules if not (rule.once and rule.fired)]
        return [action for rule in live for action in rule.match(entry)]

    def _planned(self, talk: Conversation) -> Action:
        """By the newest text of this turn that has directives; calls that a rule made are not counted."""
        answers = [i for i, entry in enumerate(talk.entries) if entry.kind == ANSWER]
        turn = talk.entries[answers[-1] + 1 :] if answers else talk.entries
        script: list[Action] = []
        done = 0
        for entry in turn:
            if entry.kind == RESULT:
                done += entry.call not in self._follow
            elif entry.kind in (USER, CONTEXT) and (found := directives(entry.text)):
                script, done = found, 0
        action = named(script[done] if done < len(script) else Action())
        return action if action.tool or action.say is not None else action._replace(say=report(turn))


def named(action: Action) -> Action:
    """The action with an id for its call."""
    return action._replace(call=f"call_{uuid.uuid4().hex[:16]}") if action.tool else action


def report(turn: Sequence[Entry]) -> str:
    """The answer without a directive: the tool results and the last user text since the last call."""
    calls = [i for i, entry in enumerate(turn) if entry.kind == CALL]
    news = turn[calls[-1] + 1 :] if calls else turn
    results = [f"TOOLRESULT={entry.text[:300]}" for entry in news if entry.kind == RESULT]
    said = [f"MOCKREPLY {' '.join(entry.text.split())[:200]}" for entry in news if entry.kind == USER]
    return " ".join(results + said[-1:]) or "MOCKREPLY"
