"""Statistics as pure functions on arrays; each docstring has the formula and the source."""

from driftbell.stats.counts import (
    category_shares,
    chi_square,
    jensen_shannon,
    js_noise,
    null_share,
    psi,
    psi_noise,
)
from driftbell.stats.effects import (
    Size,
    difference_size,
    distance_size,
    largest_change,
    share_size,
    total_variation,
)
from driftbell.stats.losses import accuracy_loss_p_value, error_loss_p_value
from driftbell.stats.metrics import (
    CLASSIFICATION_METRICS,
    REGRESSION_METRICS,
    classification_metrics,
    interval_difference,
    metric_differences,
    regression_metrics,
)
from driftbell.stats.performance import (
    CalibrationBin,
    ClassScore,
    calibration,
    class_scores,
    confusion,
    mean_interval,
    wilson,
)
from driftbell.stats.samples import (
    Outcome,
    benjamini_hochberg,
    exceedance,
    kolmogorov_smirnov,
    normed_wasserstein,
    rank_sum,
)

__all__ = [
    "CLASSIFICATION_METRICS",
    "REGRESSION_METRICS",
    "CalibrationBin",
    "ClassScore",
    "Outcome",
    "Size",
    "accuracy_loss_p_value",
    "benjamini_hochberg",
    "calibration",
    "category_shares",
    "chi_square",
    "class_scores",
    "classification_metrics",
    "confusion",
    "difference_size",
    "distance_size",
    "error_loss_p_value",
    "exceedance",
    "interval_difference",
    "jensen_shannon",
    "js_noise",
    "kolmogorov_smirnov",
    "largest_change",
    "mean_interval",
    "metric_differences",
    "normed_wasserstein",
    "null_share",
    "psi",
    "psi_noise",
    "rank_sum",
    "regression_metrics",
    "share_size",
    "total_variation",
    "wilson",
]
