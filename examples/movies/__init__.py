"""A film archive: an admin, a JSON API and seven films, on any database and storage that depot_lite knows.

    python examples/movies

Start reading with ``models.py``, which has the columns, and ``app.py``, which connects everything.
"""
