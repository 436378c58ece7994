"""nn.Modules whose essence is a nonlinearity."""

from ogive.layers.act import Act
from ogive.layers.decay import parameter_groups
from ogive.layers.ffn import FFN
from ogive.layers.gate import GLU, SimpleGate, gated
from ogive.layers.learn import Learn, learn
from ogive.layers.moments import MPGELU, MomentAct, MomentLinear, propagate
from ogive.layers.rezero import ReZero
from ogive.layers.smooth_swiglu import SmoothSwiGLU

__all__ = [
    "FFN",
    "GLU",
    "MPGELU",
    "Act",
    "Learn",
    "MomentAct",
    "MomentLinear",
    "ReZero",
    "SimpleGate",
    "SmoothSwiGLU",
    "gated",
    "learn",
    "parameter_groups",
    "propagate",
]
