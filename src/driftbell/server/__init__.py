"""The prediction service and its pages."""

from driftbell.server.app import Service, create_app

__all__ = ["Service", "create_app"]
