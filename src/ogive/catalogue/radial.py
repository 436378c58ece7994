"""Bumps: radial functions, wavelets and other activations that are local in their input."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import cos, exp, hypot1, isru, log, pi, relu, sech2, where


@define(cite="broomhead1988multivariable")
def gaussian(x):
    """exp(-x^2), the bump of radial basis networks."""
    return exp(-(x**2))


@define(cite="ramasinghe2022beyond", params={"a": Param(low=0.0)}, aliases=("quadratic_rbf", "inr_quadratic"))
def inverse_quadratic(x, a=1.0):
    """1/(1 + (a x)^2)."""
    return hypot1(a * x) ** -2


@define(
    cite=("hardy1971multiquadric", "ramasinghe2022beyond"),
    params={"a": Param(low=0.0)},
    aliases=("multiquadratic_inv", "inr_multiquadric"),
)
def inverse_multiquadric(x, a=1.0):
    """1/sqrt(1 + (a x)^2)."""
    return hypot1(a * x) ** -1


@define(cite="ramasinghe2022beyond", params={"a": Param(low=0.0)}, aliases=("laplacian_rbf", "inr_laplacian"))
def laplacian(x, a=1.0):
    """exp(-|x|/a): a bump with a peak."""
    return exp(-abs(x) / a)


@define(cite="zhang1992wavelet", aliases=("ricker",))
def mexican_hat(x):
    """Negative second derivative of a Gaussian with unit energy; for wavelet networks and KANs."""
    return 2 / (3**0.5 * pi**0.25) * ((1 - x**2) * exp(-(x**2) / 2))


@define(cite="bozorgasl2024wavkan", aliases=("dog_wavelet",))
def gaussian_derivative(x):
    """-x exp(-x^2/2), the first derivative of a Gaussian, used as a wavelet."""
    return -(x * exp(-(x**2) / 2))


@define(cite=("zhang1992wavelet", "bozorgasl2024wavkan"), params={"omega": Param(low=0.0)})
def morlet(x, omega=5.0):
    """Real part of the Morlet wavelet; 5 is the classical frequency, 1.75 is used as well."""
    return cos(omega * x) * exp(-(x**2) / 2)


@define(cite="saragadam2023wire", params={"omega": Param(), "s": Param()}, aliases=("gabor_real",))
def gabor(x, omega=20.0, s=10.0):
    """Real part of WIRE's Gabor wavelet, with the frequency and width of the released code."""
    return cos(omega * x) * exp(-((s * x) ** 2))


@define(
    cite="li2024cauchy",
    aliases=("cauchy_xnet",),
    params={"l1": Param(), "l2": Param(), "d": Param(low=0.0, note="width; keep it away from zero")},
    exceptions={"second": "zero at x = 1, where two terms of size 1/2 cancel to 3e-17"},
)
def cauchy(x, l1=1.0, l2=1.0, d=1.0):
    """(l1 x + l2)/(x^2 + d^2), the activation of XNet; public code starts l1 and l2 at 1 or at 0.01."""
    # with u = x/d: (l1 d u + l2)/(d^2 (1 + u^2)), split so that no two sides overflow together
    return (l1 / d * isru(x / d) + l2 / d**2 / hypot1(x / d)) / hypot1(x / d)


@define(
    cite="lan2023elephant",
    params={"a": Param(low=0.0, note="half-width"), "d": Param(low=0.0, note="steepness, usually 4 or 8")},
)
def elephant(x, a=1.0, d=8.0):
    """1/(1 + |x/a|^d): values and slopes both sparse, against forgetting in continual learning."""
    # beyond |x| = a the same function in 1/|x|, whose powers do not overflow
    return where(abs(x) > a, abs(x / a) ** -d / (1 + abs(x / a) ** -d), 1 / (1 + abs(x / a) ** d))


@define(
    cite="ramasinghe2022beyond",
    params={"a": Param(low=0.0), "b": Param(low=0.0, note="only changes the width")},
    aliases=("inr_supergauss",),
    same_as="gaussian",
)
def super_gaussian(x, a=1.0, b=2.0):
    """(exp(-x^2/(2 a^2)))^b as written in its source: again a Gaussian, not the flat-topped one of optics."""
    return exp(-b * (x / a) ** 2 / 2)


@define(
    cite="hardy1971multiquadric",
    params={"p": Param(note="centre"), "q": Param(low=0.0, note="value at the centre")},
    aliases=("multiquadratic",),
    same_as="maf",
)
def multiquadric(x, p=0.0, q=1.0):
    """sqrt((x - p)^2 + q^2): a radial function that grows, a smooth absolute value."""
    return q * hypot1((x - p) / q)


@define(cite="duchon1977splines", aliases=("thin_plate_spline",))
def thin_plate(x):
    """x^2 log|x|, 0 at 0: the radial function of thin-plate splines."""
    return where(abs(x) > 0, x**2 * log(abs(x)), 0.0)


@define(cite="powell1987radial")
def cubic_rbf(x):
    """|x|^3: the radial function of cubic splines."""
    return abs(x) ** 3


@define(cite="delis2024fasterkan", aliases=("rswaf",), params={"h": Param(low=0.0, note="width, 1/3 in the code")})
def sech2_rbf(x, h=1.0):
    """1 - tanh(x/h)^2, the derivative of tanh as a bump: the reflectional switch function of FasterKAN."""
    return sech2(x / h)


@define(cite="wendland1995piecewise", params={"a": Param(low=0.0, note="radius of the support")})
def wendland(x, a=1.0):
    """(1 - |x|/a)^4 (4 |x|/a + 1) inside |x| < a, else 0: a twice differentiable bump of compact support."""
    # expanded near zero, where the two terms of the slope would cancel
    u = abs(x) / a
    near = 1 - u**2 * (10 - u * (20 - u * (15 - 4 * u)))
    return where(u < 0.5, near, relu(1 - u) ** 4 * (4 * u + 1))


@define(cite="liu2024kan")
def cubic_bspline(x):
    """The cubic B-spline with knots at -2, -1, 0, 1, 2: the basis function on the edges of a KAN."""
    u = abs(x)
    return where(u < 1, 2 / 3 + u**2 * (u / 2 - 1), relu(2 - u) ** 3 / 6)


@define(cite="qiu2024relukan", params={"s": Param(note="start of the support"), "e": Param(note="its end, above s")})
def relu_kan_basis(x, s=-1.0, e=1.0):
    """ReLU-KAN's bump, the squared product of two rectifiers, with height 1 between s and e."""
    # 4 (e - x)(x - s)/(e - s)^2 = 1 - v^2 with v from -1 to 1
    return relu(1 - ((2 * x - (e + s)) / (e - s)) ** 2) ** 2
