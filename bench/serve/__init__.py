"""What the benchmark of serving is made of: the servers, how they are started and loaded, the verdicts."""
