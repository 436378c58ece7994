"""Odd polynomials that push [-1, 1] towards its ends: encrypted comparison, and rectifiers made of it."""

from __future__ import annotations

from ogive.activation import define

# f_n is flat to order n at -1 and 1; g_n rises as fast as possible at zero. Composed, g first, they tend to sign.


@define(cite="cheon2020efficient", aliases=("newton_schulz_sign",))
def sign_f1(x):
    """(3x - x^3)/2, flat at -1 and 1: one step towards the sign in encrypted comparison."""
    return x * (3 - x**2) / 2


@define(cite="cheon2020efficient")
def sign_g1(x):
    """Cubic with slope 2.08 at zero that keeps [-1, 1]: the fast first steps of encrypted comparison."""
    return x * (2126 - 1359 * x**2) / 1024


@define(cite="cheon2020efficient")
def sign_g2(x):
    """Quintic with slope 3.26 at zero that keeps [-1, 1]: a fast first step of encrypted comparison."""
    u = x**2
    return x * (3334 + u * (3796 * u - 6108)) / 1024


@define(cite="cheon2020efficient")
def sign_g3(x):
    """Odd polynomial of degree 7 with slope 4.48 at zero: a fast first step of encrypted comparison."""
    u = x**2
    return x * (4589 + u * (-16577 + u * (25614 - 12860 * u))) / 1024
