"""Engines: count tables of any size on the bins of a reference."""
