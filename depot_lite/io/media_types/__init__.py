"""Content types: recognised by their first bytes, named by extensions, and what markup can do."""
