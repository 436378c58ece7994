"""The nodes of networks grown by evolution: the functions of NEAT, of pattern networks and of their libraries."""

from __future__ import annotations

from ogive.activation import define
from ogive.ops import abs, asinh, clip, exp, log, maximum, sigmoid, sin, softplus, softsign, tanh, where

# NEAT itself


@define(cite="stanley2002evolving", aliases=("steepened_sigmoid",))
def neat_sigmoid(x):
    """The logistic function made steep, so that it is almost linear over small inputs; the node of NEAT."""
    return sigmoid(4.9 * x)


# SharpNEAT


@define(cite="green2004sharpneat")
def sharpneat_bipolar_sigmoid(x):
    """The steep sigmoid of NEAT from -1 to 1, for networks that draw patterns."""
    return tanh(2.45 * x)


@define(cite="green2004sharpneat")
def sharpneat_bipolar_gaussian(x):
    """A narrow bell from -1 in the tails to 1 at zero, for networks that draw patterns."""
    return 2 * exp(-6.25 * x**2) - 1


@define(cite="green2004sharpneat")
def sharpneat_gaussian(x):
    """A narrow bell from 0 to 1, for networks that draw patterns."""
    return exp(-6.25 * x**2)


@define(cite="green2004sharpneat")
def sharpneat_arcsinh(x):
    """The inverse hyperbolic sine raised by one and scaled, with the constant that a forum worked out for it."""
    return 1.2567348023993685 * ((asinh(x) + 1) / 2)


@define(cite="green2004sharpneat", aliases=("softsign_steep",))
def sharpneat_softsign(x):
    """Softsign from 0 to 1 with a knee at 0.2, about as steep at zero as the sigmoid of NEAT."""
    # for a negative input 1/2 - r/(2 (1 + r)) = 1/(2 (1 + r)), which does not cancel
    r = 5 * where(x > 0, x, -x)
    return where(x > 0, 0.5 + softsign(r) / 2, 0.5 / (1 + r))


@define(cite="green2004sharpneat")
def quadratic_sigmoid(x):
    """Two arcs of a parabola joined at zero with a small jump, and lines of slope 5e-6 outside."""
    r = abs(x) - 0.999
    y = where(abs(x) >= 0.999, 0.999 + 1e-5 * r, 0.999 - r**2)
    return 0.5 + where(x >= 0, y, -y) / 2


@define(cite="green2004sharpneat")
def srelu_shifted(x):
    """A ramp from 0 to 1 that is 1/2 at zero, with slope 1e-5 outside so that a gradient is left."""
    z = x + 0.5
    return where(z > 0.001, where(z >= 0.999, 0.999 + 1e-5 * (z - 0.999), z), 0.001 + 1e-5 * (z - 0.001))


# neat-python, which clips before it computes


@define(cite="mcintyre2015neatpython")
def neat_python_sigmoid(x):
    """The logistic function of 5 x, its argument held within 60 of zero."""
    return sigmoid(clip(5 * x, -60, 60))


@define(cite="mcintyre2015neatpython")
def neat_python_tanh(x):
    """tanh of 2.5 x, its argument held within 60 of zero."""
    return tanh(clip(2.5 * x, -60, 60))


@define(cite="mcintyre2015neatpython")
def neat_python_sin(x):
    """Sine of 5 x up to |x| = 12, where the argument is held: some nineteen waves, then flat."""
    return sin(clip(5 * x, -60, 60))


@define(cite="mcintyre2015neatpython")
def neat_python_gauss(x):
    """A bell narrower than the usual one, its argument held within 3.4 of zero."""
    return exp(-5 * clip(x, -3.4, 3.4) ** 2)


@define(cite="mcintyre2015neatpython")
def neat_python_softplus(x):
    """A sharp softplus whose argument is held within 60 of zero, so that it stops growing at 12."""
    return 0.2 * softplus(clip(5 * x, -60, 60))


@define(cite="mcintyre2015neatpython")
def neat_python_log(x):
    """The logarithm, held at log(1e-7) below 1e-7."""
    return log(maximum(x, 1e-7))
