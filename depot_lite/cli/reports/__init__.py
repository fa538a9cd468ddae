"""Reports of the commands: each makes lines to read and data for JSON of a report of maintenance."""
