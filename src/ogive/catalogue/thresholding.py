"""Denoisers of learned sparse recovery: shrinkage between soft and hard, and posterior means."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, cosh, exp, expm1, hypot1, isru, log, sigmoid, sign, sqrt, where


@define(cite=("guo2015near", "borgerding2017amp"), params={"c": Param(low=0.0, note="width")})
def exponential_shrink(x, c=1.0):
    """x (1 - exp(-x^2/(2 c^2))): cubic near zero, the identity far out; a denoiser of LAMP networks."""
    return -x * expm1(-((x / c) ** 2) / 2)


@define(
    cite="borgerding2017amp",
    params={
        "s": Param(low=0.0, note="variance of the signal where it is not zero"),
        "theta": Param(note="log odds of a zero, log 9 for one signal in ten"),
        "v": Param(low=0.0, note="variance of the noise"),
    },
)
def bernoulli_gaussian_shrink(x, s=1.0, theta=2.1972245773362196, v=0.25):
    """Posterior mean of a sparse Gaussian signal in Gaussian noise, the optimal denoiser that LAMP learns."""
    gain = 1 / (1 + v / s)
    return gain * x * sigmoid(gain / (2 * v) * x**2 - theta - log(1 + s / v) / 2)


@define(
    cite="borgerding2017amp",
    params={"a": Param(low=0.0), "b": Param(low=0.0), "p": Param(), "q": Param(), "r": Param()},
)
def lamp_piecewise_shrink(x, a=2.0, b=4.0, p=0.1, q=1.5, r=0.95):
    """Odd shrinkage of three lines with slopes p up to a, q up to b, r beyond; LAMP learns all five numbers."""
    u = abs(x)
    outer = where(u > b, r * (u - b) + (p * a + q * (b - a)), q * (u - a) + p * a)
    return where(u > a, sign(x) * outer, p * x)


@define(
    cite="zhang2001thresholding",
    params={"t": Param(low=0.0), "lambd": Param(low=0.0, note="smoothing; 0 is soft shrinkage")},
)
def tnn_soft_shrink(x, t=1.0, lambd=0.01):
    """Soft shrinkage with hyperbolas in place of its corners, for thresholds learned by gradient."""
    w = sqrt(lambd)
    middle = x * (1 - 2 * t / (w * (hypot1((x - t) / w) + hypot1((x + t) / w))))
    # the sum of the two roots, squared and rooted again, is a function of x^2; far out one of 1/x^2
    inner = x * (1 - 2 * t / sqrt(2 * (x**2 + t**2 + lambd) + 2 * sqrt((x**2 - t**2 + lambd) ** 2 + 4 * lambd * t**2)))
    s = x**-2
    root = sqrt((1 - (t**2 - lambd) * s) ** 2 + 4 * lambd * (t * s) ** 2)
    outer = x - sign(x) * (2 * t / sqrt(2 * (1 + (t**2 + lambd) * s) + 2 * root))
    return where(abs(x) < t / 2, inner, where(abs(x) > 2 * t, outer, middle))


@define(
    cite="zhang2001thresholding",
    params={"t": Param(low=0.0), "lambd": Param(low=0.0, note="smoothing; 0 is hard shrinkage")},
)
def tnn_hard_shrink(x, t=1.0, lambd=0.1):
    """Hard shrinkage with two logistic functions in place of its jumps, for thresholds learned by gradient."""
    bell = cosh(where(abs(x) < t, x, 0.0) / lambd)
    inner = x * (bell + exp(-t / lambd)) / (bell + cosh(t / lambd))
    return where(abs(x) < t, inner, x * (sigmoid((x - t) / lambd) + sigmoid((-x - t) / lambd)))


@define(cite="nasri2009image", params={"t": Param(low=0.0)})
def nasri_shrink(x, t=1.0):
    """x^3/(2 t^2) up to t and x - t^2/(2 x) beyond: a continuous slope and no bias far out."""
    return where(abs(x) > t, x - t**2 / (2 * x), x**3 / (2 * t**2))


@define(cite="malioutov2013iterative", params={"lambd": Param(low=0.0), "delta": Param(low=0.0)})
def log_shrink(x, lambd=0.5, delta=1.0):
    """Proximal map of lambd log(delta + |x|): zero up to lambd/delta, then a bias that fades like 1/|x|."""
    u = abs(x)
    root = (u + delta) * sqrt(1 - 4 * lambd / (u + delta) ** 2)
    inner = 2 * (u * delta - lambd) / (root - (u - delta))
    return where(u > lambd / delta, sign(x) * where(u > delta, (u - delta + root) / 2, inner), 0.0)


@define(cite="ghael1997improved", params={"sigma": Param(low=0.0, note="noise level")})
def wiener_shrink(x, sigma=1.0):
    """x^3/(x^2 + sigma^2): the empirical Wiener filter of wavelet coefficients."""
    return x * isru(x / sigma) ** 2
