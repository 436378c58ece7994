"""Polynomials: what encrypted and multi-party inference can compute, and oscillating units of low degree."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import clip, maximum, pi, relu, softsign, sqrt, where


@define(cite="giladbachrach2016cryptonets", aliases=("quadratic",))
def square(x):
    """x^2, the activation of encrypted inference; magnitudes double their exponent at every layer."""
    return x**2


@define(cite="kunc2024three", aliases=("cubic", "triple"))
def cube(x):
    """x^3."""
    return x**3


@define(cite="noel2021biologically")
def ncu(x):
    """x - x^3, the non-monotonic cubic unit: a single neuron can learn XOR."""
    return x - x**3


@define(cite="noel2021biologically")
def squ(x):
    """x^2 + x, the shifted quadratic unit."""
    return x * (x + 1)


@define(cite="li2022mpcformer", aliases=("mpcformer_quad",))
def quad_gelu(x):
    """0.125 x^2 + 0.25 x + 0.5, MPCFormer's replacement for GELU under secure computation."""
    return (0.125 * x + 0.25) * x + 0.5


@define(cite="chou2018faster", aliases=("faster_cryptonets_quad",))
def faster_cryptonets(x):
    """x^2/8 + x/2 + 1/4, a quadratic stand-in for ReLU with coefficients that are powers of two."""
    return (0.125 * x + 0.5) * x + 0.25


@define(cite="chen2018logistic", aliases=("sigmoid_poly3",))
def cubic_sigmoid(x):
    """0.5 + 0.197 x - 0.004 x^3, the logistic function on [-5, 5] for encrypted inference; diverges beyond."""
    return 0.5 + x * (0.197 - 0.004 * x**2)


@define(cite="kim2018secure")
def sigmoid_lsq3(x):
    """Least-squares cubic for the logistic function on [-8, 8], for encrypted logistic regression."""
    return 0.5 + x * (1.20096 / 8 - 0.81562 / 512 * x**2)


@define(cite="kim2018secure")
def sigmoid_lsq5(x):
    """Least-squares quintic for the logistic function on [-8, 8], for encrypted logistic regression."""
    u = (x / 8) ** 2
    return 0.5 + x / 8 * (1.53048 + u * (-2.3533056 + u * 1.3511295))


@define(cite="kim2018secure")
def sigmoid_lsq7(x):
    """Least-squares polynomial of degree 7 for the logistic function on [-8, 8], for encrypted regression."""
    u = (x / 8) ** 2
    return 0.5 + x / 8 * (1.73496 + u * (-4.19407 + u * (5.43402 - 2.50739 * u)))


@define(cite="ali2020polynomial", aliases=("polynomial_relu2",))
def relu_lsq2(x):
    """0.47 + 0.50 x + 0.09 x^2, the least-squares parabola for ReLU on [-5, 5]; diverges beyond."""
    return 0.47 + x * (0.5 + 0.09 * x)


@define(
    cite="kiselak2020spocu",
    params={"alpha": Param(low=0.0), "beta": Param(low=0.0, high=1.0), "gamma": Param(low=0.0)},
    exceptions={"first": "zero near x = -2.94, where terms of a polynomial of degree 7 cancel"},
)
def spocu(x, alpha=3.0937, beta=0.6653, gamma=4.437):
    """Scaled polynomial constant unit, unbounded form: self-normalising, of degree 8 on the right, flat far left."""
    # alpha (r(u + beta) - r(beta)) with r(h) = h^8 - 2 h^7 + 2 h^3 and u = x/gamma, as Taylor's series in u about
    # beta, which keeps the digits near zero; left of -beta the polynomial is held
    u, b = maximum(x / gamma, -beta), beta
    high = 70 * b**4 - 70 * b**3 + u * (56 * b**3 - 42 * b**2 + u * (28 * b**2 - 14 * b + u * (8 * b - 2 + u)))
    most = b * (28 * b**5 - 42 * b**4 + 6) + u * (56 * b**5 - 70 * b**4 + 2 + u * high)
    return alpha * u * (b**2 * (8 * b**5 - 14 * b**4 + 6) + u * most)


@define(
    cite="hwang2023universal",
    params={"b": Param(low=0.0, note="power of the transition"), "c": Param(low=0.0, note="half its width")},
)
def puaf(x, b=5.0, c=10.0):
    """Polynomial universal activation, here x times its gate: like swish inside [-c, c], a rectifier outside."""
    # (c + x)^b/((c + x)^b + (c - x)^b), by the quotient p of the smaller and the larger base
    p = where(abs(x) < c, ((c - abs(x)) / (c + abs(x))) ** b, 0.0)
    return x * where(x > 0, 1 / (1 + p), p / (1 + p))


@define(
    cite="saha2019evolution",
    params={"k": Param(low=0.0), "alpha": Param(low=0.0, high=1.0)},
)
def sbaf(x, k=0.98, alpha=0.5):
    """1/(1 + k x^alpha (1 - x)^(1 - alpha)) for inputs scaled to [0, 1]; held at 1 outside."""
    u = clip(x, 0, 1)
    return 1 / (1 + k * u**alpha * (1 - u) ** (1 - alpha))


@define(
    cite="kunc2024three",
    exceptions={"second": "zero at x = 0 from the right, where two terms of size 1 cancel"},
)
def mishra(x):
    """The mean of softsign and its square: from 0 down to -1/8 and back up on the left, rising to 1 on the right."""
    # left of zero 1 + softsign(x) = 1/(1 + |x|)
    return where(x > 0, softsign(x) * (1 + softsign(x)), softsign(x) / (1 + abs(x))) / 2


@define(cite="park2022aespa", same_as="dapa")
def hermite_relu2(x):
    """ReLU's Hermite expansion to degree 2, (x^2 + 1)/(2 sqrt(2 pi)) + x/2, for encrypted inference."""
    return (x**2 + 1) / (2 * sqrt(2 * pi)) + x / 2


@define(
    cite="zhuo2024polynomial",
    params={k: Param(note="shared over a layer") for k in ("a0", "a1", "a2", "a3")},
)
def poly_relu(x, a0=0.0, a1=1 / 3, a2=1 / 3, a3=1 / 3):
    """A learned cubic in the rectified input, for language models."""
    return a0 + relu(x) * (a1 + relu(x) * (a2 + a3 * relu(x)))
