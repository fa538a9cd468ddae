"""Filters: what may be done with a file as it is stored."""
