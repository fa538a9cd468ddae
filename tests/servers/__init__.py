"""Files over HTTP: real servers, each in a process of its own, and real clients."""
