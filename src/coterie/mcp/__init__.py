"""The adapter ``coterie-mcp``: one in every agent session, serving MCP over stdio. Light."""
