"""Tails and quantiles of the normal, chi-square, beta and F distributions.

They agree to 12 digits with `scipy.special`. Its import takes as long as a check of two small tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

EPSILON = 2.0**-53
TINY = 1e-300
"""Replaces a zero denominator of a continued fraction."""

MAX_STEPS = 100
"""Steps of Newton's method; it usually needs fewer than ten."""


def normal_tail(z: float) -> float:
    """Return the probability that a standard normal variable exceeds z: erfc(z / √2) / 2.

    >>> round(normal_tail(1.96), 4)
    0.025
    """
    return 0.5 * math.erfc(z / math.sqrt(2))


@lru_cache(maxsize=1024)
def normal_quantile(tail: float) -> float:
    """Return the value that a standard normal variable exceeds with a given probability.

    Newton's method on the logarithm of the tail, which is concave.

    Args:
        tail: more than 0, at most 0.5.

    >>> round(normal_quantile(0.025), 4)
    1.96
    """
    z = math.sqrt(-2 * math.log(2 * tail))
    for _ in range(MAX_STEPS):
        upper = normal_tail(z)
        density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
        step = math.log(upper / tail) * upper / density
        z += step
        if abs(step) <= 1e-15 * z:
            break
    return z


@lru_cache(maxsize=4096)
def chi_square_tail(x: float, freedom: float) -> float:
    """Return the probability that a chi-square variable exceeds x.

    The regularized upper incomplete gamma function Q(a, y) with a = freedom / 2 and y = x / 2: one minus the
    power series of P for y < a + 1, else Legendre's continued fraction.

    Args:
        x: at least 0.
        freedom: degrees of freedom, more than 0.

    Source: W. H. Press et al., "Numerical recipes", 3rd ed. (2007), section 6.2; the factor in front of both
    by `_poisson`, without cancellation.

    >>> round(chi_square_tail(3.841, 1), 4)
    0.05
    """
    a, y = freedom / 2, x / 2
    if y <= 0:
        return 1.0
    if math.isinf(y):
        return 0.0
    if y < a + 1:
        term = total = 1.0
        k = a
        while term > total * EPSILON:
            k += 1
            term *= y / k
            total += term
        return max(0.0, 1 - _poisson(a, y) * total)
    b = y + 1 - a
    fraction = _fraction(b, lambda i: (i * (a - i), b + 2 * i))
    return _poisson(a, y) * a / fraction


@lru_cache(maxsize=1024)
def chi_square_quantile(tail: float, freedom: float) -> float:
    """Return the value that a chi-square variable exceeds with a given probability.

    Newton's method on the logarithm of the tail, from the approximation of Wilson and Hilferty.

    Args:
        tail: more than 0, less than 1.
        freedom: degrees of freedom, at least 1.

    Source: E. B. Wilson, M. M. Hilferty, "The distribution of chi-square", PNAS 17 (1931).

    >>> round(chi_square_quantile(0.05, 1), 3)
    3.841
    """
    z = normal_quantile(tail) if tail <= 0.5 else -normal_quantile(1 - tail)
    x = freedom * max(0.01, 1 - 2 / (9 * freedom) + z * math.sqrt(2 / (9 * freedom))) ** 3
    for _ in range(MAX_STEPS):
        upper = chi_square_tail(x, freedom)
        density = _poisson(freedom / 2, x / 2) * freedom / 2 / x
        step = math.log(upper / tail) * upper / density if upper else -x / 2
        x, before = max(x + step, x / 10), x
        if abs(x - before) <= 1e-14 * x:
            break
    return x


def beta_cdf(x: float, y: float, a: float, b: float) -> float:
    """Return the probability that a beta variable is at most x: the regularized incomplete beta function.

    Args:
        x: between 0 and 1.
        y: 1 - x, of its own since the difference may have lost digits.
        a: first parameter, more than 0.
        b: second parameter, more than 0.

    Source: W. H. Press et al., "Numerical recipes", 3rd ed. (2007), section 6.4 (continued fraction); the
    factor in front: C. Loader, "Fast and accurate computation of binomial probabilities" (2000).

    >>> round(beta_cdf(0.5, 0.5, 2, 3), 4)
    0.6875
    """
    if x <= 0 or y <= 0:
        return 0.0 if x <= 0 else 1.0
    if x > (a + 1) / (a + b + 2):
        return 1 - beta_cdf(y, x, b, a)

    def part(i: int) -> tuple[float, float]:
        k, odd = divmod(i, 2)
        if odd:
            return -(a + k) * (a + b + k) * x / ((a + i - 1) * (a + i)), 1.0
        return k * (b - k) * x / ((a + i - 1) * (a + i)), 1.0

    return _beta_density(x, y, a, b) * x * y / a / _fraction(1.0, part)


@lru_cache(maxsize=4096)
def beta_quantile(probability: float, a: float, b: float) -> float:
    """Return the value that a beta variable is at most with a given probability.

    Newton's method on the logarithm of the distribution function, which is concave for a, b ≥ 1.

    Args:
        probability: more than 0, less than 1.
        a: first parameter, at least 1.
        b: second parameter, at least 1.

    >>> round(beta_quantile(0.05, 50, 451), 4)
    0.0787
    """
    mean = a / (a + b)
    x = max(mean - 2 * math.sqrt(mean * (1 - mean) / (a + b + 1)), mean / 10)
    for _ in range(MAX_STEPS):
        lower = beta_cdf(x, 1 - x, a, b)
        step = math.log(probability / lower) * lower / _beta_density(x, 1 - x, a, b) if lower else x
        x, before = min(max(x + step, x / 10), (x + 1) / 2), x
        if abs(x - before) <= 1e-15 * x:
            break
    return x


def f_tail(statistic: float, first: float, second: float) -> float:
    """Return the probability that a variable with the F distribution exceeds a statistic.

    Args:
        statistic: at least 0.
        first: degrees of freedom of the numerator.
        second: degrees of freedom of the denominator.

    >>> round(f_tail(4.0, 6, 20), 4)
    0.0086
    """
    if math.isinf(statistic):
        return 0.0
    scale = second + first * statistic
    return beta_cdf(second / scale, first * statistic / scale, second / 2, first / 2)


def _beta_density(x: float, y: float, a: float, b: float) -> float:
    """Return x^(a-1) y^(b-1) / B(a, b) with y = 1 - x."""
    n = a + b
    log = (
        stirling_error(n) - stirling_error(a) - stirling_error(b) - _deviance(a, n * x) - _deviance(b, n * y)
    )
    return math.exp(log) * math.sqrt(a * b / (2 * math.pi * n)) / (x * y)


def _poisson(k: float, mean: float) -> float:
    """Return mean^k exp(-mean) / Γ(k + 1)."""
    return math.exp(-stirling_error(k) - _deviance(k, mean)) / math.sqrt(2 * math.pi * k)


def stirling_error(k: float) -> float:
    """Return the error of Stirling's formula: ln Γ(k + 1) - (k + ½) ln k + k - ½ ln 2π."""
    if k < 15:
        return math.lgamma(k + 1) - (k + 0.5) * math.log(k) + k - 0.5 * math.log(2 * math.pi)
    s = 1 / (k * k)
    return (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s * (1 / 1680 - s * (1 / 1188 - s * 691 / 360360))))) / k


def _deviance(k: float, mean: float) -> float:
    """Return k ln(k / mean) + mean - k without cancellation."""
    if abs(k - mean) >= 0.1 * (k + mean):
        return k * math.log(k / mean) + mean - k
    ratio = (k - mean) / (k + mean)
    total, term, j = (k - mean) * ratio, 2 * k * ratio, 1
    while True:
        term *= ratio * ratio
        after = total + term / (2 * j + 1)
        if after == total:
            return total
        total, j = after, j + 1


def _fraction(first: float, part: Callable[[int], tuple[float, float]]) -> float:
    """Evaluate the continued fraction first + a1 / (b1 + a2 / (b2 + …)) by Lentz's method.

    Args:
        first: the leading term.
        part: returns a and b of a step, from 1.

    Source: I. J. Thompson, A. R. Barnett, "Coulomb and Bessel functions of complex arguments and order",
    Journal of Computational Physics 64 (1986).
    """
    value = c = first or TINY
    d, i = 0.0, 0
    while True:
        i += 1
        a, b = part(i)
        d = 1 / ((b + a * d) or TINY)
        c = (b + a / c) or TINY
        value *= c * d
        if abs(c * d - 1) <= 2 * EPSILON or i > 100_000:
            return value
