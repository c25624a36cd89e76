"""A connection for calls that may be made twice: if the daemon goes away in the middle, its successor is asked again.

A client of the daemon makes the names (message ids, calls) under which such a call is recognised.
"""

from __future__ import annotations

from typing import Any

from coterie.client import Client, connect
from coterie.errors import Unavailable
from coterie.limits import CALL_S


class Link:
    """A connection that is renewed when it breaks."""

    def __init__(self) -> None:
        self._client: Client = connect("cli")

    def call(self, method: str, params: dict[str, Any] | None = None) -> Any:
        """Call a method, twice if need be."""
        try:
            return self.call_once(method, params)
        except Unavailable as error:
            if not is_broken(error):
                raise
        self.renew()
        return self.call_once(method, params)

    def call_once(self, method: str, params: dict[str, Any] | None = None, wait_s: float = CALL_S) -> Any:
        """Call a method on the connection that there is."""
        return self._client.call(method, params, wait_s)

    def renew(self) -> None:
        """Connect again."""
        self._client.close()
        self._client = connect("cli")


def is_broken(error: Unavailable) -> bool:
    """Whether an error only says that the connection ended, and not something that another one would meet too."""
    return type(error) is Unavailable
