"""Gates of two inputs, each usually half of one linear map.

The first argument is the first factor of the source's formula. Dauphin et al. gate by the second half,
Shazeer by the first; libraries disagree, so the notes say which argument is squashed.
"""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import Phi, clip, minimum, relu, sigmoid, tanh


@define(cite="dauphin2017language")
def glu(x, y):
    """Gated linear unit: x times the logistic function of y, as in torch. Shazeer squashes the first half."""
    return x * sigmoid(y)


@define(cite="oord2016conditional")
def gtu(x, y):
    """Gated tanh unit of PixelCNN and WaveNet: tanh of x times the logistic function of y."""
    return tanh(x) * sigmoid(y)


@define(cite=("mnih2007three", "shazeer2020glu"), aliases=("simple_gate",))
def bilinear(x, y):
    """The product of the two halves, with no squashing; NAFNet's SimpleGate."""
    return x * y


@define(cite="shazeer2020glu")
def reglu(x, y):
    """Rectifier of x times y."""
    return relu(x) * y


@define(cite="shazeer2020glu")
def geglu(x, y):
    """GELU of x times y. Diffusion libraries apply the GELU to the second half instead."""
    return x * Phi(x) * y


@define(cite="shazeer2020glu")
def swiglu(x, y):
    """SiLU of x times y: the feed-forward gate of LLaMA, x the gate and y the up projection."""
    return x * sigmoid(x) * y


@define(cite="song2024turbo")
def drelu(x, y):
    """Product of two rectifiers: about 90 percent zeros in language models."""
    return relu(x) * relu(y)


@define(
    cite="openai2025gptoss",
    params={"alpha": Param(low=0.0), "limit": Param(low=0.0)},
)
def swiglu_oai(x, y, alpha=1.702, limit=7.0):
    """gpt-oss: quick GELU of x capped at limit, times 1 plus y clipped to +-limit; x and y interleave."""
    gate = minimum(x, limit)
    return gate * sigmoid(alpha * gate) * (clip(y, -limit, limit) + 1)
