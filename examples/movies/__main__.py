"""Start the demo: ``python examples/movies``."""

from __future__ import annotations

import sys
from pathlib import Path

# Python puts this folder first, so that the modules would be found outside their package.
sys.path[0] = str(Path(__file__).resolve().parents[1])

from movies.command import main  # noqa: E402  # only importable now

if __name__ == "__main__":
    main()
