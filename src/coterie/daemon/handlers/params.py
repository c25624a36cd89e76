"""Reading the params of a call: each has its type, or the caller is told."""

from __future__ import annotations

from typing import Any

from coterie.errors import BadInput

Params = dict[str, Any]


def text(params: Params, name: str, default: str | None = None) -> str:
    """A text; without a default it is required and must say something."""
    value = params.get(name, default)
    if not isinstance(value, str):
        raise BadInput(f"{name} must be a text")
    if default is None and not value.strip():
        raise BadInput(f"{name} is empty")
    return value


def maybe_text(params: Params, name: str) -> str | None:
    """A text, or None where there is none."""
    value = params.get(name)
    if value is not None and not isinstance(value, str):
        raise BadInput(f"{name} must be a text")
    return value or None


def number(params: Params, name: str, default: float, low: float, high: float) -> float:
    """A number within bounds."""
    value = params.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadInput(f"{name} must be a number")
    if not low <= value <= high:
        raise BadInput(f"{name} must be between {low:g} and {high:g}")
    return float(value)


def flag(params: Params, name: str) -> bool:
    """True or false; false where there is none."""
    value = params.get(name, False)
    if not isinstance(value, bool):
        raise BadInput(f"{name} must be true or false")
    return value


def texts(params: Params, name: str) -> list[str]:
    """A list of texts; empty where there is none."""
    value = params.get(name, [])
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise BadInput(f"{name} must be a list of texts")
    return value
