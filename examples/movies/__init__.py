"""A film archive: an admin, a JSON API and seven films, on any database and storage that depot_lite knows.

    python examples/movies

Where to begin reading: ``models.py`` has the columns, ``app.py`` puts everything together.
"""
