"""The command line ``depot-lite``: words in, reports and progress out, exit codes. What it shows is done elsewhere."""
