"""What waits for a person's word, as it is shown: rights that devices ask for, and messages that are held."""

from __future__ import annotations

from typing import Any

from coterie.cli import say
from coterie.cli.letters import under
from coterie.cli.table import flowed
from coterie.cli.times import span
from coterie.errors import UnknownMethod

_HELD = "held"


def waiting(call: Any) -> list[dict[str, Any]]:
    """The requests that the person here can decide; `call` calls the daemon."""
    try:
        found: list[dict[str, Any]] = call("relay.requests")["requests"]
    except UnknownMethod:  # An older daemon knows no devices.
        return []
    return [request for request in found if is_open(request)]


def is_open(request: dict[str, Any]) -> bool:
    """Whether the person here can decide it."""
    return bool(request["incoming"] and request["state"] == _HELD)


def shown(requests: list[dict[str, Any]], columns: int | None) -> list[str]:
    """Each request with the lines that decide it. A text is shown as information: nothing has delivered it."""
    return [_shown(request, columns) for request in requests]


def _shown(request: dict[str, Any], columns: int | None) -> str:
    device, identifier = say.plain(request["name"]), request["id"]
    age = f"{span(request['age_s'])} ago"
    if request["message"]:
        fields = [f"held: from {say.plain(request['from'])} to {say.plain(request['to'])}", identifier, age]
        head = under([*fields, f"{device} may not write here"], request["text"] or "", columns)
    else:
        asks = f"{device} asks for the right {say.plain(request['wanted'])}"
        head = say.bold(flowed([asks, identifier, age], columns))
        if request["reason"]:
            head = under([asks, identifier, age], request["reason"], columns)
    decide = [f"  coterie relay {verb} {identifier}" for verb in ("approve", "refuse")]
    return "\n".join([head, *decide])
