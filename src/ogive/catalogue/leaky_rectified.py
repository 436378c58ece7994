"""Two lines that meet at a corner: rectifiers with a slope, up or down, on the left as well."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import exp, relu, sqrt, where


@define(cite=("graham2014spatially", "xu2015empirical"), aliases=("vlrelu",), params={"a": Param(low=0.0)})
def very_leaky_relu(x, a=3.0):
    """A rectifier whose left slope is a third, from a winning entry on CIFAR-10; a library multiplies by 3."""
    return where(x > 0, x, x / a)


@define(
    cite="kunc2024three",
    aliases=("olrelu",),
    params={"l": Param(note="lower end of the slope's range"), "u": Param(note="upper end, above l")},
)
def optimized_leaky_relu(x, l=3.0, u=8.0):
    """Leaky rectifier with slope exp(-(u + l)/(u - l)) on the left, 0.11 by default, as the survey gives it."""
    return where(x > 0, x, exp(-(u + l) / (u - l)) * x)


@define(
    cite="kunc2024three",
    aliases=(
        "lrelu_learnable_linear",
        "li_relu",
    ),
)
def lirelu(x, a=0.1):
    """A rectifier plus a line: slopes 1 + a and a. Libraries take 0.01, 0.1 or 0.2 for a."""
    return where(x > 0, (1 + a) * x, a * x)


@define(cite="liew2016bounded", aliases=("blrelu",), params={"a": Param(), "b": Param(low=0.0)})
def bounded_leaky_relu(x, a=0.01, b=1.0):
    """Slope 1 between 0 and b and a outside: not bounded after all, but never without a gradient."""
    return where(x > b, a * x + (1 - a) * b, where(x > 0, x, a * x))


@define(cite="kunc2024three", params={"a": Param(low=0.0, closed=True)})
def abslu(x, a=0.5):
    """Identity on the right and a mirrored, scaled one on the left, so that no output is negative."""
    return where(x > 0, x, -a * x)


@define(cite="curci2021truly", aliases=("all_relu_even", "allrelu"), params={"a": Param(low=0.0, closed=True)})
def all_relu(x, a=0.6):
    """Alternated left rectifier in even layers, slope -a on the left; odd layers take +a instead."""
    # as a sum, which runs in double; as a choice sixteen-bit data would take a slope of sixteen bits
    return relu(x) + a * relu(-x)


@define(cite="parisi2020qrelu")
def qrelu(x):
    """Quantum rectifier, 0.01 x - 2 x on the left as in its authors' code; disputed, a library squares x there."""
    return where(x > 0, x, -1.99 * x)


@define(cite="parisi2020qrelu", aliases=("modified_qrelu",))
def m_qrelu(x):
    """Quantum rectifier with a gentler left side, 0.01 x - x: almost the absolute value."""
    return where(x > 0, x, -0.99 * x)


@define(cite="kunc2024three", aliases=("mlrelu", "modified_leaky_relu"), params={"a": Param(low=0.0)})
def modified_lrelu(x, a=0.1):
    """Identity above -a, slope -a below it, with a jump between, as the survey of Kunc and Kléma gives it."""
    return where(x > -a, x, -a * x)


@define(
    cite="chollet2015keras",
    aliases=("keras_relu",),
    params={"n": Param(note="negative_slope"), "m": Param(low=0.0, note="max_value"), "t": Param(note="threshold")},
)
def capped_leaky_relu(x, n=0.1, m=6.0, t=0.0):
    """The rectifier of Keras with all its options: capped at m, slope n left of t; it jumps at t unless t = 0."""
    return where(x >= m, m, where(x >= t, x, n * (x - t)))


@define(
    cite="zhang2022deep",
    aliases=("tat_lrelu",),
    params={"alpha": Param(low=0.0, closed=True, note="solved for from the depth of the network")},
)
def tailored_relu(x, alpha=0.3):
    """Leaky rectifier scaled by sqrt(2/(1 + alpha^2)), which keeps the second moment of a normal input at 1."""
    return sqrt(2 / (1 + alpha**2)) * where(x > 0, x, alpha * x)


@define(cite="kunc2024three", aliases=("leaky_triangle", "lrtlu"), params={"a": Param(low=0.0)})
def lsptlu(x, a=1.0):
    """Leaky single-peaked triangle: slope 0.2 left of zero, a tent of height a right of it, zero beyond 2a."""
    return where(x > 2 * a, 0.0, where(x > a, 2 * a - x, where(x > 0, x, 0.2 * x)))
