"""Who is told about a check: one file a sink."""
