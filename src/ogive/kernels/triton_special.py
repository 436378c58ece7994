"""Error functions, arctangents, algebraic curves and powers for generated Triton kernels; see triton_math.

Coefficients: Chebyshev interpolation with 60 digits on the interval named at each, relative error beside it.
"""

# ruff: noqa: ANN001, ANN201  (device code: what goes in are blocks of numbers)
# mypy: ignore-errors

from __future__ import annotations

import triton
import triton.language as tl

from ogive.kernels.triton_math import exp, least, log, log1p


@triton.jit
def erfc(x, exact: tl.constexpr):
    """The complementary error function, to relative accuracy in the right tail."""
    a = tl.abs(x)
    if x.dtype == tl.float64:
        z = least(a, 27.5)
        t = (z - 3.75) / (z + 3.75)
        # erfc(z) e^(z^2) (1 + 2z) in t, z on [0, 27.5], 1.5e-17
        p = tl.fma(t, -2.3753040476186743e-09, -7.727235767979867e-10)
        p = tl.fma(tl.fma(tl.fma(p, t, 3.285190504744905e-08), t, 1.5728734708960965e-08), t, -2.527781196400794e-07)
        p = tl.fma(tl.fma(tl.fma(p, t, -4.7881952579250564e-08), t, 1.7483772448749153e-06), t, -9.80313074712996e-07)
        p = tl.fma(tl.fma(p, t, -1.1443182344738672e-05), t, 2.2387299147117716e-05)
        p = tl.fma(tl.fma(p, t, 5.1648995064347805e-05), t, -0.00029015496872975417)
        p = tl.fma(tl.fma(tl.fma(p, t, 0.00029371364519794555), t, 0.001755626016319403), t, -0.009746579550129066)
        p = tl.fma(tl.fma(tl.fma(p, t, 0.02836227740070735), t, -0.05869339859060613), t, 0.09230432116150673)
        p = tl.fma(tl.fma(tl.fma(p, t, -0.10880393014169877), t, 0.08227673849011297), t, 0.003585415485463536)
        p = tl.fma(tl.fma(p, t, -0.1402405985855467), t, 1.2375126308378275)
    else:
        z = least(a, 10.6)
        t = (z - 2.0) / (z + 2.0)
        # the same with t = (z - 2)/(z + 2), z on [0, 10.6], 1.2e-8
        p = tl.fma(t, 2.8111297979745102e-05, -0.00035974495402329553)
        p = tl.fma(tl.fma(tl.fma(p, t, -0.0012497092013739942), t, 0.0012712561183907416), t, 0.008634910727734368)
        p = tl.fma(tl.fma(tl.fma(p, t, -0.008044954055394194), t, -0.054204260091381434), t, 0.1640533608406195)
        p = tl.fma(tl.fma(tl.fma(p, t, -0.16603142809769725), t, -0.09276390987221787), t, 1.2769783928501284)
    square = z * z
    lost = tl.fma(z, z, -square)
    r = p / (1.0 + 2.0 * z) * (exp(-square, exact) * (1.0 - lost))
    return tl.where(x < 0.0, 2.0 - r, r)


@triton.jit
def Phi(x, exact: tl.constexpr):
    """The normal distribution function."""
    return 0.5 * erfc(x * -0.7071067811865476, exact)


@triton.jit
def phi(x, exact: tl.constexpr):
    """The normal density."""
    return 0.3989422804014327 * exp(-0.5 * (x * x), exact)


@triton.jit
def tan(x):
    """sin/cos."""
    return tl.sin(x) / tl.cos(x)


@triton.jit
def atan(x):
    """The arctangent: of 1/x beyond 1."""
    a = tl.abs(x)
    t = tl.where(a > 1.0, 1.0 / a, a)
    z = t * t
    if x.dtype == tl.float64:
        # (atan(t)/t - 1)/t^2 in t^2 on [0, 1], 2.5e-18
        p = tl.fma(z, 7.767624330289919e-06, -9.371186345052626e-05)
        p = tl.fma(tl.fma(tl.fma(p, z, 0.0005376839297396244), z, -0.0019612554271685326), z, 0.005140912856746939)
        p = tl.fma(tl.fma(tl.fma(p, z, -0.010412153260359241), z, 0.01718398172211335), z, -0.024191345810140718)
        p = tl.fma(tl.fma(tl.fma(p, z, 0.030330719265790507), z, -0.035271331066871296), z, 0.03938687540798632)
        p = tl.fma(tl.fma(tl.fma(p, z, -0.043306538430670664), z, 0.04758080083637821), z, -0.052624922290256754)
        p = tl.fma(tl.fma(tl.fma(p, z, 0.05882264416776449), z, -0.06666657934573768), z, 0.07692307078827029)
        p = tl.fma(tl.fma(tl.fma(p, z, -0.0909090906193528), z, 0.11111111110268297), z, -0.14285714285701234)
        p = tl.fma(tl.fma(p, z, 0.1999999999999992), z, -0.3333333333333333)
    else:
        # the same, 7.6e-9
        p = tl.fma(z, 0.0014886919393047597, -0.009144629760592396)
        p = tl.fma(tl.fma(tl.fma(p, z, 0.026305001110062377), z, -0.04896051402709067), z, 0.07031914250029966)
        p = tl.fma(tl.fma(tl.fma(p, z, -0.08931826777381315), z, 0.11088261628735159), z, -0.1428400379473353)
        p = tl.fma(tl.fma(p, z, 0.19999949321141888), z, -0.3333333308107325)
    r = tl.fma(t * z, p, t)
    r = tl.where(a > 1.0, 1.5707963267948966 - r, r)
    return tl.where(x < 0.0, -r, r)


@triton.jit
def hypot1(x):
    """sqrt(1 + x^2), which is |x| to every digit beyond 1e9."""
    a = tl.abs(x)
    near = least(a, 1e9)
    return tl.where(a > 1e9, a, tl.sqrt(tl.fma(near, near, 1.0)))


@triton.jit
def asinh(x):
    """log(|x| + sqrt(1 + x^2)) with the sign of x."""
    a = tl.abs(x)
    near = least(a, 1e9)
    r = tl.where(a > 1e9, log(a) + 0.6931471805599453, log1p(near + near * (near / (1.0 + hypot1(near)))))
    return tl.where(x < 0.0, -r, r)


@triton.jit
def hypotm1(x):
    """sqrt(1 + x^2) - 1."""
    return x * (x / (hypot1(x) + 1.0))


@triton.jit
def isru(x):
    """x/sqrt(1 + x^2)."""
    return x / hypot1(x)


@triton.jit
def sqp(x):
    """x + sqrt(1 + x^2), where it adds magnitudes."""
    half = 0.5 * hypot1(x) + 0.5 * tl.abs(x)  # the sum itself may overflow where its inverse does not vanish
    return tl.where(x < 0.0, 0.5 / half, half + half)


@triton.jit
def sqp1(x):
    """1 + x/sqrt(1 + x^2)."""
    return sqp(x) / hypot1(x)


@triton.jit
def power(a, b):
    """a^b, in double precision: the exponential scales the error of the logarithm by its argument."""
    wide = b.to(tl.float64) * tl.log(tl.abs(a).to(tl.float64))
    r = tl.exp(tl.where(b == 0.0, tl.zeros_like(wide), wide)).to(a.dtype)
    whole = tl.floor(b) == b
    odd = whole & (tl.floor(0.5 * b) * 2.0 != b)
    r = tl.where(a < 0.0, tl.where(whole, tl.where(odd, -r, r), r + float("nan")), r)
    return r


@triton.jit
def xlogy(a, b):
    """a log(b), 0 where a is 0."""
    return tl.where(a == 0.0, tl.zeros_like(a * b), a * log(b))
