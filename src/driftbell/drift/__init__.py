"""Drift: compare the window with the reference, and decide which columns drifted."""
