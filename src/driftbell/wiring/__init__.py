"""The only place where settings become objects: one file for each process, and one for what they share."""
