"""What a model was sent, read alike from the four vendors' formats: the entries of a conversation.

A conversation is sent whole with every request, so a text stands in all requests after the one that brought it. What
counts in a test is how many entries hold it (`given`), not how many requests.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

Json = dict[str, Any]

USER, CONTEXT, CALL, RESULT, ANSWER = "user", "context", "call", "result", "answer"
GIVEN = (USER, CONTEXT, RESULT)
"""What the model is given; the rest it wrote itself."""
SPEAKERS = {"user": USER, "assistant": ANSWER, "model": ANSWER}


class Entry(NamedTuple):
    """One piece of a conversation."""

    kind: str
    text: str
    call: str = ""
    """The id of the tool call that it is, or is the result of."""


class Conversation(NamedTuple):
    """The conversation in one request."""

    name: str
    """The same in all requests of it. After a compaction or a clear it is another one; a sub-agent has its own."""
    entries: list[Entry]

    def news(self) -> list[Entry]:
        """The entries since the model's own last word."""
        own = [index for index, entry in enumerate(self.entries) if entry.kind in (CALL, ANSWER)]
        return self.entries[own[-1] + 1 :] if own else self.entries


def conversation(request: Json) -> Conversation:
    """The conversation of a request to any of the four APIs."""
    messages = request.get("messages") or request.get("input") or request.get("contents") or []
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    entries = [entry for message in messages for entry in _entries(message)]
    thread = str((request.get("metadata") or {}).get("user_id") or request.get("prompt_cache_key") or "")
    begin = next((entry.text for entry in entries if entry.kind == USER), "")
    return Conversation(f"{thread}\n{begin}", entries)


def _entries(item: Json, speaker: str = CONTEXT) -> Iterator[Entry]:
    kind, role = item.get("type", ""), item.get("role", "")
    content = item.get("content") or item.get("parts") or item.get("text") or ""
    speaker = SPEAKERS.get(role, speaker)
    if item.get("tool_calls"):
        for call in item["tool_calls"]:
            yield Entry(CALL, call["function"]["name"], call.get("id", ""))
    elif kind.endswith(("_call", "tool_use")) or "functionCall" in item:
        call = item.get("functionCall") or item
        yield Entry(CALL, call.get("name", ""), call.get("call_id") or call.get("id") or "")
    elif kind.endswith(("_output", "tool_result")) or role == "tool" or "functionResponse" in item:
        yield _result(item, content)
    elif isinstance(content, list):
        for block in content:
            yield from _entries(block, speaker)
    elif content:
        yield Entry(CONTEXT if content.startswith("<system-reminder>") else speaker, content)


def _result(item: Json, content: Any) -> Entry:
    response = item.get("functionResponse") or {}
    call = item.get("tool_use_id") or item.get("call_id") or item.get("tool_call_id") or response.get("id") or ""
    return Entry(RESULT, plain(item.get("output") or response.get("response") or content), call)


def plain(value: Any) -> str:
    """A tool result as text: the string itself, the texts of its blocks, or its JSON with readable line ends."""
    if isinstance(value, dict) and set(value) == {"output"}:
        value = value["output"]
    if isinstance(value, list) and all(isinstance(block, dict) and "text" in block for block in value):
        return "\n".join(block["text"] for block in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace("\\n", "\n")


def given(conversations: Iterable[Conversation]) -> list[Entry]:
    """The entries that a session's model was given, each once for each time that it was given: in the order of the
    requests, without the repetitions of a history that is sent again.
    """
    known: dict[str, Counter[tuple[str, str]]] = {}
    found: list[Entry] = []
    for talk in conversations:
        before, now = known.setdefault(talk.name, Counter()), Counter[tuple[str, str]]()
        for entry in talk.entries:
            if entry.kind in GIVEN:
                now[entry.kind, entry.text] += 1
                if now[entry.kind, entry.text] > before[entry.kind, entry.text]:
                    found.append(entry)
        known[talk.name] = before | now
    return found


def holding(text: str, entries: Sequence[Entry]) -> list[Entry]:
    """Those of the entries that hold a text."""
    return [entry for entry in entries if text in entry.text]
