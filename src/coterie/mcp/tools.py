"""The tools: their schemas, and how a call becomes a call of the daemon.

Models guess argument names. Common wrong ones are accepted; what is still unknown, missing or of the wrong type is
refused with what to do next, and nothing is done.
"""

from __future__ import annotations

from coterie import ids
from coterie.errors import BadInput
from coterie.limits import HISTORY_ROWS_MAX, SETTLE_S, WAIT_S_MAX
from coterie.mcp import words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Json = dict[str, Any]

SCOPES = ["machine", "directory", "repo", "network"]


class Request:
    """What a tool call asks of the daemon."""

    def __init__(self, method: str, params: Json, render: Callable[[Json], str]) -> None:
        self.method = method
        self.params = params
        self.render = render
        self.wait_s = 0.0
        """How long the daemon may take beyond its usual."""
        self.carries: list[str] = []
        """The names of the texts with mail that the result may hold."""
        self.unanswered = ""
        """What is not known if the request left and no answer came."""
        self.look = ""
        """How to find out."""


class Tool:
    """One tool: name, description, arguments, and the request that it makes of them."""

    def __init__(
        self,
        name: str,
        description: str,
        arguments: dict[str, Json],
        required: list[str],
        aliases: dict[str, str],
        request: Callable[[Json], Request | None],
        *,
        reads: bool = False,
    ) -> None:
        self.name = name
        self.request = request
        self._arguments = arguments
        self._required = required
        self._aliases = aliases
        self._description = description
        self._reads = reads

    def to_wire(self) -> Json:
        """The tool as ``tools/list`` shows it."""
        schema = {
            "type": "object",
            "properties": self._arguments,
            "required": self._required,
            "additionalProperties": False,
        }
        shown: Json = {"name": self.name, "description": self._description, "inputSchema": schema}
        if self._reads:
            shown["annotations"] = {"readOnlyHint": True}
        # Claude Code hides tools behind its tool search without this.
        shown["_meta"] = {"anthropic/alwaysLoad": True}
        return shown

    def check(self, given: object) -> Json:
        """The arguments by their right names, each of its right type. Raises `BadInput` that says what to do."""
        if given is None:
            given = {}
        if not isinstance(given, dict):
            raise BadInput("the arguments must be an object", f"{self.name} takes: {self._takes()}")
        found: Json = {}
        for name, value in given.items():
            known = name if name in self._arguments else self._aliases.get(name)
            if known is None:
                raise BadInput(f"{self.name} has no argument {str(name)[:40]!r}", f"it takes: {self._takes()}")
            if value is not None and known not in found:
                found[known] = _typed(known, value, self._arguments[known])
        missing = [name for name in self._required if name not in found]
        if missing:
            raise BadInput(f"{self.name} needs {' and '.join(missing)}", f"it takes: {self._takes()}")
        return found

    def _takes(self) -> str:
        return ", ".join(name if name in self._required else f"{name} (optional)" for name in self._arguments)


def _typed(name: str, value: object, schema: Json) -> object:
    kind = schema["type"]
    if kind == "string" and isinstance(value, str):
        choices = schema.get("enum")
        if choices and value not in choices:
            raise BadInput(f"{name} cannot be {value[:40]!r}", f"one of: {', '.join(choices)}")
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind in ("number", "integer"):
        return _number(name, value, schema)
    raise BadInput(f"{name} must be a {kind}, not {type(value).__name__}")


def _number(name: str, value: object, schema: Json) -> float | int:
    try:
        number = float(value) if isinstance(value, (int, float, str)) and not isinstance(value, bool) else None
    except (ValueError, OverflowError):
        number = None
    if number is None or number != number:
        raise BadInput(f"{name} must be a number")
    low, high = schema["minimum"], schema["maximum"]
    if not low <= number <= high:
        raise BadInput(f"{name} must be between {low:g} and {high:g}", f"give at most {high:g}")
    return int(number) if schema["type"] == "integer" else number


# --- what each asks of the daemon ---------------------------------------------------------------------------------


def _list_peers(given: Json) -> Request:
    scope = given.get("scope", "machine")
    return Request("peers.list", {"scope": scope}, lambda result: words.peers(result, scope))


def _send_message(given: Json) -> Request:
    params = {"id": ids.new_message_id(), "text": given["message"], "settle_s": SETTLE_S}
    if "to" not in given and "reply_to" not in given:
        raise BadInput("send_message needs to or reply_to", "to: a name or id from list_peers; reply_to: a message id")
    for name in ("to", "reply_to", "wait_s", "hold"):
        if name in given:
            params[name] = given[name]
    request = Request("messages.send", params, words.sent)
    request.wait_s = given.get("wait_s", 0.0)
    request.carries = [f"wait:{params['id']}"] if request.wait_s else []
    request.unanswered = f"it is not known whether {params['id']} was stored"
    request.look = f"check_messages with message_id={params['id']} tells; do not just send it again"
    return request


def _check_messages(given: Json) -> Request | None:
    if "message_id" in given:
        call = ids.new_token()
        request = Request("messages.read", {"message": given["message_id"], "call": call}, words.read)
        request.carries = [call]
        return request
    if given.get("history"):
        return Request("messages.log", {"limit": given["history"]}, words.history)
    return None


def _set_summary(given: Json) -> Request:
    if not given:
        raise BadInput("nothing to set", "give summary, name or role")
    return Request("peers.describe", given, words.described)


CORE = (
    Tool(
        "list_peers",
        "Who else works on this machine: agents and people you can write to. Begins with who you are.",
        {"scope": {"type": "string", "enum": SCOPES, "description": "default machine; network: paired devices too"}},
        [],
        {"in": "scope"},
        _list_peers,
        reads=True,
    ),
    Tool(
        "send_message",
        "Send a message to a peer. It is stored before this returns, and the result says how far it got.",
        {
            "to": {
                "type": "string",
                "description": (
                    "name, name@device, id, role:NAME (all holders), repo (all here in this repository), all, or me"
                ),
            },
            "message": {"type": "string", "description": "self-contained: paths, branch, what you want to know"},
            "reply_to": {"type": "string", "description": "the m_... id you answer; to may then be left out"},
            "wait_s": {
                "type": "number",
                "minimum": 0,
                "maximum": WAIT_S_MAX,
                "description": "wait so many seconds for an answer; only if you cannot go on without it",
            },
            "hold": {"type": "boolean", "description": "keep it even for a peer that has ended"},
        },
        ["message"],
        {
            **dict.fromkeys(("to_id", "peer", "peer_id", "recipient", "target", "to_peer", "name"), "to"),
            **dict.fromkeys(("text", "content", "body", "msg"), "message"),
            **dict.fromkeys(("in_reply_to", "replyTo", "message_id"), "reply_to"),
            **dict.fromkeys(("wait", "wait_seconds", "timeout", "timeout_s"), "wait_s"),
        },
        _send_message,
    ),
    Tool(
        "check_messages",
        "Unread messages for you, and what became of yours. Usually not needed: mail comes by itself.",
        {
            "message_id": {"type": "string", "description": "show the text of this message (again)"},
            "history": {
                "type": "integer",
                "minimum": 0,
                "maximum": HISTORY_ROWS_MAX,
                "description": "list so many of the last messages",
            },
        },
        [],
        {"id": "message_id", "message": "message_id", "limit": "history", "count": "history"},
        _check_messages,
        reads=True,
    ),
    Tool(
        "set_summary",
        "Say what you are working on, for others to see; also your name and role.",
        {
            "summary": {"type": "string", "description": "one or two sentences"},
            "name": {"type": "string", "description": "a short name, such as api or reviewer"},
            "role": {"type": "string", "description": "such as builder; role:builder then reaches you"},
        },
        [],
        dict.fromkeys(("text", "description", "message", "status"), "summary"),
        _set_summary,
    ),
)

ADMIN = (
    Tool(
        "kill_peer",
        "End the session of a peer: its process, or for Codex the turn under way. Only if your user asked for it.",
        {"peer": {"type": "string", "description": "name or id"}},
        ["peer"],
        dict.fromkeys(("to", "name", "id", "peer_id", "target"), "peer"),
        lambda given: Request("peers.kill", given, words.killed),
    ),
)
"""Off until the person says otherwise: coterie kill --allow-agents."""

BY_NAME = {tool.name: tool for tool in (*CORE, *ADMIN)}
