"""Benchmark of the alarms: data, models, changes with a measured truth, peers, scores."""
