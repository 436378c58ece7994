"""Tuning of the nonlinearity alone, and of pruned networks through it."""

from ogive.surgery.tuning.dead import DeadRate, dead_rate
from ogive.surgery.tuning.nora import nora
from ogive.surgery.tuning.rational import GroupRational, Rational, fitted_rational
from ogive.surgery.tuning.safs import Scaled, climb, safs
from ogive.surgery.tuning.wake import activate_while_prune

__all__ = [
    "DeadRate",
    "GroupRational",
    "Rational",
    "Scaled",
    "activate_while_prune",
    "climb",
    "dead_rate",
    "fitted_rational",
    "nora",
    "safs",
]
