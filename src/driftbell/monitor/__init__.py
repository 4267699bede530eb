"""The monitor: run checks on schedule, keep their state, and apply retention."""
