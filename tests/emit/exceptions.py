"""What does not reach 4 units, by arithmetic: the entry, and why. Measured; docs/emit.md shows the same table.

Texts whose arithmetic is double have few; float32 arithmetic has those whose intermediate results leave its range or
whose argument of a sine is rounded to more than a period's fraction. Nobody's data is there, but it is said.
"""

from __future__ import annotations

_RANGE = "an intermediate result leaves the range of float32 at x = +-1e20"
_FAR = "float32 digits cancel at x beyond +-1e10, where the value is below 1e-10 of its terms"
_PERIOD = "at x = +-1e10 the product with pi is rounded by more than a period"
_SIXFOLD = "the rounding of tanh, near 1, is multiplied by the slope 6 of the polynomial"
_ASINH = "float64: the logistic function of asinh at x = +-1e20 scales the rounding of the logarithm"

# arithmetic in float32: C with dtype="float32", GLSL, JAX, Triton, ONNX with dtype="float32"
SINGLE: dict[str, str] = {
    "finer": _RANGE, "finer_pp_code": _RANGE, "spocu": _RANGE, "fpflu": _FAR, "pflu": _FAR, "mishra": _FAR,
    "shlu": _RANGE, "legendre_kan_3": _SIXFOLD,
    "gaussian_softplus": "6.6 units near x = -6: the argument of an exponential is rounded",
}  # fmt: skip
# the same for the first derivative
SINGLE_SLOPE: dict[str, str] = {
    "finer": _RANGE, "finer_pp_code": _RANGE, "spocu": _RANGE, "cubic_sigmoid": _RANGE, "sigmoid_lsq3": _RANGE,
    "thin_plate": _RANGE, "log_spline_rbf": _RANGE, "shlu": _RANGE, "xatlu": _FAR, "atlu": _FAR, "sigmoid_algebraic": _FAR, "ccaf": _PERIOD,
    "sinc_normalised": _PERIOD, "sine_pi": _PERIOD, "spike_squarewave_fourier": _PERIOD, "shannon_wavelet": _PERIOD,
    "tanh_pade": "the terms of the slope cancel near x = +-3, where it touches zero",
}  # fmt: skip
# arithmetic in float64 where the language's asinh is rounded another way than the reference's
DOUBLE: dict[str, str] = {"fpflu": _ASINH, "pflu": _ASINH, "algebraic_cdf": _ASINH, "rootsig": _ASINH}
