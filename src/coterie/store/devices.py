"""Other devices in the database."""

from __future__ import annotations

import sqlite3

from coterie.devices import Device, Standing, known_grants
from coterie.store import seals

_SAVE = """
INSERT INTO devices
    (id, name, certificate, standing, grants, addresses, dial, paired_at, seen_at, theirs, forgot_us, seal)
VALUES
    (:id, :name, :certificate, :standing, :grants, :addresses, :dial, :paired_at, :seen_at, :theirs, :forgot_us, :seal)
ON CONFLICT (id) DO UPDATE SET
    name = excluded.name, certificate = excluded.certificate, standing = excluded.standing, grants = excluded.grants,
    addresses = excluded.addresses, dial = excluded.dial, paired_at = excluded.paired_at, seen_at = excluded.seen_at,
    theirs = excluded.theirs, forgot_us = excluded.forgot_us, seal = excluded.seal
"""


def save(connection: sqlite3.Connection, device: Device) -> None:
    """Insert or update a device."""
    row: dict[str, str | float | bytes | None] = {
        "id": device.id,
        "name": device.name,
        "certificate": device.certificate,
        "standing": device.standing.value,
        "grants": " ".join(sorted(device.grants)),
        "addresses": " ".join(device.addresses),
        "dial": device.dial,
        "paired_at": device.paired_at,
        "seen_at": device.seen_at,
        "theirs": None if device.theirs is None else " ".join(sorted(device.theirs)),
        "forgot_us": device.forgot_us,
    }
    connection.execute(_SAVE, {**row, "seal": seals.sealed(*[row[column] for column in seals.DEVICE])})


def load(connection: sqlite3.Connection) -> list[Device]:
    """Every device that was ever paired, also those that were forgotten."""
    return [_device(row) for row in connection.execute("SELECT * FROM devices ORDER BY paired_at, id")]


def _device(row: sqlite3.Row) -> Device:
    return Device(
        id=row["id"],
        name=row["name"],
        certificate=row["certificate"],
        standing=Standing(row["standing"]),
        grants=known_grants(row["grants"].split()),
        addresses=row["addresses"].split(),
        dial=bool(row["dial"]),
        paired_at=row["paired_at"],
        seen_at=row["seen_at"],
        theirs=None if row["theirs"] is None else known_grants(row["theirs"].split()),
        forgot_us=bool(row["forgot_us"]),
    )
