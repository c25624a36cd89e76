"""How each vendor's API puts an answer of its model on the wire."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable
from typing import Any

from clients.script import Action

Json = dict[str, Any]
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}


def event(value: Json) -> str:
    """A server-sent event; one with a type carries it in an event line too."""
    name = f"event: {value['type']}\n" if "type" in value else ""
    return f"{name}data: {json.dumps(value)}\n\n"


def new_id(prefix: str) -> str:
    """An id as the APIs make them."""
    return f"{prefix}_{uuid.uuid4().hex[:16]}"


def messages(action: Action, request: Json) -> str:
    """Anthropic's Messages API, streaming."""
    block: Json = {"type": "text", "text": ""}
    delta = {"type": "text_delta", "text": action.say}
    if action.tool:
        block = {"type": "tool_use", "id": action.call, "name": action.tool, "input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(action.arguments)}
    usage = {"input_tokens": 10, "output_tokens": 5}
    message = {"id": new_id("msg"), "type": "message", "role": "assistant", "model": request.get("model")}
    message |= {"content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
    stop = {"stop_reason": "tool_use" if action.tool else "end_turn", "stop_sequence": None}
    values: list[Json] = [
        {"type": "message_start", "message": message},
        {"type": "content_block_start", "index": 0, "content_block": block},
        {"type": "content_block_delta", "index": 0, "delta": delta},
        {"type": "content_block_stop", "index": 0},
        {"type": "message_delta", "delta": stop, "usage": usage},
        {"type": "message_stop"},
    ]
    return "".join(map(event, values))


def responses(action: Action, request: Json) -> str:
    """OpenAI's Responses API, streaming. A tool of a namespace is named ``namespace.tool``."""
    item: Json = {"type": "message", "id": new_id("msg"), "role": "assistant", "status": "completed"}
    item["content"] = [{"type": "output_text", "text": action.say, "annotations": []}]
    if action.tool:
        namespace, _, name = action.tool.rpartition(".")
        item = {"type": "function_call", "id": new_id("fc"), "call_id": action.call, "name": name}
        item |= {"arguments": json.dumps(action.arguments), "status": "completed"}
        item |= {"namespace": namespace} if namespace else {}
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    done = {"id": new_id("resp"), "object": "response", "status": "completed", "output": [item], "usage": usage}
    values: list[Json] = [
        {"type": "response.created", "response": {**done, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": {**item, "status": "in_progress"}},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": done},
    ]
    return "".join(map(event, values))


def chat(action: Action, request: Json) -> str:
    """OpenAI's Chat Completions API, streaming."""
    message: Json = {"role": "assistant", "content": action.say}
    if action.tool:
        function = {"name": action.tool, "arguments": json.dumps(action.arguments)}
        message["tool_calls"] = [{"index": 0, "id": action.call, "type": "function", "function": function}]
    finish = "tool_calls" if action.tool else "stop"
    chunk = {"id": new_id("chat"), "object": "chat.completion.chunk", "created": 1, "model": request.get("model")}
    first = {**chunk, "choices": [{"index": 0, "delta": message, "finish_reason": None}]}
    last = {**chunk, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}], "usage": USAGE}
    return event(first) + event(last) + "data: [DONE]\n\n"


def gemini(action: Action, request: Json) -> Json:
    """Google's generateContent; a request with a schema (such as for a route) gets an answer that fits it."""
    part: Json = {"text": action.say}
    if action.tool:
        part = {"functionCall": {"name": action.tool, "args": action.arguments, "id": action.call}}
    if schema := request.get("generationConfig", {}).get("responseJsonSchema"):
        fields = {key: 1 if kind["type"] == "INTEGER" else "mock" for key, kind in schema["properties"].items()}
        part = {"text": json.dumps(fields)}
    usage = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
    content = {"role": "model", "parts": [part]}
    return {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}], "usageMetadata": usage}


Build = Callable[[Action, Json], str]
APIS: dict[str, tuple[str, Build]] = {
    r"/v1/messages$": ("messages", messages),
    r"/v1/responses$": ("responses", responses),
    r"/v1/chat/completions$": ("chat", chat),
    r":streamGenerateContent$": ("gemini", lambda action, request: event(gemini(action, request))),
    r":generateContent$": ("gemini", lambda action, request: json.dumps(gemini(action, request))),
}


def api_of(path: str) -> tuple[str, Build] | None:
    """The API that a path belongs to."""
    return next((api for pattern, api in APIS.items() if re.search(pattern, path)), None)
