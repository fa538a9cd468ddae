"""The admin, with starlette-admin."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from fastapi import FastAPI
from sqlalchemy import Engine
from starlette_admin.contrib.sqla import Admin, ModelView

from depot_lite.contrib.starlette_admin import DepotPlugin
from depot_lite.contrib.starlette_admin.maintenance import MaintenanceView
from movies.models import Base, Movie

_TEMPLATES: Final = Path(__file__).with_name("templates")


def add_admin(app: FastAPI, engine: Engine, key: str) -> None:
    """Mount the admin at ``/admin``, with a view of movies and the maintenance page."""
    admin = Admin(engine, title="Movies", secret_key=key, templates_dir=str(_TEMPLATES), plugins=[DepotPlugin()])
    admin.add_view(ModelView(Movie, icon="fa fa-film"))
    admin.add_view(MaintenanceView(models=[Base]))
    admin.mount_to(app)
