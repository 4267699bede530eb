"""Does the model do worse? Evidence from labels and, where there are none, from what the reference taught."""

from driftbell.degradation.detector import HarmWatch, watch

__all__ = ["HarmWatch", "watch"]
