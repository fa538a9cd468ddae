"""Parts that storages of objects share: metadata, readers, errors, options, clients, and the template of a storage."""
