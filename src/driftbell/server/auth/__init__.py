"""Authentication: who may send which request."""
