"""Storages: the contract (``interfaces``), the content that can be stored (``content``), and the backends."""
