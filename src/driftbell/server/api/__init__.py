"""JSON routes of the service, besides predictions."""
