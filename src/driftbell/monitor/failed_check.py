"""Results and errors of a check that failed."""

from __future__ import annotations

from driftbell.errors import DriftbellError
from driftbell.records import Degradation, Judgement, Verdict

CHECK_FAILED = Judgement(Verdict.UNKNOWN, "Cannot judge: the check failed.")
DETECTOR_FAILED = Degradation(
    Verdict.UNKNOWN, "Cannot judge whether the model performs worse: the check failed."
)


def describe_error(error: Exception) -> str:
    """Return an error's message; that of a foreign error may hold feature values, so only its type."""
    return str(error) if isinstance(error, DriftbellError) else f"{type(error).__name__} in the check"
