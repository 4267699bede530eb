"""The prediction log: predictions, labels, checks, alarms and notifications in SQLite or PostgreSQL."""
