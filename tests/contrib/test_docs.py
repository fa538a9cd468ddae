"""The code on the pages of the documentation about admins runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from depot_lite.manager import DepotManager
from depot_lite.testing import temporary_depots

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.server
@pytest.mark.parametrize("page", ["admin", "sqladmin", "flask-admin"])
def test_what_the_page_shows_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Block after block, as a reader would copy them, but for the one that needs a request."""
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(), re.DOTALL)
    names: dict[str, Any] = {"__name__": "__main__"}
    with temporary_depots():
        for block in blocks:
            if "form.getlist" not in block:
                exec(compile(block, f"{page}.md", "exec", dont_inherit=True), names)
        assert DepotManager.depot_names() == ["default"]
        assert DepotManager.url_for("default/1").startswith("/depot/default/1")
    engines = [each for each in names.values() if isinstance(each, Engine)]
    if "db" in names:
        with names["app"].app_context():
            engines.append(names["db"].engine)
    assert engines
    for each in engines:
        each.dispose()
