"""``python -m depot_lite``, and the command ``depot-lite``: the command line."""

from __future__ import annotations

import sys

try:
    from depot_lite.cli.main import main
except ImportError as error:  # a broken installation: Python's own exit code, 1, means that something was found
    sys.stderr.write(f"depot-lite: error: the installation is incomplete: {error}\n")
    raise SystemExit(2) from None

if __name__ == "__main__":
    sys.exit(main())
