"""Settings: defaults, file, environment, command line."""
