"""A reverse proxy in front of a model server that records its predictions."""
