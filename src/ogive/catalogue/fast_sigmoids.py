"""Quotients, parabolas and exponent tricks that libraries run in place of exp, tanh and the logistic function."""

from __future__ import annotations

from ogive.activation import define
from ogive.ops import floor, log, minimum, pow, where


@define(cite="anguita1993speed", aliases=("anguita_tanh", "ultrafast_tanh"))
def tanh_anguita(x):
    """Two parabolas for tanh that end flat at 0.96 and -0.96, made to train networks on workstations."""
    # expanded about zero, where the published squares cancel to 1e-6
    rest, slope = 0.96016 - 0.26037 * 1.92033**2, 2 * 0.26037 * 1.92033
    left = -rest + x * (slope + 0.26037 * x)
    right = rest + x * (slope - 0.26037 * x)
    return where(x > 1.92033, 0.96016, where(x > 0, right, where(x > -1.92033, left, -0.96016)))


@define(cite="kim2021ibert", aliases=("integer_exp",))
def i_exp(x):
    """A parabola on (-log 2, 0] shifted by powers of two: the exponential of integer-only BERT, held right of 0."""
    n = floor(-minimum(x, 0.0) / log(2.0))
    p = minimum(x, 0.0) + n * log(2.0)
    return (0.3585 * (p + 1.353) ** 2 + 0.344) * pow(2.0, -n)
