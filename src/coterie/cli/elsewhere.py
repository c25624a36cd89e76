"""The sessions of other devices, as ``coterie peers`` lists them: a section a device."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from coterie.cli import say
from coterie.cli.table import Column, flowed, table
from coterie.cli.times import span

COLUMNS = (
    Column("NAME", 0),
    Column("AGENT", 4, least=6),
    Column("STATE", 1),
    Column("DOES", 2),
    Column("ROLE", 5, least=8),
    Column("REPO", 6, least=8),
    Column("ID", 7),
    Column("SUMMARY", 3, least=20),
)
NONE = "-"


def sections(devices: list[dict[str, Any]], columns: int | None) -> Iterator[str]:
    """The lines about other devices, each section behind an empty one."""
    for device in devices:
        yield ""
        yield flowed(list(_heading(device)), columns)
        if device.get("peers"):
            heading, *lines = table(COLUMNS, [_row(card) for card in device["peers"]], columns)
            yield say.bold(heading)
            yield from lines


def _heading(device: dict[str, Any]) -> Iterator[str]:
    yield f"on {say.plain(device['name'])}"
    number = say.count(device["sessions"], "session")
    if device["connected"]:
        yield "connected"
        yield number
    else:
        yield away(device)
        yield f"{number} when it was heard last" if device["sessions"] else number
        yield "mail for it waits here"


def away(device: dict[str, Any]) -> str:
    """That there is no way to a device now, in words."""
    absent_s = device["absent_s"]
    return "never connected" if absent_s is None else f"not connected for {span(absent_s)}"


def _row(card: dict[str, Any]) -> list[str]:
    does = NONE if card["busy"] is None else "works" if card["busy"] else "idle"
    cells = (card["address"], card["kind"], card["state"], does, card["role"], card["repo"], card["id"])
    return [say.plain(cell) or NONE for cell in (*cells, card["summary"])]
