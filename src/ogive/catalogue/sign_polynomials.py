"""Odd polynomials that push [-1, 1] towards its ends: encrypted comparison, and rectifiers made of it."""

from __future__ import annotations

from ogive.activation import define

# f_n is flat to order n at -1 and 1; g_n rises as fast as possible at zero. Composed, g first, they tend to sign.


@define(cite="cheon2020efficient", aliases=("newton_schulz_sign",))
def sign_f1(x):
    """(3x - x^3)/2, flat at -1 and 1: one step towards the sign in encrypted comparison."""
    return x * (3 - x**2) / 2


@define(cite="cheon2020efficient")
def sign_f2(x):
    """Quintic that is flat to second order at -1 and 1: one step towards the sign."""
    u = x**2
    return x * (15 + u * (3 * u - 10)) / 8


@define(cite="cheon2020efficient")
def sign_f3(x):
    """Odd polynomial of degree 7 that is flat to third order at -1 and 1: one step towards the sign."""
    u = x**2
    return x * (35 + u * (-35 + u * (21 - 5 * u))) / 16


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


@define(cite="cheon2020efficient")
def sign_g4(x):
    """Odd polynomial of degree 9 with slope 5.71 at zero: a fast first step of encrypted comparison."""
    u = x**2
    return x * (5850 + u * (-34974 + u * (97015 + u * (46623 * u - 113492)))) / 1024


@define(cite="lee2021minimax", aliases=("sign_minimax_a7",))
def sign_minimax7(x):
    """Composite of two minimax polynomials of degree 7, within 2^-7 of the sign where 2^-7 <= |x| <= 1."""
    u = x**2
    y = x * (7.30445164958251 + u * (-34.6825871108659 + u * (59.8596518298826 - 31.8755225906466 * u)))
    v = y**2
    return y * (2.40085652217597 + v * (-2.63125454261783 + v * (1.54912674773593 - 0.331172956504304 * v)))


@define(cite="lee2021precise", aliases=("relu_minimax_a7",))
def relu_minimax7(x):
    """x (1 + p(x))/2 with p the composite minimax sign of precision 7: ReLU on [-1, 1] for encrypted networks."""
    u = x**2
    y = x * (7.30445164958251 + u * (-34.6825871108659 + u * (59.8596518298826 - 31.8755225906466 * u)))
    v = y**2
    step = y * (2.40085652217597 + v * (-2.63125454261783 + v * (1.54912674773593 - 0.331172956504304 * v)))
    return x * (1 + step) / 2
