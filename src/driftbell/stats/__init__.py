"""Statistics as pure functions on arrays; each names its formula and its source."""

from driftbell.stats.counts import (
    category_shares,
    chi_square,
    jensen_shannon,
    js_noise,
    null_share,
    psi,
    psi_noise,
)
from driftbell.stats.samples import Outcome, exceedance, kolmogorov_smirnov, normed_wasserstein

__all__ = [
    "Outcome",
    "category_shares",
    "chi_square",
    "exceedance",
    "jensen_shannon",
    "js_noise",
    "kolmogorov_smirnov",
    "normed_wasserstein",
    "null_share",
    "psi",
    "psi_noise",
]
