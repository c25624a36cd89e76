"""The entry point ``coterie-mcp``."""

from __future__ import annotations

import sys

from coterie.mcp.adapter import Adapter

HELP = """\
coterie-mcp: the MCP server of Coterie, which an agent's client starts in each session and speaks to over stdio.

  claude mcp add --scope user coterie -- coterie-mcp
  codex mcp add coterie -- coterie-mcp
"""


def main() -> int:
    """Serve a session until it is over."""
    if sys.argv[1:]:
        sys.stdout.write(HELP)
        return 0 if sys.argv[1:] in (["-h"], ["--help"]) else 2
    try:
        Adapter().run()
    except (KeyboardInterrupt, BrokenPipeError):
        return 0  # The client is done with us; it says so by SIGINT or by closing our stdout.
    return 0


if __name__ == "__main__":
    sys.exit(main())
