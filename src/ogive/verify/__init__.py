"""What can be proved of a network: bounds of its outputs, and whether its answers hold near given inputs.

``verify`` decides robustness, ``bound`` gives intervals of all outputs; both take any model that torch runs, with any
activation that Ogive can read as a formula.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ogive.verify.outputs import OutputBounds, bound
    from ogive.verify.radius import Radii, radius
    from ogive.verify.robustness import Robustness, verify
    from ogive.verify.tracer import trace

__all__ = ["OutputBounds", "Radii", "Robustness", "bound", "radius", "trace", "verify"]

_HOMES = {
    "verify": "robustness", "Robustness": "robustness", "bound": "outputs", "OutputBounds": "outputs",
    "radius": "radius", "Radii": "radius", "trace": "tracer",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ogive.verify' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"ogive.verify.{_HOMES[name]}"), name)
