"""HTTP plumbing: limits, protocol, problems, metrics, tracing and the access log."""
