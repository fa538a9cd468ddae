"""Values that do more than keep a file."""
