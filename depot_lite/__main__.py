"""``python -m depot_lite``: the command line."""

from __future__ import annotations

import sys

from depot_lite.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
