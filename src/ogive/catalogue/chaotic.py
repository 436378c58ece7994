"""Chaotic activations: iterates of the logistic map and of sine and circle maps, as given in a survey."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import cos, exp, pi, sech2, sin, tanh

# pi in two parts, of which the first times a 16-bit number is exact: pi x rounded is off by a period for large x
PI_HIGH = 863554413089 * 2.0**-38
PI_LOW = 899869673868 * 2.0**-79


@define(cite="kunc2024three", params={"r": Param(low=0.0, high=4.0, closed=True, note="chaotic near 4")})
def hcaf(x, r=4.0):
    """Hybrid chaotic activation: the third iterate of the logistic map from sigmoid(x), as public code has it."""
    # c = r s (1 - s) = r/4 sech^2(x/2); each 1 - c is written without cancelling at r = 4
    c = r / 4 * sech2(x / 2)
    d = r * c * ((1 - r / 4) + r / 4 * tanh(x / 2) ** 2)
    return r * d * ((1 - r / 4) + r / 4 * (1 - 2 * c) ** 2)


@define(
    cite="kunc2024three",
    params={"r": Param(), "a": Param(), "b": Param()},
    aliases=("fcaf_hidden",),
)
def fcaf(x, r=4.0, a=0.0, b=0.5):
    """Fusion of the logistic and the circle map for hidden units, as given in the survey."""
    h, low = 2 * PI_HIGH * x, 2 * PI_LOW * x
    return x * (r + 1 - r * x) + a - b / (2 * pi) * (sin(h) * cos(low) + cos(h) * sin(low))


@define(
    cite="kunc2024three",
    params={"r": Param(), "a": Param(), "b": Param(), "c": Param(low=0.0), "d": Param()},
)
def fcaf_output(x, r=4.0, a=0.0, b=0.5, c=1.0, d=0.0):
    """Fusion of the logistic, circle and Gauss maps for output units, as given in the survey."""
    h, low = 2 * PI_HIGH * x, 2 * PI_LOW * x
    return x * (r + 1 - r * x) + a - b / (2 * pi) * (sin(h) * cos(low) + cos(h) * sin(low)) + exp(-c * x**2) + d


@define(cite="kunc2024three", params={"a": Param(), "b": Param()})
def ccaf(x, a=1.0, b=1.0):
    """Cascade of two sine maps, a sin(pi b sin(pi x)), as given in the survey."""
    h, low = PI_HIGH * x, PI_LOW * x
    return a * sin(pi * b * (sin(h) * cos(low) + cos(h) * sin(low)))
