"""Units with a learned saturating left side through tanh, erf and algebra."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import erf, expm1, hypot1, maximum, minimum, relu, sech2, softsign, tanh, where


@define(
    cite="duggal2017ptelu",
    params={"alpha": Param(low=0.0, closed=True), "beta": Param(low=0.0, closed=True)},
    aliases=("trelu2",),
    same_as="siglu",
)
def ptelu(x, alpha=1.0, beta=1.0):
    """Identity on the right, a scaled and sharpened tanh on the left."""
    return where(x > 0, x, alpha * tanh(beta * x))


@define(
    cite="godfrey2019evaluation",
    params={"beta": Param(low=-1.0, high=1.0, closed=True, share="neuron")},
    same_as="identity",
)
def blu(x, beta=0.0):
    """Bendable linear unit, x plus beta (sqrt(x^2 + 1) - 1): invertible while |beta| < 1."""
    return x + beta * (hypot1(x) - 1)


@define(
    cite="kunc2024three",
    params={"b": Param(share="channel", note="only at 0 is it continuous"), "a": Param(share="channel")},
)
def ptalu(x, b=0.0, a=-2.0):
    """Parametric tangent linear unit: tanh between a and b, flat below, the identity above; jumps unless b = 0."""
    return where(x >= b, x, where(x > a, tanh(x), tanh(a)))


@define(
    cite="shen2022enhancement",
    params={k: Param(share="neuron") for k in ("a", "b", "c")},
    same_as="tanh",
)
def tanhlu(x, a=1.0, b=1.0, c=0.0):
    """tanh and a line with learned scales, so that the slope need not vanish; starting values of public code."""
    return a * tanh(b * x) + c * x


@define(cite="kunc2024three", params={"a": Param(low=0.0, share="channel")}, aliases=("telu_ada",))
def tanh_elu_gate(x, a=1.0):
    """The input gated by the tanh of ELU(a x): called TeLU like the unrelated x tanh(exp(x))."""
    return x * tanh(where(x > 0, a * x, expm1(a * x)))


@define(cite="kunc2024three", params={"b": Param(low=0.0, share="channel")}, same_as="siglu")
def trelu(x, b=1.0):
    """Identity on the right, a tanh of learned sharpness on the left."""
    return where(x > 0, x, tanh(b * x))


@define(
    cite="wang2019reltanh",
    params={
        "a": Param(high=-1.5, closed=True, note="left threshold, at most -1.5"),
        "b": Param(low=0.0, high=0.5, closed=True, note="right threshold, from 0 to 0.5"),
    },
)
def reltanh(x, a=-1.5, b=0.0):
    """tanh between two learned thresholds, continued by its tangents there: no slope vanishes."""
    left = sech2(a) * (x - a) + tanh(a)
    return where(x > b, sech2(b) * (x - b) + tanh(b), where(x > a, tanh(x), left))


@define(cite="rajanand2023erfrelu", params={"a": Param(share="channel")})
def erfrelu(x, a=0.01):
    """Identity on the right, a scaled error function on the left; a kink at zero."""
    return where(x > 0, x, a * erf(x))


@define(
    cite="duan2021first",
    params={"alpha": Param(low=0.0, share="neuron"), "beta": Param(low=0.0, share="neuron")},
    same_as="sign_relu",
)
def pfplus(x, alpha=1.0, beta=1.0):
    """First power linear unit with sign: a line on the right, a hyperbola on the left, both of slope alpha at 0."""
    return where(x > 0, alpha * x, alpha / beta * softsign(beta * x))


@define(
    cite="kunc2024three",
    params={"a": Param(share="layer"), "b": Param(share="layer"), "k": Param(low=0.0, note="width of the blends")},
    aliases=("kdac_fixed",),
)
def kdac(x, a=0.1, b=0.1, k=0.01):
    """Knowledge discovery activation: a line blended with tanh by parabolic minima and maxima; jumps at 0."""
    # the author's h a + (1 - h) b -+ k h (1 - h) with h clipped to [0, 1] is the minimum or maximum and a parabola
    low = minimum(b * x, tanh(x)) - relu(k - abs(b * x - tanh(x))) ** 2 / (4 * k)
    return where(x > 0, a * x + k / 4, maximum(a * x, low) + relu(k - abs(a * x - low)) ** 2 / (4 * k))
