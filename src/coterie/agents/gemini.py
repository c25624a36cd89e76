"""Gemini CLI. Measured with 0.61.0.

Its MCP servers and hooks are children of the one process that is the session (a node that another node started), and
by it they are joined: servers are told no session id, neither in the environment nor in ``_meta``. A health check
(``gemini mcp list``) calls itself another name.

Nothing wakes an idle session. Mail comes with the user's next prompt, with tool results, and at the end of a turn.
There the client can be kept going by a word that speaks in the user's role, so that is a nudge, and the text comes as
context of the prompt that the client makes of it (BeforeAgent is run for it too).

SessionStart brings nothing: the client throws its context away after ``/clear`` and where a window resumes a session.
The first BeforeAgent brings it. PreCompress is no sign of a compression, but of the next request: it is run before each
one, whether or not there is anything to compress. Only ``manual`` always compresses. One that compresses by itself, at
half a million tokens, cannot be told from the others, and the session is not told again who it is.

Hooks of sub-agents are run with the session's id and nothing that marks them; they fall between the BeforeTool and the
AfterTool of the one tool that runs sub-agents.
"""

from __future__ import annotations

from coterie.agents.command_line import arguments, on_terminal, parent_past_shells
from coterie.agents.kind import AgentKind
from coterie.limits import HOOK_CHARS_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

EVENTS = {
    "SessionStart": "start",
    "BeforeAgent": "prompt",
    "BeforeTool": "before-tool",
    "AfterTool": "after-tool",
    "PreCompress": "step",
    "AfterAgent": "stop",
    "SessionEnd": "end",
}
WITH_CONTEXT = frozenset({"BeforeAgent", "AfterTool"})
"""Events whose hook may add context."""
DELEGATING = "invoke_agent"
"""The tool in which sub-agents work."""
EDITING = frozenset({"write_file", "replace"})
"""Tools that change a file."""
PROMPT_FLAGS = ("-p", "--prompt")
SERVING_FLAGS = ("--acp", "--experimental-acp")
"""With these an editor speaks to it over stdio."""


class Gemini(AgentKind):
    """A session of Gemini CLI."""

    name = "gemini"
    client_names = ("gemini-cli-mcp-client",)
    marks = ("GEMINI_CLI",)
    hook_events = tuple(EVENTS)

    def one_shot(self, environ: Mapping[str, str]) -> bool:
        """A prompt on the command line, or no terminal to ask for one."""
        agent = parent_past_shells()
        given = arguments(agent)
        if any(argument in SERVING_FLAGS for argument in given):
            return False
        prompted = any(argument.partition("=")[0] in PROMPT_FLAGS for argument in given)
        return prompted or not on_terminal(agent)

    def hook_event(self, told: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any] | None:
        """The events of the hooks that we ask to be registered; the others are None."""
        name = told.get("hook_event_name")
        event = EVENTS.get(str(name))
        if event is None or not isinstance(told.get("session_id"), str):
            return None
        if name == "PreCompress" and told.get("trigger") == "manual":
            event = "compact"
        # An AfterAgent that was kept going once is not kept going again: two agents could hold each other for ever.
        nudge = name == "AfterAgent" and not told.get("stop_hook_active")
        return {
            **self.session_event(event, told, told["session_id"]),
            "agent_pid": parent_past_shells(),
            "room": HOOK_CHARS_MAX[self.name] if name in WITH_CONTEXT and not _failed(told) else 0,
            "nudge": nudge,
            "brings": True,
            "files": _files(told),
            "delegates": told.get("tool_name") == DELEGATING,
            **(
                {"source": told.get("source", "startup"), "one_shot": self.one_shot(environ)}
                if event == "start"
                else {}
            ),
        }

    def hook_answer(self, told: Mapping[str, Any], context: str) -> dict[str, Any]:
        """Context for the model; at an AfterAgent the session goes on with it as its prompt."""
        name = told["hook_event_name"]
        if name == "AfterAgent":
            return {"decision": "deny", "reason": context}
        return {"hookSpecificOutput": {"hookEventName": name, "additionalContext": context}}


class GeminiCheck(Gemini):
    """``gemini mcp list``, which starts every server to see that it answers."""

    client_names = ("mcp-test-client",)

    def is_probe(self, environ: Mapping[str, str]) -> bool:
        """It is nobody's session."""
        return True


def _failed(told: Mapping[str, Any]) -> bool:
    """Whether the tool failed: then the model is given the error alone, and context is lost."""
    result = told.get("tool_response")
    return isinstance(result, dict) and bool(result.get("error"))


def _files(told: Mapping[str, Any]) -> list[str]:
    """The file that a tool is about to change."""
    given = told.get("tool_input")
    edits = told.get("hook_event_name") == "BeforeTool" and told.get("tool_name") in EDITING
    path = given.get("file_path") if edits and isinstance(given, dict) else None
    return [path] if isinstance(path, str) else []


GEMINI = Gemini()
GEMINI_CHECK = GeminiCheck()
