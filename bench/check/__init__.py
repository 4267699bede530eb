"""Other tools that compare two tables, for `bench/drift.py`."""
