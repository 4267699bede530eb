"""Parts of `bench/promotions.py`."""
