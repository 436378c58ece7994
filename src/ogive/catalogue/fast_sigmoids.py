"""Quotients, parabolas and exponent tricks that libraries run in place of exp, tanh and the logistic function."""

from __future__ import annotations

from ogive.activation import define
from ogive.ops import clip, floor, log, minimum, pow, where


@define(cite="guennebaud2010eigen", aliases=("eigen_tanh",))
def tanh_eigen(x):
    """Rational minimax tanh of degree 13 over 6, clipped to [-9, 9]: Eigen's, and TensorFlow's and ONNX Runtime's."""
    t = clip(x, -9, 9)
    u = t**2
    top = 5.12229709037114e-08 + u * (-8.60467152213735e-11 + u * (2.00018790482477e-13 - 2.76076847742355e-16 * u))
    top = 4.89352455891786e-03 + u * (6.37261928875436e-04 + u * (1.48572235717979e-05 + u * top))
    below = 2.26843463243900e-03 + u * (1.18534705686654e-04 + 1.19825839466702e-06 * u)
    return t * top / (4.89352518554385e-03 + u * below)


@define(cite="guennebaud2010eigen", aliases=("mlas_logistic",))
def sigmoid_eigen(x):
    """Rational minimax logistic function of degree 9 over 10, clipped to [-18, 18], as in ONNX Runtime."""
    t = clip(x, -18, 18)
    u = t**2
    top = 8.51377133304701e-03 + u * (6.08574864600143e-05 + u * (1.15627324459942e-07 + 4.37031012579801e-11 * u))
    below = 1.70198817374094e-03 + u * (6.29106785017040e-06 + u * (5.76102136993427e-09 + 6.10247389755681e-13 * u))
    below = 9.93151921023180e-01 + u * (1.16817656904453e-01 + u * below)
    return t * (2.48287947061529e-01 + u * top) / below + 0.5


@define(cite="anguita1993speed", aliases=("anguita_tanh", "ultrafast_tanh"))
def tanh_anguita(x):
    """Two parabolas for tanh that end flat at 0.96 and -0.96, made to train networks on workstations."""
    # expanded about zero, where the published squares cancel to 1e-6
    rest, slope = 0.96016 - 0.26037 * 1.92033**2, 2 * 0.26037 * 1.92033
    left = -rest + x * (slope + 0.26037 * x)
    right = rest + x * (slope - 0.26037 * x)
    return where(x > 1.92033, 0.96016, where(x > 0, right, where(x > -1.92033, left, -0.96016)))


@define(cite="schraudolph1999fast", aliases=("schraudolph_exp",))
def exp_schraudolph(x):
    """2^n (1 + fraction), the exponential by writing into the exponent of a float; held outside [-700, 700]."""
    t = clip(x, -700, 700) / log(2.0) - 60801 / 2**20
    return pow(2.0, floor(t)) * (1 + t - floor(t))


@define(cite="schraudolph1999fast", aliases=("schraudolph_sigmoid",))
def sigmoid_schraudolph(x):
    """The logistic function with the exponential written into the exponent of a float."""
    t = clip(-x, -700, 700) / log(2.0) - 60801 / 2**20
    return 1 / (1 + pow(2.0, floor(t)) * (1 + t - floor(t)))


@define(cite="kim2021ibert", aliases=("integer_exp",))
def i_exp(x):
    """A parabola on (-log 2, 0] shifted by powers of two: the exponential of integer-only BERT, held right of 0."""
    n = floor(-minimum(x, 0.0) / log(2.0))
    p = minimum(x, 0.0) + n * log(2.0)
    return (0.3585 * (p + 1.353) ** 2 + 0.344) * pow(2.0, -n)
