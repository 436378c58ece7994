"""Learned families around softplus, smoothed maxima and the exponential of the input."""

from __future__ import annotations

import math

from ogive.activation import Param, define
from ogive.ops import Phi, e, exp, expm1, hypot1, isru, log, log1p, phi, pi, sigmoid, softplus, sqp, sqrt, tanh, where

LOG2 = math.log(2)

# Softplus


@define(
    cite=("dugas2001incorporating", "kunc2024three"),
    aliases=("mgplus_softplus", "parametric_softplus"),
    params={"a": Param(), "b": Param(note="log 2 puts the curve through zero")},
)
def psoftplus(x, a=1.5, b=LOG2):
    """Scaled softplus lowered by b; 1.5 and log 2 keep the mean near zero. A library rounds b to 0.693."""
    # log(1 + e^x) - log 2 as one logarithm, so that nothing cancels at zero where b is log 2
    centred = where(x > 0, x + log1p(expm1(-x) / 2), log1p(expm1(x) / 2))
    return a * (centred - (b - LOG2))


@define(
    cite="kunc2024three",
    params={"a": Param(low=1.0, note="1 plus a softplus"), "b": Param(low=0.0, note="a softplus")},
    same_as="softplus",
)
def grelu_log(x, a=e, b=1.0):
    """Generalised rectifier, log to base a of 1 + a^(b x), over b; only b log(a) matters."""
    return softplus(b * log(a) * x) / (b * log(a))


@define(
    cite="yuen2021universal",
    params={
        "A": Param(note="30 in the released code"),
        "B": Param(note="1.2e-6 in the released code"),
        "C": Param(note="1e-7 in the released code"),
        "D": Param(note="29 in the released code"),
        "E": Param(note="1e-6 in the released code"),
    },
)
def uaf(x, A=30.0, B=0.0, C=0.0, D=29.0, E=0.0):
    """Universal activation, a difference of two softplus with five parameters; it starts near the rectifier."""
    u = A * (x + B) + C * x**2
    v = D * (x - B)
    # log((1 + e^u)/(1 + e^v)) as one logarithm where the two are close
    near = log1p(sigmoid(v) * expm1(u - v))
    return where(abs(u - v) < 1 / 32, near, softplus(u) - softplus(v)) + E


@define(cite="kunc2024three", aliases=("maf_multiquadratic",), params={"a": Param(), "b": Param(low=0.0)})
def maf(x, a=0.0, b=1.0):
    """Multiquadratic activation, the root of (x - a)^2 + b^2, with learned centre and width."""
    return b * hypot1((x - a) / b)


# Smoothed maxima


@define(
    cite="biswas2021smu",
    aliases=("smu1_fixed",),
    params={
        "alpha": Param(note="0.25, not learned"),
        "mu": Param(low=0.0, decay=False, note="the source starts at 4.35e-9, nearly a leaky rectifier"),
    },
)
def smu1(x, alpha=0.25, mu=0.1):
    """Smooth maximum of x and alpha x through a square root, SMU's companion."""
    # ((1 + alpha) x + sqrt(w^2 + mu^2))/2 with w = (1 - alpha) x, and sqp(u) = u + sqrt(1 + u^2)
    return alpha * x + mu / 2 * sqp((1 - alpha) / mu * x)


@define(
    cite="biswas2021sau",
    aliases=("sau_fixed",),
    params={
        "alpha": Param(note="left slope"),
        "beta": Param(low=0.0, decay=False, note="inverse width of the Gaussian; large values give PReLU"),
    },
)
def sau(x, alpha=0.25, beta=20.0):
    """PReLU smoothed by a Gaussian of width 1/beta. One library drops the factor 1/beta of the second term."""
    return alpha * x + (1 - alpha) * (x * Phi(beta * x) + phi(beta * x) / beta)


# Exponential, inverse square root and softplus


@define(
    cite="biswas2020eis",
    params={
        "alpha": Param(low=0.0, high=1.0, closed=True),
        "beta": Param(low=0.0),
        "gamma": Param(low=0.0),
        "delta": Param(low=0.0),
        "theta": Param(low=0.0),
    },
)
def eis(x, alpha=1.0, beta=1.0, gamma=1.0, delta=1.0, theta=1.0):
    """The five-parameter family of which EIS-1 to EIS-3 are cases; the source tunes all five, here all are 1."""
    # x softplus(x)^alpha/(sqrt(beta + gamma x^2) + delta exp(-theta x)); with s the root, the right side is divided
    # through by s and the left side multiplied by exp(theta x)
    u = sqrt(gamma / beta) * x
    s = sqrt(beta) * hypot1(u)
    right = isru(u) / sqrt(gamma) * softplus(x) ** alpha / (1 + delta * exp(-theta * x) / s)
    left = x * exp(theta * x) * softplus(x) ** alpha / (delta + s * exp(theta * x))
    return where(x > 0, right, left)


@define(cite="biswas2020eis", params={"delta": Param(low=0.0), "theta": Param(low=0.0)}, same_as="silu")
def eis3(x, delta=1.0, theta=1.0):
    """x/(1 + delta exp(-theta x)): swish with its gate moved by log(delta)/theta."""
    return x * sigmoid(theta * x - log(delta))


@define(
    cite="biswas2020tanhsoft",
    params={
        "a": Param(high=1.0, closed=True),
        "b": Param(low=0.0, closed=True),
        "c": Param(low=0.0),
        "d": Param(low=1e-30, high=1.0, closed=True, note="in the source also 0, which is TanhSoft-2"),
    },
    same_as="tanhsoft1",
)
def tanhsoft(x, a=0.87, b=0.0, c=1.0, d=1.0):
    """The four-parameter family tanh(a x + b e^(c x)) log(d + e^x); the defaults are TanhSoft-1."""
    # log(d + e^x) = log d + log(1 + e^x/d)
    return tanh(a * x + b * exp(c * x)) * (log(d) + softplus(x - log(d)))


@define(cite="biswas2020tanhsoft", aliases=("tanhsoft3_fixed",), params={"a": Param(low=0.0)})
def tanhsoft3(x, a=0.85):
    """log(1 + e^x tanh(a x)): softplus with a tanh inside, zero at zero."""
    return where(x > 1, x + log(exp(-x) + tanh(a * x)), log1p(exp(x) * tanh(a * x)))


# Polynomials for encrypted inference


@define(
    cite="peng2022polympcnet",
    aliases=("stpai_poly2", "polympcnet_x2act"),
    params={
        "w1": Param(share="channel", note="starts at 0, with a smaller learning rate"),
        "w2": Param(share="channel"),
        "b": Param(share="channel"),
        "c": Param(note="fixed, about one over the root of the number of features"),
    },
    same_as="identity",
)
def x2act(x, w1=0.0, w2=1.0, b=0.0, c=1.0):
    """A trainable parabola that starts as the identity, for inference shared between two parties."""
    return (c * w1 * x + w2) * x + b


@define(
    cite="peng2023autorep",
    aliases=("dapa_poly",),
    params={"c2": Param(share="channel"), "c1": Param(share="channel"), "c0": Param(share="channel")},
)
def dapa(x, c2=(8 * pi) ** -0.5, c1=0.5, c0=(8 * pi) ** -0.5):
    """The parabola closest to the rectifier on normal input; the source refits it to the running mean and variance."""
    # Projection of max(x, 0) on 1, x, x^2 - 1 under N(0, 1): phi(0), 1/2, phi(0)/2, hence phi(0)/2 twice
    return (c2 * x + c1) * x + c0


@define(
    cite="kunc2024three",
    params={"a": Param(low=0.0, share="channel", note="both thresholds go to infinity as it goes to 0"),
            "b": Param(share="channel")},
)  # fmt: skip
def aqulu(x, a=0.25, b=0.5):
    """Adaptive quadratic linear unit: zero, then the parabola a x^2 + b x, then the identity."""
    return where(x >= (1 - b) / a, x, where(x >= -b / a, x * (a * x + b), 0.0))
