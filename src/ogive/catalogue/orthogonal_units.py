"""Low orders of orthogonal polynomials as units: of functional-link networks, and of tanh in polynomial KANs."""

from __future__ import annotations

from ogive.activation import define
from ogive.ops import tanh


@define(cite="patra2002nonlinear")
def chebyshev_t3(x):
    """Chebyshev polynomial of degree three, 4 x^3 - 3 x, an input expansion of functional-link networks."""
    return x * (4 * x**2 - 3)


@define(cite="patra2002nonlinear")
def chebyshev_t4(x):
    """Chebyshev polynomial of degree four, 8 x^4 - 8 x^2 + 1, for inputs scaled to [-1, 1]."""
    return 8 * x**2 * (x**2 - 1) + 1


@define(cite="patra2010nonlinear")
def legendre_p3(x):
    """Legendre polynomial of degree three, (5 x^3 - 3 x)/2, an input expansion of functional-link networks."""
    return x * (5 * x**2 - 3) / 2


@define(cite="ss2024chebyshev")
def chebykan_t2(x):
    """Chebyshev polynomial of degree two of tanh(x), an edge function of ChebyKAN: a dip from 1 to -1."""
    return 2 * tanh(x) ** 2 - 1


@define(cite="ss2024chebyshev")
def chebykan_t3(x):
    """Chebyshev polynomial of degree three of tanh(x): an odd curve from -1 to 1 with a full swing between."""
    return tanh(x) * (4 * tanh(x) ** 2 - 3)


@define(cite="orthogpolykans2024")
def legendre_kan_3(x):
    """Legendre polynomial of degree three of tanh(x), an edge function of polynomial KANs."""
    return tanh(x) * (5 * tanh(x) ** 2 - 3) / 2


@define(cite="orthogpolykans2024")
def bessel_kan_2(x):
    """Bessel polynomial of degree two of tanh(x), 3 t^2 + 3 t + 1: from 1 through a shallow dip to 7."""
    return 3 * tanh(x) * (tanh(x) + 1) + 1


@define(cite="orthogpolykans2024")
def fibonacci_kan_4(x):
    """Fourth Fibonacci polynomial t^3 + 2 t of t = tanh(x), squashed by a second tanh as in the code."""
    return tanh(tanh(x) * (tanh(x) ** 2 + 2))
