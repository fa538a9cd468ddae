"""Admins, with real forms, real servers and a real browser."""
