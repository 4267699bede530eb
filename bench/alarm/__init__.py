"""What the benchmark of the alarms is made of: data, models, changes with a measured truth, peers, scores."""
