"""Openings of sentences about the performance that are no alarm, and headlines of pages."""

from __future__ import annotations

CANNOT_TELL = "Cannot tell whether the model performs worse"
UNCHANGED = "Inputs changed, performance did not"
CONTRADICTED = "Labels contradict an estimated loss"
UNCONFIRMED = "Labels do not confirm an estimated loss"
RECOVERED = "The newest labels show no loss any more"
ACCUMULATED = "Evidence of a loss has accumulated"

WARNING_CLAIMS = (CANNOT_TELL, UNCHANGED, CONTRADICTED, UNCONFIRMED, RECOVERED, ACCUMULATED)
"""Openings of a warning about the performance."""
