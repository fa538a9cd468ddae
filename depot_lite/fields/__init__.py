"""Files as model attributes: the value in a column, the column type, and what ties files to transactions."""
