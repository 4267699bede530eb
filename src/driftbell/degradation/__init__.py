"""Degradation: does the model perform worse? CUSUM charts on labels, or on estimates without labels."""

from driftbell.degradation.detector import CusumDetector, watch

__all__ = ["CusumDetector", "watch"]
