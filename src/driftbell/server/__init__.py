"""The prediction service and its pages."""

from driftbell.server.app import create_app
from driftbell.server.service import Service

__all__ = ["Service", "create_app"]
