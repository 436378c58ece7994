"""What the kernel of an infinitely wide network becomes with depth, and which classifier it makes.

On inputs of one length the map of correlations c -> kappa(c) has kappa(1) = 1. Its values a = kappa(0), r = kappa'(0)
and b = kappa'(1) decide where iterates go. With a > 0 all pairs of different inputs end at one correlation: every
training point counts alike. With a = 0 correlations die out, as r^depth, and a diagonal that does not makes the kernel
matrix the identity: the prediction is the sum of labels weighted by K(x, x_i) over its own size. From a correlation
near 1 it takes log(1/(1 - c))/log b layers to get away, each of which gains 1/r over a pair far apart, so the weight
grows as

    (1 - c)^(log r/log b) ~ |x - x_i|^-order,      order = -2 log r/log b,

which is -4 log|E f'| / log E f'^2 for an f scaled to E f^2 = 1. (The tangent kernel T has the same limit once the depth
is beyond 1/(1 - c), where T is depth times K; before that nearer points weigh more still.) With r = 0 correlations fall
faster than exponentially and the nearest point outweighs all others.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from ogive.derive.meanfield import mean_field
from ogive.derive.moments import hermite, moment
from ogive.derive.wide.maps import Maps
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.lookup import scalar

# A correlation below this is one that quadrature cannot tell from 0 (E f is good to 1e-14, and a is its square).
ZERO = 1e-24
_LINEAR = 1e-12


@dataclass(frozen=True)
class DeepLimit:
    """The classifier of the infinitely deep and wide network.

    ``regime`` is "majority vote" (the class with most training points, whatever the input), "1-nn" (the label of the
    nearest training point), "singular kernel" (labels weighted by distance^-``order``), or "linear" (f is a line,
    depth changes nothing). ``at_zero``, ``slope_at_zero`` and ``slope_at_one`` are kappa(0), kappa'(0) and kappa'(1) of
    the map of correlations at pre-activation variance ``q``; ``depth_scale`` is the number of layers over which a small
    correlation falls by e where kappa(0) = 0.
    """

    activation: str
    regime: str
    order: float | None
    q: float
    at_zero: float
    slope_at_zero: float
    slope_at_one: float
    depth_scale: float | None

    def __repr__(self) -> str:
        order = "" if self.order is None else f" of order {self.order:.6g}"
        kappa = f"kappa(0) {self.at_zero:.4g}, kappa'(0) {self.slope_at_zero:.4g}, kappa'(1) {self.slope_at_one:.4g}"
        return f"DeepLimit({self.activation}: {self.regime}{order}; {kappa})"

    def consistent_in(self, dimension: int, tol: float = 1e-6) -> bool:
        """Whether the classifier is optimal for every distribution on a sphere of that dimension: a singular kernel
        of order equal to the dimension (the Hilbert kernel of Devroye, Györfi and Krzyżak 1998)."""
        return self.order is not None and abs(self.order - dimension) <= tol * dimension

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def deep_limit(
    spec: Any,
    sigma_w: float | None = None,
    sigma_b: float = 0.0,
    *,
    skip: float = 0.0,
    branch: float = 1.0,
    **params: float,
) -> DeepLimit:
    """The regime of the infinitely deep network: 1-nn, majority vote, or a singular kernel and its order.

    Args:
        spec: an activation of one input.
        sigma_w: weights have variance sigma_w^2/fan_in; left out, it is 1/sqrt(E f^2), which keeps the variance 1.
        sigma_b, skip, branch: as in :class:`~ogive.derive.wide.maps.Maps`; sigma_b needs a sigma_w.

    Raises:
        OgiveError: where lengths die out or explode, so that there is no limit; where a moment is infinite.
        InputError: for a gate of two inputs and for a declared surrogate derivative.

    With kappa(0) > 0 and kappa'(1) < 1 the whole kernel matrix tends to a constant: "majority vote" then is what any
    ridge, however small, leaves. Source: Radhakrishnan, Belkin and Uhler 2023.

    >>> deep_limit("relu").regime, deep_limit("x**2 - 1").regime
    ('majority vote', '1-nn')
    >>> deep_limit("(x**3 - 3*x)/sqrt(12) + x/sqrt(2)")  # r = 1/2, b = 2: order 2
    DeepLimit((x**3 - 3*x)/sqrt(12) + x/sqrt(2): singular kernel of order 2; kappa(0) 0, kappa'(0) 0.5, kappa'(1) 2)
    """
    act, _ = scalar(spec, "the deep limit", params)
    bound = act.with_params(**params) if params else act
    if act.backward is not None:
        raise InputError(
            f"the deep limit of {act.label}: it has a declared surrogate derivative; ask about its formula"
        )
    if sigma_w is None:
        if sigma_b != 0.0 or skip != 0.0 or branch != 1.0:
            raise ParameterError("deep_limit: sigma_b, skip and branch need a sigma_w")
        size = moment(bound, 2).value
        if size <= 0.0:
            raise OgiveError("deep_limit: the function is 0 everywhere")
        maps, q = Maps(spec, size**-0.5, **params), 1.0
    else:
        maps = Maps(spec, sigma_w, sigma_b, skip=skip, branch=branch, **params)
        q = mean_field(spec, sigma_w, sigma_b, skip=skip, branch=branch, **params).q
        if not 0.0 < q < math.inf:
            fate = "die out" if q == 0.0 else "explode"
            raise OgiveError(f"the deep limit of {maps.act.label}: with these sigmas signals {fate}; "
                             "leave sigma_w out to keep the variance 1")  # fmt: skip
    # Of sum a_k^2 c^k the first two terms; the slope at 1 of a function that jumps is infinite.
    (constant, line), _ = hermite(bound, 1, std=math.sqrt(q))
    own = (maps.branch * maps.sigma_w) ** 2 / q
    at_zero = float(own * constant * constant) + (maps.branch * maps.sigma_b) ** 2 / q
    r = maps.skip**2 + float(own * line * line)
    b = math.inf if maps.bundle.jumps else maps.chi(q)
    order = scale = None
    if at_zero > ZERO:
        regime = "majority vote"
    elif abs(r - 1.0) < _LINEAR:
        regime = "linear"
    elif r <= ZERO:
        regime = "1-nn"
    else:
        regime, order, scale = "singular kernel", -2.0 * math.log(r) / math.log(b), -1.0 / math.log(r)
    return DeepLimit(maps.act.label, regime, order, q, at_zero if at_zero > ZERO else 0.0, r, b, scale)
