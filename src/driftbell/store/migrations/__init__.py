"""The log's tables through time, for alembic."""
