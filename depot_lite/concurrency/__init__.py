"""Threads and greenlets: used by storages, fields and maintenance alike."""
