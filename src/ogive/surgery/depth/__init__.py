"""Fewer layers: activations brought to the identity, and the linear maps around them merged."""

from ogive.surgery.depth.affine import Affine, affine_of, merged
from ogive.surgery.depth.compress import compress_depth
from ogive.surgery.depth.idle import channel_idle, fold_idle
from ogive.surgery.depth.idle_layers import Idle
from ogive.surgery.depth.leaning import Leaning, Schedule, linearise
from ogive.surgery.depth.merge import merge
from ogive.surgery.depth.plan import Option, Plan, choose, fastest

__all__ = [
    "Affine",
    "Idle",
    "Leaning",
    "Option",
    "Plan",
    "Schedule",
    "affine_of",
    "channel_idle",
    "choose",
    "compress_depth",
    "fastest",
    "fold_idle",
    "linearise",
    "merge",
    "merged",
]
