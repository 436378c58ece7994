"""Self-gated and sigmoid-like units meant to be learned."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import Phi, atan, cos, erf, exp, log, log1p, pi, sigmoid, sin, softplus, sqp, sqrt, tanh, where

# Gated


@define(
    cite="ma2021acon",
    params={
        "p1": Param(share="channel", note="right slope; the released code draws it from N(0, 1)"),
        "p2": Param(share="channel", note="left slope; the released code draws it from N(0, 1)"),
        "beta": Param(share="channel"),
    },
    same_as="silu",
)
def acon_c(x, p1=1.0, p2=0.0, beta=1.0):
    """A smooth maximum of p1 x and p2 x; beta decides between linear and rectified."""
    return (p1 - p2) * x * sigmoid(beta * (p1 - p2) * x) + p2 * x


@define(cite="ma2021acon", params={"p": Param(share="channel"), "beta": Param(share="channel")})
def acon_b(x, p=0.25, beta=1.0):
    """A smooth maximum of x and p x: a smoothed PReLU."""
    return (1 - p) * x * sigmoid(beta * (1 - p) * x) + p * x


@define(
    cite="lee2022stochastic",
    params={
        "alpha": Param(note="slope of the gate"),
        "t": Param(note="mean + z * deviation of the layer's input"),
    },
    same_as="silu",
)
def ash(x, alpha=1.0, t=0.0):
    """Core of adaptive Swish: a gate at a threshold t that the layer computes from its input's statistics."""
    return x * sigmoid(alpha * (x - t))


@define(
    cite="alexandridis2024adaptive",
    params={
        "lam": Param(low=0.0, decay=False, note="the source draws it from U(0, 1) and keeps it above 1e-4"),
        "kappa": Param(decay=False),
    },
    same_as="sigmoid",
    exceptions={"second": "zero at x = 0, where two terms of size 1/8 cancel"},
)
def apa(x, lam=1.0, kappa=1.0):
    """(lam exp(-kappa x) + 1)^(-1/lam): the logistic function at lam = 1, the Gumbel one as lam goes to 0."""
    return exp(-softplus(log(lam) - kappa * x) / lam)


@define(
    cite="alexandridis2024adaptive",
    params={
        "lam": Param(low=0.0, decay=False, note="from U(0, 1); the released gradient for it lacks a term"),
        "kappa": Param(decay=False, note="from U(0.8, 1.2)"),
    },
    same_as="silu",
)
def aglu(x, lam=1.0, kappa=1.0):
    """x gated by APA: SiLU at lam = 1, GoLU as lam goes to 0."""
    return x * exp(-softplus(log(lam) - kappa * x) / lam)


@define(cite="huang2024expanded", params={"alpha": Param(decay=False)}, same_as="gelu", aliases=("xgelu_fixed",))
def xgelu(x, alpha=0.0):
    """GELU with its gate stretched from (0, 1) to (-alpha, 1 + alpha)."""
    return x * (Phi(x) * (1 + 2 * alpha) - alpha)


@define(cite="huang2024expanded", params={"alpha": Param(decay=False)}, same_as="silu", aliases=("xsilu_fixed",))
def xsilu(x, alpha=0.0):
    """SiLU with its gate stretched from (0, 1) to (-alpha, 1 + alpha)."""
    return x * (sigmoid(x) * (1 + 2 * alpha) - alpha)


@define(
    cite="huang2024expanded",
    params={"alpha": Param(decay=False)},
    same_as="atlu",
    exceptions={
        "first": "the slope decays like 1/x^3 far left, the difference of two terms like 1/x",
        "second": "the curvature decays like 1/x^4, a sum of terms like 1/x and 1/x^2",
    },
    aliases=("xatlu_fixed",),
)
def xatlu(x, alpha=0.0):
    """ATLU with its gate stretched from (0, 1) to (-alpha, 1 + alpha), learned per block from 0."""
    return x * (2 / pi * atan(sqp(x)) * (1 + 2 * alpha) - alpha)


@define(cite="kunc2024three", params={"alpha": Param(low=-1.0), "beta": Param()}, same_as="logish", aliases=("lau",))
def logmoid(x, alpha=1.0, beta=1.0):
    """x log(1 + alpha sigmoid(beta x)): Logish with two learned parameters."""
    return x * log1p(alpha * sigmoid(beta * x))


@define(cite="seo2024swisht", params={"beta": Param(), "alpha": Param(note="0.1, not learned in the source")})
def swish_t(x, beta=1.0, alpha=0.1):
    """Swish plus alpha tanh(x), which keeps some slope for negative inputs."""
    return x * sigmoid(beta * x) + alpha * tanh(x)


@define(cite="paul2022sinlu", params={"a": Param(), "b": Param()}, aliases=("sinlu_fixed",))
def sinlu(x, a=1.0, b=1.0):
    """(x + a sin(b x)) sigmoid(x): SiLU with a learned ripple."""
    return (x + a * sin(b * x)) * sigmoid(x)


@define(
    cite="pishchik2023trainable",
    params={"a": Param(), "b": Param()},
    exceptions={"second": "zero at x = 0, where two terms of size 1/2 cancel"},
)
def coslu(x, a=1.0, b=1.0):
    """(x + a cos(b x)) sigmoid(x); a/2 at zero."""
    return (x + a * cos(b * x)) * sigmoid(x)


@define(
    cite="zhou2020soft",
    params={"alpha": Param(low=0.0), "beta": Param(low=0.0, note="no pole while beta/alpha < e")},
)
def soft_root_sign(x, alpha=2.0, beta=3.0):
    """x/(x/alpha + exp(-x/beta)): bounded, rising to alpha, with a shallow dip on the left."""
    # right: the fraction divided through by x/alpha; left: both sides times exp(x/beta); each slope is then a
    # sum of terms that do not cancel
    right = alpha / (1 + alpha * exp(-x / beta) / x)
    left = x * exp(x / beta) / (1 + x * exp(x / beta) / alpha)
    return where(x > 1, right, where(x > -1, x / (x / alpha + exp(-x / beta)), left))


# Through erf, tanh and smooth maxima


@define(cite="biswas2021erfact", params={"alpha": Param(), "beta": Param()}, aliases=("erfact_fixed",))
def erfact(x, alpha=0.75, beta=0.75):
    """x erf(alpha exp(beta x)), with the source's starting values."""
    return x * erf(alpha * exp(beta * x))


@define(cite="biswas2021erfact", params={"gamma": Param(), "delta": Param()}, aliases=("pserf_fixed",))
def pserf(x, gamma=1.25, delta=0.85):
    """x erf(gamma softplus(delta x)): Serf with two learned parameters."""
    return x * erf(gamma * softplus(delta * x))


@define(cite="biswas2020tanhsoft", params={"alpha": Param()}, aliases=("tanhsoft1_fixed",))
def tanhsoft1(x, alpha=0.87):
    """tanh(alpha x) softplus(x)."""
    return tanh(alpha * x) * softplus(x)


@define(
    cite="biswas2020tanhsoft", params={"beta": Param(low=0.0), "gamma": Param(low=0.0)}, aliases=("tanhsoft2_fixed",)
)
def tanhsoft2(x, beta=0.6, gamma=1.0):
    """x tanh(beta exp(gamma x)): TanhExp with two learned parameters."""
    return x * tanh(beta * exp(gamma * x))


@define(
    cite="biswas2021smu",
    params={"alpha": Param(note="0.25, not learned"), "mu": Param(low=0.0, decay=False)},
    aliases=("smu_fixed",),
)
def smu(x, alpha=0.25, mu=25.0):
    """Smooth maximum of x and alpha x through erf. The source starts mu at 1e6, nearly a leaky rectifier."""
    # ((1 + alpha) x + (1 - alpha) x erf(v))/2 with (1 + erf(v))/2 = Phi(sqrt(2) v)
    return x * (alpha + (1 - alpha) * Phi(sqrt(2) * (mu * (1 - alpha) * x)))


# In place of normalisation


@define(
    cite="zhu2025transformers",
    params={
        "alpha": Param(note="per layer; larger before attention in language models"),
        "gamma": Param(share="channel", decay=False),
        "beta": Param(share="channel", decay=False),
    },
    same_as="bipolar_sigmoid",
)
def dyt(x, alpha=0.5, gamma=1.0, beta=0.0):
    """Dynamic tanh: gamma tanh(alpha x) + beta, put where a transformer has layer normalisation."""
    return gamma * tanh(alpha * x) + beta


@define(
    cite="chen2025derf",
    params={
        "alpha": Param(),
        "s": Param(),
        "gamma": Param(share="channel", decay=False),
        "beta": Param(share="channel", decay=False),
    },
)
def derf(x, alpha=0.5, s=0.0, gamma=1.0, beta=0.0):
    """Dynamic erf: gamma erf(alpha x + s) + beta, the successor of dynamic tanh."""
    return gamma * erf(alpha * x + s) + beta
