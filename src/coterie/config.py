"""The configuration: every key with its meaning, its range and where it may be set."""

from __future__ import annotations
