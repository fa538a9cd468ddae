"""The script in the form for bug reports runs, so that who reports a bug has only to change it."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

FORM = Path(__file__).parent.parent / ".github" / "ISSUE_TEMPLATE" / "bug.yml"


def script_of(form: str) -> str:
    """Return the block of the first ``render: python`` field."""
    _, _, field = form.partition("      render: python\n      value: |\n")
    lines = field.splitlines(keepends=True)
    end = next(number for number, line in enumerate(lines) if line.strip() and not line.startswith(" " * 8))
    return textwrap.dedent("".join(lines[:end]))


@pytest.mark.matrix
@pytest.mark.skipif(not FORM.exists(), reason="the sdist has no forms")
def test_the_script_of_the_form_runs(tmp_path: Path) -> None:
    report = tmp_path / "report.py"
    report.write_text(script_of(FORM.read_text("utf-8")), "utf-8")
    assert "assert document.content.file.read()" in report.read_text("utf-8")
    subprocess.run([sys.executable, "-W", "error", report], cwd=tmp_path, check=True, timeout=60)
