"""Columns and rows that contain references, and how they are read and rewritten."""
