"""Storages: the contract (``interfaces``), what may be stored (``content``) and one module per backend."""
