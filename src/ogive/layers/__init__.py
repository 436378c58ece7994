"""nn.Modules whose essence is a nonlinearity."""

from ogive.layers.act import Act
from ogive.layers.decay import parameter_groups
from ogive.layers.equilibrium import SubDEQ
from ogive.layers.ffn import FFN
from ogive.layers.gate import GLU, SimpleGate, gated
from ogive.layers.learn import Learn, learn
from ogive.layers.moments import MPGELU, MomentAct, MomentLinear, propagate
from ogive.layers.monotone import MonoDense
from ogive.layers.monotone_certificate import certify_monotone
from ogive.layers.residual_flow import ResidualBlock
from ogive.layers.rezero import ReZero
from ogive.layers.smooth_swiglu import SmoothSwiGLU
from ogive.layers.sort import GroupSort, Householder, MaxMin

__all__ = [
    "FFN",
    "GLU",
    "MPGELU",
    "Act",
    "GroupSort",
    "Householder",
    "Learn",
    "MaxMin",
    "MomentAct",
    "MomentLinear",
    "MonoDense",
    "ReZero",
    "ResidualBlock",
    "SimpleGate",
    "SmoothSwiGLU",
    "SubDEQ",
    "certify_monotone",
    "gated",
    "learn",
    "parameter_groups",
    "propagate",
]
