"""What can be proved of a network: bounds of its outputs, and whether its answers hold near given inputs.

``verify`` decides robustness, ``bound`` gives intervals of all outputs; both take any model that torch runs, with any
activation that Ogive can read as a formula.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ogive.verify.certified_radius import Radii, radius
    from ogive.verify.far_rays import far_field
    from ogive.verify.line_regions import linear_regions
    from ogive.verify.lipschitz_bounds import Lipschitz, lipschitz
    from ogive.verify.outputs import OutputBounds, bound
    from ogive.verify.patterns import Patterns, mine, pattern_bounds, pattern_radius
    from ogive.verify.planted import SelfTest, selftest
    from ogive.verify.relaxation_gap import encode, precision
    from ogive.verify.robustness import Robustness, verify
    from ogive.verify.star_sets import star
    from ogive.verify.tracer import trace
    from ogive.verify.training import CertifiedFit, certified_fit
    from ogive.verify.tree import to_tree
    from ogive.verify.warmup import ibp_, interval_growth
    from ogive.verify.zonotopes import zonotope

__all__ = ["CertifiedFit", "Lipschitz", "OutputBounds", "Patterns", "Radii", "Robustness", "SelfTest", "bound",
           "certified_fit", "encode", "far_field", "ibp_", "interval_growth", "linear_regions", "lipschitz", "mine",
           "pattern_bounds", "pattern_radius", "precision", "radius", "selftest", "star", "to_tree", "trace", "verify",
           "zonotope"]  # fmt: skip

# A module may not have the name of a public function: once imported it would take its place here.
_HOMES = {
    "verify": "robustness", "Robustness": "robustness", "bound": "outputs", "OutputBounds": "outputs",
    "radius": "certified_radius", "Radii": "certified_radius", "trace": "tracer",
    "lipschitz": "lipschitz_bounds", "Lipschitz": "lipschitz_bounds", "selftest": "planted", "SelfTest": "planted",
    "certified_fit": "training", "CertifiedFit": "training", "ibp_": "warmup", "interval_growth": "warmup",
    "zonotope": "zonotopes", "star": "star_sets", "precision": "relaxation_gap", "encode": "relaxation_gap",
    "to_tree": "tree", "linear_regions": "line_regions", "far_field": "far_rays",
    "mine": "patterns", "Patterns": "patterns", "pattern_bounds": "patterns", "pattern_radius": "patterns",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ogive.verify' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ogive.verify.{_HOMES[name]}"), name)
