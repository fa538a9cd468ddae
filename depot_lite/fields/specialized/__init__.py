"""Classes of values for special kinds of files."""
