"""What a session's model is told because of us, in characters: at its start, and for each message."""

from __future__ import annotations

import json

from _parts import Place, place

OTHERS = 5
SUMMARY = "Moves the parser into a module of its own; touches src/parser and its tests."
TEXT = "Which port does the staging server use, and since when?"


def told() -> dict[str, int]:
    """Characters, by what they are for."""
    with place("coterie-bench-") as here:
        return {**_at_start(here), **_for_a_message(here)}


def _at_start(here: Place) -> dict[str, int]:
    web = here.agent("session-words")
    instructions = web.initialize()["instructions"]
    tools = json.dumps(web.request("tools/list")["tools"], ensure_ascii=False)
    web.tool("list_peers")  # Until it has its answer, there may be no daemon for the hook.
    alone = web.hook("SessionStart", source="startup")
    for number in range(OTHERS):
        other = here.agent(f"session-words-{number}")
        other.initialize()
        other.tool(
            "set_summary", summary="Moves the parser into a module of its own; touches src/parser and its tests."
        )
    crowded = web.hook("SessionStart", source="startup")
    return {
        "instructions": len(instructions),
        "tools": len(tools),
        "start_alone": len(_context(alone)),
        "start_with_others": len(_context(crowded)),
    }


def _for_a_message(here: Place) -> dict[str, int]:
    """By which carrier whatever: the text of a message comes in a frame, and by a nudge only its id."""
    ann, bob = here.agent("session-ann"), here.agent("session-bob")
    for agent, name in ((ann, "ann"), (bob, "bob")):
        agent.initialize()
        agent.tool("set_summary", name=name)
    result = ann.tool("send_message", to="bob", message=TEXT)
    _, line = bob.wait_inbox(TEXT)
    return {"message_frame": len(line) - len(TEXT), "send_result": len(result)}


def _context(printed: dict[str, dict[str, str]]) -> str:
    return printed["hookSpecificOutput"]["additionalContext"]
