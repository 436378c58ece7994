"""Polynomials that stand in for sigmoid, tanh, softplus and ReLU where only sums and products can be computed."""

from __future__ import annotations

from ogive.activation import define
from ogive.ops import clip, log, pi, sqrt

# Coefficients are the published ones, written in Horner's form in x^2 where the polynomial is odd or even apart
# from a constant or a line. None is clipped where its source does not clip it.


@define(cite="bos2014private")
def sigmoid_taylor7(x):
    """Taylor polynomial of degree 7 for the logistic function, for predictions on encrypted medical data."""
    u = x**2
    return 0.5 + x * (1 / 4 + u * (-1 / 48 + u * (1 / 480 - 17 / 80640 * u)))


@define(cite="heflow")
def swish_taylor6(x):
    """Taylor polynomial of degree 6 for SiLU: x times the quintic of the logistic function, as in heflow."""
    u = x**2
    return x * (0.5 + x * (1 / 4 + u * (-1 / 48 + u / 480)))


@define(cite="heflow")
def exponential_taylor5(x):
    """Taylor polynomial of degree 5 for the exponential, as heflow computes it on encrypted numbers."""
    return 1 + x * (1 + x * (1 / 2 + x * (1 / 6 + x * (1 / 24 + x / 120))))


@define(cite=("zhang2012functional", "aono2016scalable"))
def softplus_taylor2(x):
    """Taylor parabola of softplus, the logistic loss of differentially private and of encrypted regression."""
    return log(2.0) + x * (1 / 2 + x / 8)


@define(cite="dahl2018private")
def sigmoid_cheb9(x):
    """Chebyshev interpolant of degree 9 for the logistic function on about [-10, 10], as in TF Encrypted."""
    u = x**2
    tail = -0.0082176259 + u * (0.0001825597 + u * (-0.0000018848 + 0.0000000072 * u))
    return 0.5 + x * (0.2159198015 + u * tail)


@define(cite="ryffel2018generic")
def sigmoid_interpolated5(x):
    """Quintic fitted to the logistic function on [-8, 8], as PySyft computes it on shared secrets."""
    u = x**2
    return 0.5 + x * (1.91204779e-01 + u * (-4.58667307e-03 + 4.20690803e-05 * u))


@define(cite="ishiyama2020highly")
def relu_lsq2_wide(x):
    """Least-squares parabola for ReLU on [-6, 6], for accurate encrypted image classification."""
    return 0.563059 + x * (0.5 + 0.078047 * x)


@define(cite="knott2021crypten")
def erf_taylor8(x):
    """Taylor polynomial of degree 17 for the error function, as CrypTen computes it on shared secrets."""
    u = x**2
    low = 1 / 216 + u * (-1 / 1320 + u * (1 / 9360 + u * (-1 / 75600 + u / 685440)))
    return (2 / sqrt(pi)) * x * (1 + u * (-1 / 3 + u * (1 / 10 + u * (-1 / 42 + u * low))))


@define(cite="ma2023secretflow")
def tanh_cheb17(x):
    """Chebyshev series of degree 17 for tanh, clipped to [-5, 5]: the tanh of SecretFlow's secure unit."""
    # the published sum of c_k T_(2k+1)(u), k = 0..8, multiplied out in v = 2 T_2(u), within [-2, 2]
    u = clip(x / 5, -1, 1)
    v = 4 * u**2 - 2
    top = 0.04781970481667189 - v * (0.019980947176525373 + v * (0.014664799548638025 - 0.0061230685785789475 * v))
    middle = 0.11741845874570611 - v * (0.12310910141474815 - v * (0.05097667278398682 + v * top))
    return u * (1.411813345078368 - v * (0.32570332207065406 - v * middle))
