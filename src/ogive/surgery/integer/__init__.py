"""Integers in the place of floating point: tables, integer-only forms, and weights made fit for rounding."""

from ogive.surgery.integer.correction import bias_correction
from ogive.surgery.integer.equalise import equalise
from ogive.surgery.integer.forms import IntegerGate, integer_only, sqnr
from ogive.surgery.integer.grid import Grid, chosen, grid
from ogive.surgery.integer.onnx_nodes import to_onnx
from ogive.surgery.integer.polynomial import polynomial_exp, polynomial_gate, polynomial_softmax
from ogive.surgery.integer.rounding import rounded, rounded_weights
from ogive.surgery.integer.shift import shift_exp, shift_gate, shift_softmax
from ogive.surgery.integer.table import TableAct
from ogive.surgery.integer.tabulate import tabulate

__all__ = [
    "Grid",
    "IntegerGate",
    "TableAct",
    "bias_correction",
    "chosen",
    "equalise",
    "grid",
    "integer_only",
    "polynomial_exp",
    "polynomial_gate",
    "polynomial_softmax",
    "rounded",
    "rounded_weights",
    "shift_exp",
    "shift_gate",
    "shift_softmax",
    "sqnr",
    "tabulate",
    "to_onnx",
]
