"""How `bench/failures.py` breaks things."""
