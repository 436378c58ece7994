"""The exponential linear unit and its relatives: linear on the right, saturating on the left."""

from __future__ import annotations

from ogive.activation import Param, define
from ogive.ops import clip, exp, expm1, isru, sigmoid, softsign, sqrt, tanh, where


@define(cite="clevert2015fast", params={"alpha": Param(low=0.0)})
def elu(x, alpha=1.0):
    """Identity on the right, a saturating exponential on the left; only alpha = 1 is smooth at zero."""
    return where(x > 0, x, alpha * expm1(x))


@define(cite="barron2017continuously", params={"alpha": Param(low=0.0)}, same_as="elu", aliases=("celu_ada",))
def celu(x, alpha=1.0):
    """ELU with the exponential stretched as well, so that the slope at zero is 1 for every alpha."""
    return where(x > 0, x, alpha * expm1(x / alpha))


@define(cite="klambauer2017self")
def selu(x):
    """ELU scaled so that zero mean and unit variance are a fixed point; needs LeCun initialisation."""
    scale = 1.0507009873554804934193349852946
    alpha = 1.6732632423543772848170429916717
    return scale * where(x > 0, x, alpha * expm1(x))


@define(cite="zhang2018effectiveness")
def serlu(x):
    """Self-normalising like SELU, with a bump on the left that returns to zero."""
    return 1.07862 * where(x > 0, x, 2.90427 * (x * exp(x)))


@define(cite="carlile2017improving", params={"alpha": Param(low=0.0)})
def isrlu(x, alpha=1.0):
    """Identity on the right, an inverse square root unit on the left: an ELU without exponentials."""
    return where(x > 0, x, isru(sqrt(alpha) * x) / sqrt(alpha))


@define(cite="basirat2018quest")
def elish(x):
    """SiLU on the right, ELU times the logistic function on the left."""
    return where(x > 0, x, expm1(x)) * sigmoid(x)


@define(cite="basirat2018quest")
def hard_elish(x):
    """ELiSH with the gate clip((x + 1)/2, 0, 1). Three libraries print other, discontinuous left sides."""
    return where(x > 0, x, expm1(x)) * clip((x + 1) / 2, 0, 1)


@define(cite="ying2019rectified", aliases=("suish",))
def reu(x):
    """Identity on the right, x times its exponential on the left; slope 1 on both sides of zero."""
    return where(x > 0, x, x * exp(x))


@define(cite="katharopoulos2020transformers")
def elu_plus_one(x):
    """The positive feature map of linear attention: exponential on the left, x + 1 on the right."""
    return where(x > 0, x + 1, exp(x))


@define(cite="lin2018research", params={"a": Param(low=0.0)})
def sign_relu(x, a=1.0):
    """Identity on the right, softsign on the left; at a = 1 published again as PolyLU and as DLU."""
    return where(x > 0, x, a * softsign(x))


@define(cite="kunc2024three", aliases=("maxtanh",))
def siglu(x):
    """Identity on the right, tanh on the left; the larger of x and tanh(x)."""
    return where(x > 0, x, tanh(x))


@define(cite="chollet2015keras")
def exponential(x):
    """The plain exponential, for outputs that must be positive; overflows float32 above 88."""
    return exp(x)


# Variants of ELU and SELU


@define(
    cite="qiumei2019improved",
    aliases=(
        "felu_ada",
        "fast_elu",
    ),
    params={"alpha": Param(low=0.0)},
    same_as="elu",
)
def felu(x, alpha=1.0):
    """ELU meant to be evaluated as a power of two by bit operations; the function itself is ELU."""
    return where(x > 0, x, alpha * expm1(x))


@define(
    cite="kunc2024three",
    aliases=("leaky_selu",),
    params={"a": Param(low=0.0), "b": Param(low=0.0), "c": Param(low=0.0, closed=True, note="the leak")},
)
def lselu(x, a=1.0507009873554805, b=1.6732632423543772, c=0.1):
    """SELU plus a leak on the left, a c x, so that its slope does not vanish there."""
    return a * where(x > 0, x, b * expm1(x) + c * x)


@define(
    cite="kunc2024three",
    aliases=("scaled_scaled_elu",),
    params={"a": Param(low=0.0), "b": Param(low=0.0), "c": Param(low=0.0)},
    same_as="selu",
)
def sselu(x, a=1.0507009873554805, b=1.6732632423543772, c=1.0):
    """SELU with the exponential stretched by a further parameter c."""
    return a * where(x > 0, x, b * expm1(c * x))


@define(cite="kunc2024three", aliases=("tanh_linear_unit",))
def thlu(x):
    """Identity on the right, tanh(x/2) on the left; the slope halves at zero."""
    return where(x > 0, x, tanh(x / 2))


@define(cite="kunc2024three", aliases=("diffelu", "difference_elu"), params={"a": Param(), "b": Param(low=0.0)})
def diff_elu(x, a=0.3, b=0.1):
    """A difference of two exponential terms on the left, a (x e^x - b e^(b x)); it jumps by a b at zero."""
    return where(x > 0, x, a * (x * exp(x) - b * exp(b * x)))


@define(cite="kilicarslan2021rsigelu", aliases=("rsigelus",), params={"a": Param(low=0.0)})
def rsigelu(x, a=0.5):
    """ELU left, identity to 1, then x + a x sigmoid(x) with a jump; disputed: also read as sigmoid(x)^a."""
    return where(x > 1, x + a * (x * sigmoid(x)), where(x > 0, x, a * expm1(x)))


@define(
    cite="kilicarslan2021rsigelu",
    params={"a": Param(low=0.0, note="of the right side"), "b": Param(low=0.0, note="of the left side")},
    same_as="rsigelu",
)
def rsigelud(x, a=0.5, b=0.5):
    """RSigELU with a parameter for each side."""
    return where(x > 1, x + a * (x * sigmoid(x)), where(x > 0, x, b * expm1(x)))


@define(cite="kunc2024three", aliases=("hardsrelue",), params={"a": Param(low=0.0)})
def hard_srelue(x, a=0.5):
    """Scaled ELU on the left; on the right x plus a x times a hard logistic gate, slope 1 + a beyond 1."""
    return where(x > 0, x + a * x * clip((x + 1) / 2, 0, 1), a * expm1(x))
