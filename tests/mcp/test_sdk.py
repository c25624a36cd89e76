"""The official MCP client as a second opinion: the whole tool surface, in the handshake and in the auto mode."""

from __future__ import annotations

import sys
from typing import Any

import anyio
import pytest
from mcp.client.stdio import StdioServerParameters

from conftest import Place
from mcp import Client, MCPError

MODES = ["legacy", "auto"]


def client(place: Place, mode: str) -> Client:
    adapter = StdioServerParameters(
        command=sys.executable, args=["-P", "-m", "coterie.mcp.main"], env=place.environ, cwd=place.root
    )
    return Client(adapter, mode=mode)


async def text(session: Client, tool: str, **arguments: Any) -> str:
    result = await session.call_tool(tool, arguments)
    assert not result.is_error, result
    return "\n".join(part.text for part in result.content)  # type: ignore[union-attr]


@pytest.mark.parametrize("mode", MODES)
def test_the_whole_surface(daemon: Place, mode: str) -> None:
    async def story() -> None:
        async with client(daemon, mode) as api, client(daemon, mode) as web:
            assert api.protocol_version == "2025-11-25"
            assert api.server_info is not None
            assert api.server_info.name == "coterie"
            tools = {tool.name: tool for tool in (await api.list_tools()).tools}
            assert sorted(tools) == ["check_messages", "list_peers", "send_message", "set_summary"]
            assert all(tool.input_schema["additionalProperties"] is False for tool in tools.values())
            assert all((tool.meta or {})["anthropic/alwaysLoad"] is True for tool in tools.values())
            assert "You are api" in await text(api, "set_summary", name="api", summary="the backend", role="builder")
            await text(web, "set_summary", name="web")
            listed = await text(web, "list_peers", scope="directory")
            assert "role builder" in listed
            assert "says of itself: the backend" in listed
            sent = await text(web, "send_message", to="role:builder", message="hello")
            message = sent.split()[0]
            assert f"[end of {message}]" in await text(api, "check_messages")
            answered = await text(api, "send_message", reply_to=message, message="hi")
            assert f"answers {message}" in await text(web, "check_messages")
            assert answered.split()[0] in await text(web, "check_messages", history=5)
            assert "| hello" in await text(api, "check_messages", message_id=message)

    anyio.run(story)


@pytest.mark.parametrize("mode", MODES)
def test_errors_of_a_tool_are_results_that_help_and_the_session_lives_on(daemon: Place, mode: str) -> None:
    async def story() -> None:
        async with client(daemon, mode) as api:
            for tool, arguments, says in (
                ("send_message", {"to": "x"}, "send_message needs message"),
                ("send_message", {"message": "x"}, "needs to or reply_to"),
                ("send_message", {"to": "x", "message": 7}, "message must be a string"),
                ("send_message", {"to": "x", "message": "y", "colour": "red"}, "has no argument 'colour'"),
                ("send_message", {"to": "x", "message": "y", "wait_s": 51}, "between 0 and 50"),
                ("send_message", {"to": "x", "message": "y", "wait_s": "soon"}, "wait_s must be a number"),
                ("send_message", {"to": "x", "message": "y", "hold": "yes"}, "hold must be a boolean"),
                ("list_peers", {"scope": "planet"}, "one of: machine, directory, repo, network"),
                ("check_messages", {"history": 51}, "between 0 and 50"),
                ("check_messages", {"message_id": "m_nothing"}, "no message"),
                ("set_summary", {}, "nothing to set"),
            ):
                result = await api.call_tool(tool, arguments)
                assert result.is_error, (tool, arguments)
                assert says in result.content[0].text, result  # type: ignore[union-attr]
            with pytest.raises(MCPError, match="no tool 'listpeers'"):
                await api.call_tool("listpeers", {})
            assert "You are" in await text(api, "list_peers")

    anyio.run(story)


def test_a_waiting_send_can_be_given_up(daemon: Place) -> None:
    async def story() -> None:
        async with client(daemon, "legacy") as api, client(daemon, "legacy") as web:
            await text(web, "set_summary", name="web")
            with anyio.move_on_after(1.0) as given_up:
                await text(api, "send_message", to="web", message="are you there?", wait_s=50)
            assert given_up.cancelled_caught
            assert "are you there?" in await text(web, "check_messages")
            assert "You are" in await text(api, "list_peers")

    anyio.run(story)
