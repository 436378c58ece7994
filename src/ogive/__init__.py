"""Ogive: activation functions as first-class objects.

One formula, written once; the function, the module, its derivatives, limits, gain, plot and citation are
derived from it. Names that pull in more than torch load when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# public name -> module that holds it
_WHERE = {
    "Activation": "ogive.activation",
    "Param": "ogive.activation",
    "define": "ogive.activation",
    "OgiveError": "ogive.errors",
    "FormulaError": "ogive.errors",
    "UnknownName": "ogive.errors",
    "ParameterError": "ogive.errors",
    "InputError": "ogive.errors",
    "get": "ogive.lookup",
    "names": "ogive.lookup",
    "Act": "ogive.layers.act",
    "learn": "ogive.layers.act",
    "saving": "ogive.kernels.saving",
    "large_outputs": "ogive.kernels.allocator",
    "GLU": "ogive.layers.gate",
    "SimpleGate": "ogive.layers.gate",
    "FFN": "ogive.layers.ffn",
    "SmoothSwiGLU": "ogive.layers.smooth_swiglu",
    "derivative": "ogive.derive.calculus",
    "limits": "ogive.derive.limits",
    "gain": "ogive.derive.gain",
    "calculate_gain": "ogive.derive.gain",
    "moment": "ogive.derive.moments",
    "moments": "ogive.derive.moments",
    "hermite": "ogive.derive.moments",
    "dual": "ogive.derive.dual",
    "mean_field": "ogive.derive.meanfield",
    "edge_of_chaos": "ogive.derive.critical",
    "critical_point": "ogive.derive.critical",
    "clipping_level": "ogive.derive.clipping",
    "tailor": "ogive.derive.tailor",
    "tailoring": "ogive.derive.tailor",
    "depth_gains": "ogive.derive.depth_gains",
    "finite_width": "ogive.derive.finite_width",
    "aspect_ratio": "ogive.derive.finite_width",
    "init_": "ogive.surgery.initialise",
    "lsuv_": "ogive.surgery.lsuv",
    "architecture": "ogive.surgery.architecture",
    "sites": "ogive.surgery.sites",
    "survey": "ogive.surgery.survey",
    "swap": "ogive.surgery.swap",
    "standardise_": "ogive.surgery.standardise",
    "ReZero": "ogive.layers.rezero",
    "fluctuations": "ogive.derive.fluctuations",
    "width_scaling": "ogive.derive.width_scaling",
    "kernel_flow": "ogive.derive.kernel_flow",
    "deep_features": "ogive.derive.random_features",
    "kernel_limit": "ogive.derive.kernel_limit",
    "GaussianProcess": "ogive.derive.gaussian_process",
    "deep_limit": "ogive.derive.deep_limit",
    "guessing_bias": "ogive.derive.guessing_bias",
    "signal": "ogive.probe.signal",
    "shape": "ogive.derive.shape",
    "pieces": "ogive.derive.pieces",
    "inverse": "ogive.derive.inverse",
    "branches": "ogive.derive.branches",
    "log_abs_slope": "ogive.derive.log_slope",
    "image": "ogive.derive.image",
    "bounds": "ogive.derive.bounds",
    "support_lines": "ogive.derive.bounds",
    "planes": "ogive.derive.gate_bounds",
    "branch_points": "ogive.derive.branching",
    "slope_interval": "ogive.derive.quadratic",
    "latex": "ogive.derive.latex",
    "plot": "ogive.derive.plot",
    "describe": "ogive.derive.describe",
    "find": "ogive.derive.find",
    "exact": "ogive.derive.exact",
    "emit": "ogive.derive.emit",
    "trace": "ogive.derive.trace",
    "smooth": "ogive.derive.smooth",
    "check": "ogive.certify.run",
    "check_ad": "ogive.certify.subderivative",
    "relations": "ogive.derive.relations",
}
_MODULES = ("catalogue", "cards", "ops", "bench", "layers", "derive", "adapters", "surgery", "probe", "verify")

__all__ = ["__version__", *_WHERE, *_MODULES]

if TYPE_CHECKING:
    from ogive import catalogue as catalogue
    from ogive import ops as ops
    from ogive.activation import Activation as Activation
    from ogive.activation import Param as Param
    from ogive.activation import define as define
    from ogive.certify.run import check as check
    from ogive.certify.subderivative import check_ad as check_ad
    from ogive.derive.bounds import bounds as bounds
    from ogive.derive.bounds import support_lines as support_lines
    from ogive.derive.branches import branches as branches
    from ogive.derive.branching import branch_points as branch_points
    from ogive.derive.calculus import derivative as derivative
    from ogive.derive.clipping import clipping_level as clipping_level
    from ogive.derive.critical import critical_point as critical_point
    from ogive.derive.critical import edge_of_chaos as edge_of_chaos
    from ogive.derive.deep_limit import deep_limit as deep_limit
    from ogive.derive.depth_gains import depth_gains as depth_gains
    from ogive.derive.describe import describe as describe
    from ogive.derive.dual import dual as dual
    from ogive.derive.emit import emit as emit
    from ogive.derive.exact import exact as exact
    from ogive.derive.find import find as find
    from ogive.derive.finite_width import aspect_ratio as aspect_ratio
    from ogive.derive.finite_width import finite_width as finite_width
    from ogive.derive.fluctuations import fluctuations as fluctuations
    from ogive.derive.gain import calculate_gain as calculate_gain
    from ogive.derive.gain import gain as gain
    from ogive.derive.gate_bounds import planes as planes
    from ogive.derive.gaussian_process import GaussianProcess as GaussianProcess
    from ogive.derive.guessing_bias import guessing_bias as guessing_bias
    from ogive.derive.image import image as image
    from ogive.derive.inverse import inverse as inverse
    from ogive.derive.kernel_flow import kernel_flow as kernel_flow
    from ogive.derive.kernel_limit import kernel_limit as kernel_limit
    from ogive.derive.latex import latex as latex
    from ogive.derive.limits import limits as limits
    from ogive.derive.log_slope import log_abs_slope as log_abs_slope
    from ogive.derive.meanfield import mean_field as mean_field
    from ogive.derive.moments import hermite as hermite
    from ogive.derive.moments import moment as moment
    from ogive.derive.moments import moments as moments
    from ogive.derive.pieces import pieces as pieces
    from ogive.derive.plot import plot as plot
    from ogive.derive.quadratic import slope_interval as slope_interval
    from ogive.derive.random_features import deep_features as deep_features
    from ogive.derive.relations import relations as relations
    from ogive.derive.shape import shape as shape
    from ogive.derive.smooth import smooth as smooth
    from ogive.derive.tailor import tailor as tailor
    from ogive.derive.tailor import tailoring as tailoring
    from ogive.derive.trace import trace as trace
    from ogive.derive.width_scaling import width_scaling as width_scaling
    from ogive.errors import FormulaError as FormulaError
    from ogive.errors import InputError as InputError
    from ogive.errors import OgiveError as OgiveError
    from ogive.errors import ParameterError as ParameterError
    from ogive.errors import UnknownName as UnknownName
    from ogive.kernels.allocator import large_outputs as large_outputs
    from ogive.kernels.saving import saving as saving
    from ogive.layers.act import Act as Act
    from ogive.layers.act import learn as learn
    from ogive.layers.ffn import FFN as FFN
    from ogive.layers.gate import GLU as GLU
    from ogive.layers.gate import SimpleGate as SimpleGate
    from ogive.layers.rezero import ReZero as ReZero
    from ogive.layers.smooth_swiglu import SmoothSwiGLU as SmoothSwiGLU
    from ogive.lookup import get as get
    from ogive.lookup import names as names
    from ogive.probe.signal import signal as signal
    from ogive.surgery.architecture import architecture as architecture
    from ogive.surgery.initialise import init_ as init_
    from ogive.surgery.lsuv import lsuv_ as lsuv_
    from ogive.surgery.sites import sites as sites
    from ogive.surgery.standardise import standardise_ as standardise_
    from ogive.surgery.survey import survey as survey
    from ogive.surgery.swap import swap as swap


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        value = getattr(importlib.import_module(_WHERE[name]), name)
    elif name in _MODULES:
        value = importlib.import_module(f"ogive.{name}")
    else:
        raise AttributeError(f"module 'ogive' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
