"""Simulation: traffic, faults, the demo, rehearsals and backtests."""
