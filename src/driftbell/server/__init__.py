"""The prediction service and its pages."""
