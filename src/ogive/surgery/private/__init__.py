"""Networks for private inference: polynomials for activations, few activations, runs under encryption."""

from ogive.surgery.private.autorep import autorep
from ogive.surgery.private.circuit import circuit
from ogive.surgery.private.disparity import Group, Groups, GroupWeights, by_group
from ogive.surgery.private.encrypted import Agreement, Encrypted, Parameters, encrypt, parameters_for
from ogive.surgery.private.masks import Masked
from ogive.surgery.private.polynomialise import polynomialise
from ogive.surgery.private.polynomials import Polynomial, fit
from ogive.surgery.private.range import Escape, Escapes, PolynomialAct, RangeLoss, escapes, range_loss
from ogive.surgery.private.steps import Circuit, Step
from ogive.surgery.private.stochastic_relu import StochasticReLU

__all__ = [
    "Agreement",
    "Circuit",
    "Encrypted",
    "Escape",
    "Escapes",
    "Group",
    "GroupWeights",
    "Groups",
    "Masked",
    "Parameters",
    "Polynomial",
    "PolynomialAct",
    "RangeLoss",
    "Step",
    "StochasticReLU",
    "autorep",
    "by_group",
    "circuit",
    "encrypt",
    "escapes",
    "fit",
    "parameters_for",
    "polynomialise",
    "range_loss",
]
