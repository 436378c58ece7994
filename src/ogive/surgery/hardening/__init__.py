"""Bounds on activations: against bit flips in weights and activations, and for inputs of another distribution."""

from ogive.surgery.hardening.bounds import Bounded
from ogive.surgery.hardening.campaign import Resilience, resilience
from ogive.surgery.hardening.detection import auroc, energy, fpr_at_tpr
from ogive.surgery.hardening.faults import Faults, flip_bits
from ogive.surgery.hardening.harden import harden
from ogive.surgery.hardening.rectify import vra

__all__ = [
    "Bounded",
    "Faults",
    "Resilience",
    "auroc",
    "energy",
    "flip_bits",
    "fpr_at_tpr",
    "harden",
    "resilience",
    "vra",
]
