"""Openings of sentences about the performance that are no alarm, and headlines of pages."""

from __future__ import annotations

CANNOT_TELL = "Cannot tell whether the model performs worse"
UNCHANGED = "Inputs changed, performance did not"
CONTRADICTED = "Labels contradict an estimated loss"
NOT_CONFIRMED = "Labels do not confirm an estimated loss"
SMALLER = "Labels show only a loss smaller than the smallest that matters"
RECOVERED = "The newest labels show no certain loss any more"
SMALLER_NOW = "The newest labels show only a loss smaller than the smallest that matters"
ACCUMULATED = "Evidence of a loss has accumulated"

MAY_GO_ON = "Cannot tell whether the loss goes on"
"""Headline of an alarm with newest rows of which no loss is certain and a relevant one possible."""

WARNING_CLAIMS = (
    *(CANNOT_TELL, UNCHANGED, CONTRADICTED, NOT_CONFIRMED, SMALLER),
    *(RECOVERED, SMALLER_NOW, ACCUMULATED),
)
"""Openings of a warning about the performance."""
