"""Polynomials: what encrypted and multi-party inference can compute, and oscillating units of low degree."""

from __future__ import annotations

from ogive.activation import define


@define(cite="giladbachrach2016cryptonets", aliases=("quadratic",))
def square(x):
    """x^2, the activation of encrypted inference; magnitudes double their exponent at every layer."""
    return x**2


@define(cite="kunc2024three", aliases=("cubic",))
def cube(x):
    """x^3."""
    return x**3


@define(cite="noel2021biologically")
def ncu(x):
    """x - x^3, the non-monotonic cubic unit: a single neuron can learn XOR."""
    return x - x**3


@define(cite="noel2021biologically")
def squ(x):
    """x^2 + x, the shifted quadratic unit."""
    return x * (x + 1)


@define(cite="li2022mpcformer", aliases=("mpcformer_quad",))
def quad_gelu(x):
    """0.125 x^2 + 0.25 x + 0.5, MPCFormer's replacement for GELU under secure computation."""
    return (0.125 * x + 0.25) * x + 0.5
