"""Alarms: budget, lifecycle, annotations, notifications and the verdict. Pure functions."""
