"""What storages of objects share: metadata, and readers of what comes in pieces."""
