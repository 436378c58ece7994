"""Radial basis functions beyond the Gaussian: of Matérn type, of compact support, and splines that grow."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, cos, exp, hypot1, log, log1p, pi, relu, where

# Written in the distance r = |x| to the centre. Polynomials that are flat at the centre are expanded there,
# since the terms of their slope cancel; further out they are products with a power of 1 - r.


@define(cite=("rasmussen2006gaussian", "linux2019rbf"), params={"a": Param(low=0.0, note="length scale")})
def matern32(x, a=1.0):
    """Matérn kernel of smoothness 3/2, a bump with an exponential tail and a continuous slope."""
    r = 3**0.5 / a * abs(x)
    return (1 + r) * exp(-r)


@define(cite=("rasmussen2006gaussian", "linux2019rbf"), params={"a": Param(low=0.0, note="length scale")})
def matern52(x, a=1.0):
    """Matérn kernel of smoothness 5/2, a twice differentiable bump with an exponential tail."""
    r = 5**0.5 / a * abs(x)
    return (1 + r + r**2 / 3) * exp(-r)


@define(cite="linux2019rbf")
def poisson_one_rbf(x):
    """First Poisson kernel of a radial basis layer: a peaked trough with a low wall around it."""
    return (abs(x) - 1) * exp(-abs(x))


@define(cite="linux2019rbf")
def poisson_two_rbf(x):
    """Second Poisson kernel of a radial basis layer: zero at the centre, a trough around it, then a rise."""
    return abs(x) * (abs(x) / 2 - 1) * exp(-abs(x))


@define(cite="linux2019rbf")
def log_spline_rbf(x):
    """Spline of a radial basis layer, x^2 log(1 + |x|): thin-plate growth without the negative dip."""
    return x**2 * log1p(abs(x))


@define(cite=("duchon1977splines", "virtanen2020scipy"))
def quintic_rbf(x):
    """|x|^5, the radial function of splines of degree five; SciPy gives it the other sign."""
    return abs(x) ** 5


@define(cite="duchon1977splines")
def polyharmonic4(x):
    """x^4 log|x|, 0 at 0: the polyharmonic spline one order above the thin plate."""
    return where(abs(x) > 0, x**4 * log(abs(x)), 0.0)


@define(
    cite="rasmussen2006gaussian",
    params={"alpha": Param(low=0.0, note="how wide the mixture of scales is"), "a": Param(low=0.0, note="length")},
)
def rational_quadratic(x, alpha=1.0, a=1.0):
    """A mixture of Gaussian bumps of many widths, (1 + x^2/(2 alpha a^2))^-alpha."""
    return hypot1(x / (a * (2 * alpha) ** 0.5)) ** (-2 * alpha)


@define(
    cite="fernandeznavarro2011evolutionary",
    params={"q": Param(low=1.0, note="towards 1 Gaussian, at 2 the Cauchy shape")},
)
def q_gaussian_rbf(x, q=1.5):
    """Gaussian of Tsallis statistics: q moves it from the Gaussian to bumps with ever longer tails."""
    return hypot1((q - 1) ** 0.5 * x) ** (-2 / (q - 1))


# Compact support


@define(
    cite="schilling2001approximation",
    exceptions={"value": "the double zeros at x = -1 and 1, where 1 + cos(pi x) cancels"},
)
def raised_cosine_rbf(x):
    """A period of the cosine raised to touch zero at -1 and 1: bumps on a grid of integers add up to one."""
    return where(abs(x) < 1, (1 + cos(pi * x)) / 2, 0.0)


@define(cite="epanechnikov1969nonparametric", params={"a": Param(low=0.0, note="radius")})
def epanechnikov(x, a=1.0):
    """Parabolic density 3/4 (1 - x^2) inside [-1, 1], the kernel of least error in density estimation."""
    return 3 / (4 * a) * relu((1 - x / a) * (1 + x / a))


@define(cite=("cleveland1979robust", "atkeson1997locally"))
def tricube(x):
    """(1 - |x|^3)^3 inside [-1, 1]: the weight of local regression, flat at the centre and at the rim."""
    r = abs(x)
    return where(r < 0.5, (1 - r**3) ** 3, (relu(1 - r) * (1 + r + r**2)) ** 3)


@define(cite="wendland1995piecewise", params={"a": Param(low=0.0, note="radius")})
def wendland_c0(x, a=1.0):
    """Wendland's function of smoothness 0 for up to three dimensions: a squared tent."""
    return relu(1 - abs(x) / a) ** 2


@define(cite="wendland1995piecewise", params={"a": Param(low=0.0, note="radius")})
def wendland_c4(x, a=1.0):
    """Wendland's function of smoothness 4 for up to three dimensions, scaled to height 1."""
    r = abs(x) / a
    near = 1 + r**2 * (-28 / 3 + r**2 * (70 + r * (-448 / 3 + r * (140 + r * (-64 + r * (35 / 3))))))
    return where(r < 0.3, near, relu(1 - r) ** 6 * (1 + r * (6 + r * (35 / 3))))


@define(cite="wendland1995piecewise", params={"a": Param(low=0.0, note="radius")})
def wendland_c6(x, a=1.0):
    """Wendland's function of smoothness 6 for up to three dimensions."""
    r = abs(x) / a
    far = r * (1056 + r * (-1155 + r * (704 + r * (-231 + r * 32))))
    near = 1 + r**2 * (-11 + r**2 * (66 + r**2 * (-462 + far)))
    return where(r < 0.2, near, relu(1 - r) ** 8 * (1 + r * (8 + r * (25 + 32 * r))))


@define(cite="wu1995compactly", params={"a": Param(low=0.0, note="radius")})
def wu_c2(x, a=1.0):
    """Wu's function of smoothness 2 for up to three dimensions, scaled to height 1."""
    r = abs(x) / a
    near = 1 + r**2 * (-7 + r * (35 / 4 + r**2 * (-7 / 2 + r**2 * (3 / 4))))
    return where(r < 0.4, near, relu(1 - r) ** 4 * (1 + r * (4 + r * (3 + r * (3 / 4)))))


@define(cite="wu1995compactly", params={"a": Param(low=0.0, note="radius")})
def wu_c4(x, a=1.0):
    """Wu's function of smoothness 4 for up to three dimensions, scaled to height 1."""
    r = abs(x) / a
    near = 1 + r**2 * (-22 / 3 + r**2 * (33 + r * (-77 / 2 + r**2 * (33 / 2 + r**2 * (-11 / 2 + r**2 * (5 / 6))))))
    return where(r < 0.3, near, relu(1 - r) ** 6 * (1 + r * (6 + r * (41 / 3 + r * (12 + r * (5 + r * (5 / 6)))))))


@define(cite=("deboor1978practical", "brown1994neurofuzzy"))
def quadratic_bspline(x):
    """The quadratic B-spline with knots at -3/2, -1/2, 1/2, 3/2: a basis function of B-spline networks."""
    r = abs(x)
    return where(r < 0.5, 3 / 4 - r**2, relu(3 / 2 - r) ** 2 / 2)
