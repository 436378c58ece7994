"""The identity and a function that stays close to it."""

from __future__ import annotations

from ogive.activation import define
from ogive.ops import hypot1


@define(cite="widrow1960adaptive", aliases=("linear",))
def identity(x):
    """No nonlinearity at all: the output layer of a regression, and the control in every comparison."""
    return x


@define(cite="kunc2024three")
def bent_identity(x):
    """A gently bent line with slope 1/2 far left and 3/2 far right; widely listed, its origin unknown."""
    return x + (hypot1(x) - 1) / 2
