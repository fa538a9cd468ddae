"""Where references are: models, tables, columns and rows."""
