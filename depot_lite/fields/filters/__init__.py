"""Filters: steps that follow the storing of a file."""
