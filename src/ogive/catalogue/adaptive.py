"""Activations meant to be learned, with what their sources share parameters over and how they treat them."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import (
    Phi,
    atan,
    clip,
    cos,
    erf,
    exp,
    expm1,
    hypot1,
    log,
    log1p,
    pi,
    relu,
    sigmoid,
    sin,
    softplus,
    sqp,
    sqrt,
    tanh,
    where,
)

# Piecewise linear


@define(
    cite="he2015delving",
    params={"a": Param(share="channel", decay=False, note="weight decay would pull it to the plain rectifier")},
)
def prelu(x, a=0.25):
    """Leaky rectifier whose left slope is learned. Two libraries divide by a instead of multiplying."""
    return where(x > 0, x, a * x)


@define(
    cite="jin2016srelu",
    params={
        "tr": Param(share="channel", decay=False, note="above tl; the source sets it from the data"),
        "ar": Param(share="channel", decay=False),
        "tl": Param(share="channel", decay=False),
        "al": Param(share="channel", decay=False),
    },
    same_as="relu",
)
def srelu(x, tr=1.0, ar=1.0, tl=0.0, al=0.0):
    """Three linear pieces: slope ar beyond tr, 1 between, al below tl."""
    return where(x >= tr, tr + ar * (x - tr), where(x > tl, x, tl + al * (x - tl)))


@define(
    cite="liu2020reactnet",
    params={
        "gamma": Param(share="channel", decay=False, note="shift before the corner"),
        "zeta": Param(share="channel", decay=False, note="shift after it"),
        "beta": Param(share="channel", decay=False, note="left slope"),
    },
    same_as="prelu",
)
def rprelu(x, gamma=0.0, zeta=0.0, beta=0.25):
    """PReLU with its corner moved to (gamma, zeta), after every binary convolution of ReActNet."""
    return where(x > gamma, x - gamma, beta * (x - gamma)) + zeta


@define(
    cite="chen2020arelu",
    params={"a": Param(note="clipped to [0.01, 0.99]"), "b": Param()},
)
def arelu(x, a=0.9, b=2.0):
    """Attention-based rectifier: left slope a, right slope 1 + sigmoid(b); one pair for a layer."""
    return where(x > 0, (1 + sigmoid(b)) * x, clip(a, 0.01, 0.99) * x)


@define(
    cite="yu2022metaformer",
    params={"s": Param(note="sqrt(4/5) for unit variance"), "b": Param(note="-sqrt(1/5) for zero mean")},
)
def star_relu(x, s=2 / 5**0.5, b=-1 / 5**0.5):
    """Squared rectifier with zero mean and unit variance on normal input; the paper rounds to four digits."""
    return s * relu(x) ** 2 + b


@define(cite="sun2024crrelu", params={"eps": Param()})
def crrelu(x, eps=0.01):
    """A rectifier plus a small odd Gaussian wiggle, derived from ReLU by an entropy argument."""
    return relu(x) + eps * (x * exp(-(x**2) / 2))


# Exponential


@define(
    cite="trottier2017parametric",
    params={
        "a": Param(low=0.0, decay=False, note="kept above 0.1 in the source"),
        "b": Param(low=0.0, decay=False, note="kept above 0.1 in the source"),
    },
    same_as="elu",
)
def pelu(x, a=1.0, b=1.0):
    """ELU with learned scale and width whose slope at zero, a/b, matches on both sides."""
    return where(x > 0, a / b * x, a * expm1(x / b))


@define(
    cite="li2018mpelu",
    params={"alpha": Param(share="channel"), "beta": Param(low=0.0, closed=True, share="channel")},
    same_as="elu",
)
def mpelu(x, alpha=1.0, beta=1.0):
    """ELU with learned scale and sharpness: between PReLU-like and ELU."""
    return where(x > 0, x, alpha * expm1(beta * x))


@define(
    cite="duggal2017ptelu",
    params={"alpha": Param(low=0.0, closed=True), "beta": Param(low=0.0, closed=True)},
    same_as="siglu",
)
def ptelu(x, alpha=1.0, beta=1.0):
    """Identity on the right, a scaled and sharpened tanh on the left."""
    return where(x > 0, x, alpha * tanh(beta * x))


@define(
    cite="huang2024deriving",
    params={
        "alpha_p": Param(low=0.0, decay=False, note="softplus of a raw parameter"),
        "alpha_n": Param(low=0.0, decay=False, note="beta plus the softplus of a raw parameter"),
        "beta": Param(note="fixed at 0.5 in the source"),
    },
)
def xielu(x, alpha_p=0.8, alpha_n=0.8, beta=0.5):
    """The integral of a trainable ELU-like slope: a parabola right, bending up left; used by Apertus."""
    return where(x > 0, x * (alpha_p * x + beta), alpha_n * expm1(x) + (beta - alpha_n) * x)


@define(
    cite="godfrey2019evaluation",
    params={"beta": Param(low=-1.0, high=1.0, closed=True, share="neuron")},
    same_as="identity",
)
def blu(x, beta=0.0):
    """Bendable linear unit, x plus beta (sqrt(x^2 + 1) - 1): invertible while |beta| < 1."""
    return x + beta * (hypot1(x) - 1)


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


@define(cite="huang2024expanded", params={"alpha": Param(decay=False)}, same_as="gelu")
def xgelu(x, alpha=0.0):
    """GELU with its gate stretched from (0, 1) to (-alpha, 1 + alpha)."""
    return x * (Phi(x) * (1 + 2 * alpha) - alpha)


@define(cite="huang2024expanded", params={"alpha": Param(decay=False)}, same_as="silu")
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
)
def xatlu(x, alpha=0.0):
    """ATLU with its gate stretched from (0, 1) to (-alpha, 1 + alpha), learned per block from 0."""
    return x * (2 / pi * atan(sqp(x)) * (1 + 2 * alpha) - alpha)


@define(cite="kunc2024three", params={"alpha": Param(low=-1.0), "beta": Param()}, same_as="logish")
def logmoid(x, alpha=1.0, beta=1.0):
    """x log(1 + alpha sigmoid(beta x)): Logish with two learned parameters."""
    return x * log1p(alpha * sigmoid(beta * x))


@define(cite="seo2024swisht", params={"beta": Param(), "alpha": Param(note="0.1, not learned in the source")})
def swish_t(x, beta=1.0, alpha=0.1):
    """Swish plus alpha tanh(x), which keeps some slope for negative inputs."""
    return x * sigmoid(beta * x) + alpha * tanh(x)


@define(cite="paul2022sinlu", params={"a": Param(), "b": Param()})
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


@define(cite="biswas2021erfact", params={"alpha": Param(), "beta": Param()})
def erfact(x, alpha=0.75, beta=0.75):
    """x erf(alpha exp(beta x)), with the source's starting values."""
    return x * erf(alpha * exp(beta * x))


@define(cite="biswas2021erfact", params={"gamma": Param(), "delta": Param()})
def pserf(x, gamma=1.25, delta=0.85):
    """x erf(gamma softplus(delta x)): Serf with two learned parameters."""
    return x * erf(gamma * softplus(delta * x))


@define(cite="biswas2020tanhsoft", params={"alpha": Param()})
def tanhsoft1(x, alpha=0.87):
    """tanh(alpha x) softplus(x)."""
    return tanh(alpha * x) * softplus(x)


@define(cite="biswas2020tanhsoft", params={"beta": Param(low=0.0), "gamma": Param(low=0.0)})
def tanhsoft2(x, beta=0.6, gamma=1.0):
    """x tanh(beta exp(gamma x)): TanhExp with two learned parameters."""
    return x * tanh(beta * exp(gamma * x))


@define(cite="biswas2021smu", params={"alpha": Param(note="0.25, not learned"), "mu": Param(low=0.0, decay=False)})
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
