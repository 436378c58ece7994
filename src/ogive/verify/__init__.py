"""What can be proved of a network: bounds of its outputs, and whether its answers hold near given inputs.

``verify`` decides robustness, ``bound`` gives intervals of all outputs; both take any model that torch runs, with any
activation that Ogive can read as a formula.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ogive.verify.certified_radius import Radii, radius
    from ogive.verify.lipschitz_bounds import Lipschitz, lipschitz
    from ogive.verify.outputs import OutputBounds, bound
    from ogive.verify.patterns import Patterns, mine, pattern_bounds, pattern_radius
    from ogive.verify.planted import SelfTest, selftest
    from ogive.verify.robustness import Robustness, verify
    from ogive.verify.tracer import trace

__all__ = ["Lipschitz", "OutputBounds", "Patterns", "Radii", "Robustness", "SelfTest", "bound", "lipschitz", "mine",
           "pattern_bounds", "pattern_radius", "radius", "selftest", "trace", "verify"]  # fmt: skip

# A module may not have the name of a public function: once imported it would take its place here.
_HOMES = {
    "verify": "robustness", "Robustness": "robustness", "bound": "outputs", "OutputBounds": "outputs",
    "radius": "certified_radius", "Radii": "certified_radius", "trace": "tracer",
    "lipschitz": "lipschitz_bounds", "Lipschitz": "lipschitz_bounds", "selftest": "planted", "SelfTest": "planted",
    "mine": "patterns", "Patterns": "patterns", "pattern_bounds": "patterns", "pattern_radius": "patterns",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ogive.verify' has no attribute {name!r}")
    return getattr(importlib.import_module(f"ogive.verify.{_HOMES[name]}"), name)
