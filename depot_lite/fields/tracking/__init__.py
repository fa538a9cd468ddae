"""Unit of work -> ledger -> storages: what a session may do to files, until the database has been asked."""
