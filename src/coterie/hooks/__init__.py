"""The hook ``coterie-hook``: one process an event, which tells the daemon and brings mail back. Light."""
