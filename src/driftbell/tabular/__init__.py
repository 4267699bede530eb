"""Tables: columns, files, schema and profile."""
