"""Publication of checks: reports, notifications, metrics and JSON views."""
