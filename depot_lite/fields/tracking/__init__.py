"""Tracking: from the unit of work through the ledger to the storages, until the database has been asked."""
