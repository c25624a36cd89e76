"""A session that sends, and notes a message as accepted only once it was told so.

usage: python writer.py ACCEPTED RECIPIENT...

Each byte on stdin is leave to send one message, to each recipient in turn; at its end the writer ends. The id of each
message that was accepted becomes a line of the file ACCEPTED. When the daemon goes, the message on its way is sent
again, with the same id, to the next one.
"""

from __future__ import annotations

import itertools
import os
import sys

from coterie import client, ids
from coterie.errors import Unavailable


class Writer:
    """One registered connection that comes back."""

    def __init__(self) -> None:
        self._client: client.Client | None = None

    def send(self, message: str, to: str) -> None:
        """Return once the message was accepted."""
        params = {"id": message, "to": to, "text": f"this is {message}"}
        while True:
            try:
                self._connected().call("messages.send", params)
            except Unavailable:
                self._client = None
            else:
                return

    def _connected(self) -> client.Client:
        if self._client is None:
            connection = client.connect("adapter")
            connection.call("peers.register", {"kind": "other", "cwd": "/"})
            self._client = connection
        return self._client


def main() -> None:
    accepted = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    writer = Writer()
    for recipient in itertools.cycle(sys.argv[2:]):
        if not os.read(0, 1):
            return
        message = ids.new_message_id()
        writer.send(message, recipient)
        os.write(accepted, f"{message}\n".encode())


if __name__ == "__main__":
    main()
