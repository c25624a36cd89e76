"""The store: SQLite, and the only importer of sqlite3. One writing connection, owned by one thread."""
