"""The command line ``depot-lite``: arguments in, reports, progress and exit codes out."""
