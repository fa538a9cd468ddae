"""Files in starlette-admin: uploads with progress, previews, a viewer, thumbnails in lists, and a maintenance page.

::

    admin = Admin(engine, title="Movies", plugins=[DepotPlugin()])
    admin.add_view(ModelView(Movie))            # its file columns are recognised
    admin.add_view(MaintenanceView())           # counts, unused and missing files

Importing this module registers the converter for file columns; the plugin adds the scripts, the styles, and the route
that receives files before their form. With signing keys (`DepotManager.configure_signing`) files are sent there;
without keys or without JavaScript they are sent with the form.

Users who may create or edit rows of a view may upload, and users who may see the view see the URLs of its files.
Access to the files themselves is decided where they are served (`depot_lite.serving.fileserver`): for private depots,
pages contain signed URLs. They work for about an hour, without a login.
"""

from __future__ import annotations

from depot_lite.errors import ConfigurationError

try:
    import starlette_admin.contrib.sqla  # noqa: F401  # imported first, for a clear error message
except ImportError as error:  # also SQLAlchemy's, about greenlet
    raise ConfigurationError(
        f"depot_lite.contrib.starlette_admin: {error}; pip install 'depot_lite[starlette-admin]'"
    ) from error

from depot_lite.contrib.starlette_admin.fields import FilesField
from depot_lite.contrib.starlette_admin.maintenance import MaintenanceView
from depot_lite.contrib.starlette_admin.plugin import DepotPlugin

__all__ = ["DepotPlugin", "FilesField", "MaintenanceView"]
