"""Integrations with other frameworks: one module each, and ``admin`` for their shared parts."""
