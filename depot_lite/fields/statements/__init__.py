"""INSERT, UPDATE and DELETE that a session executes, and its bulk methods."""
