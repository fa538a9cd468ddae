"""Files in starlette-admin: uploads with progress, previews, a viewer, thumbnails in lists, and a maintenance page.

::

    admin = Admin(engine, title="Movies", plugins=[DepotPlugin()])
    admin.add_view(ModelView(Movie))            # its file columns are recognised
    admin.add_view(MaintenanceView())           # counts, unused and missing files

Importing this module is enough for the columns to be recognised; the plugin brings the scripts, the styles, and the
place to which files are sent before their form is. It sends them there where `DepotManager.configure_signing` has
given keys; without keys files go with the form, as without scripts.

Users that may create or edit rows of a view may upload, and users that may see the view see the URLs of its files.
Whether the files themselves can be fetched is decided where they are served (`depot_lite.serving.fileserver`): of
private depots the pages hold signed URLs, which work for about an hour for anybody that has them.
"""

from __future__ import annotations

from depot_lite.errors import ConfigurationError

try:
    import starlette_admin.contrib.sqla  # noqa: F401  # asked for before what needs it, to say what is missing
except ImportError as error:  # also of SQLAlchemy, which asks for greenlet
    raise ConfigurationError(
        f"depot_lite.contrib.starlette_admin: {error}; pip install 'depot_lite[starlette-admin]'"
    ) from error

from depot_lite.contrib.starlette_admin.fields import FilesField
from depot_lite.contrib.starlette_admin.maintenance import MaintenanceView
from depot_lite.contrib.starlette_admin.plugin import DepotPlugin

__all__ = ["DepotPlugin", "FilesField", "MaintenanceView"]
