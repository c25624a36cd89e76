"""The daemon: one a user, the only owner of the store. Started by whoever needs it first; knows no MCP."""
