"""Grids of few bits, their rounding, and smooth stairs that stand in for rounding while a network is trained."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import abs, clip, cosh, floor, log, minimum, pi, sigmoid, sin, sinh, tanh, where


@define(
    cite=("jacob2018quantization", "abadi2016tensorflow"),
    params={"s": Param(low=0.0, note="step"), "low": Param(), "high": Param(note="above low")},
    backward=lambda x, s, low, high: where(x >= s * low, where(x <= s * high, 1.0, 0.0), 0.0),
)
def fake_quant(x, s=12 / 255, low=-128.0, high=127.0):
    """Eight bits over about [-6, 6] with straight-through slope inside, TensorFlow's default for simulated int8."""
    return s * clip(floor(x / s + 1 / 2), low, high)


@define(cite="rouhani2023microscaling", aliases=("e2m1",))
def fp4_e2m1(x):
    """The nearest of the 15 numbers of a four-bit float, ties to even, saturating at 6."""
    a = abs(x)
    y = where(a < 2, round(2 * a) / 2, where(a < 4, round(a), 2 * round(minimum(a, 6.0) / 2)))
    return where(x > 0, y, -y)


@define(cite="rouhani2023microscaling", aliases=("e2m3",))
def fp6_e2m3(x):
    """The nearest number of a six-bit float with three bits of mantissa, ties to even, saturating at 7.5."""
    a = abs(x)
    y = where(a < 2, round(8 * a) / 8, where(a < 4, round(4 * a) / 4, round(2 * minimum(a, 7.5)) / 2))
    return where(x > 0, y, -y)


@define(cite="rouhani2023microscaling", aliases=("e3m2",))
def fp6_e3m2(x):
    """The nearest number of a six-bit float with two bits of mantissa, ties to even, saturating at 28."""
    a = minimum(abs(x), 28.0)
    small = where(a < 0.5, round(16 * a) / 16, where(a < 1, round(8 * a) / 8, round(4 * a) / 4))
    large = where(a < 8, round(a), where(a < 16, 2 * round(a / 2), 4 * round(a / 4)))
    y = where(a < 2, small, where(a < 4, round(2 * a) / 2, large))
    return where(x > 0, y, -y)


@define(cite="shin2017jpeg", aliases=("jpeg_round",))
def cubic_round(x):
    """Rounding plus the cube of the remainder, so that JPEG compression can be differentiated."""
    return round(x) + (x - round(x)) ** 3


@define(cite="xing2021invertible", aliases=("invisp_round",))
def fourier_round(x):
    """Rounding by ten terms of its Fourier series, so that a camera pipeline with JPEG can be differentiated."""
    d = x - round(x)
    return round(x) + (d - sum((-1) ** (k + 1) / (k * pi) * sin(2 * pi * k * d) for k in range(1, 11)))


@define(cite="agustsson2020universally", params={"alpha": Param(low=0.0, note="annealed upwards in training")})
def soft_round(x, alpha=4.0):
    """Stairs of hyperbolic tangents between the identity (small alpha) and rounding, for learned compression."""
    # floor(x) + 1/2 + tanh(alpha r)/(2 tanh(alpha/2)) with r = x - floor(x) - 1/2, as a difference from the nearest
    # integer: tanh A - tanh B = sinh(A - B)/(cosh A cosh B)
    d = x - round(x)
    return round(x) + sinh(alpha * d) / (2 * sinh(alpha / 2) * cosh(alpha / 2 - alpha * abs(d)))


@define(
    cite="gong2019differentiable",
    params={"alpha": Param(low=0.0, high=1.0, note="0.2 at first, learned"), "levels": Param(low=0.0, note="2^k - 1")},
)
def dsq(x, alpha=0.2, levels=3.0):
    """Soft quantiser of two bits on [-1, 1], a tanh in every interval; rounded to its ends in the forward pass."""
    t = clip((x + 1) * levels / 2, 0, levels)
    i = minimum(floor(t), levels - 1)
    return ((i + 1 / 2 + tanh(log(2 / alpha - 1) * (t - i - 1 / 2)) / (2 - 2 * alpha)) * 2 / levels) - 1


@define(cite="liu2018bireal", aliases=("bireal_polynomial",))
def approx_sign_forward(x):
    """Piecewise parabola between -1 and 1 whose slope Bi-Real Net uses for the sign."""
    return where(x >= 1, 1.0, where(x > 0, x * (2 - x), where(x > -1, x * (2 + x), -1.0)))


@define(cite="darabi2018bnn", params={"beta": Param(low=0.0)})
def sign_swish(x, beta=5.0):
    """2 s (1 + u (1 - s)) - 1 with u = beta x and s its logistic function: the smooth sign of BNN+."""
    u = beta * x
    return tanh(u / 2) + 2 * u * sigmoid(u) * sigmoid(-u)
