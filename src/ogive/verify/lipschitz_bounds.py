"""``lipschitz``: how far a network can stretch a distance between two inputs, from above, in the Euclidean norm."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.verify.chain import Affine, Chain, chain
from ogive.verify.rounding import gamma

METHODS = ("product", "sdp", "regions")
_ROUNDS = 20


@dataclass(frozen=True, eq=False)
class Lipschitz:
    """``|f(x) - f(y)| <= value |x - y|`` in the 2-norm, for all x and y, or for those in the box of "regions".

    ``reached`` is the largest norm of a Jacobian that was met at a point: the constant lies between the two.
    ``multipliers`` are those of the semidefinite programme, one tensor for each activation.
    """

    value: float
    reached: float
    method: str
    model: str
    multipliers: tuple[Tensor, ...] = ()
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Lipschitz({self.model}, {self.method}: at most {self.value:.6g}, reached {self.reached:.6g})"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return {"value": self.value, "reached": self.reached, "method": self.method, "model": self.model,
                "multipliers": [m.tolist() for m in self.multipliers], "notes": list(self.notes)}  # fmt: skip


def lipschitz(
    model: nn.Module, example: Tensor, method: str = "product", *, lo: Tensor | None = None, hi: Tensor | None = None,
    tolerance: float = 1e-6, boxes: int = 20000, samples: int = 256, seed: int = 0,
) -> Lipschitz:  # fmt: skip
    """An upper bound of the Lipschitz constant of a chain of layers, from the 2-norm to the 2-norm.

    * "product": ``prod |W_k|_2 prod L_k``, L the certified slope of each activation, 1 for layers that sort or reflect.
    * "sdp": LipSDP, the best bound that follows from the quadratic constraints of the activations; never above the
      product. Needs CVXPY.
    * "regions": the largest Jacobian on the box from ``lo`` to ``hi``, which is cut until every activation keeps to one
      linear piece, or all choices on its boundary have been tried: exact to ``tolerance`` for piecewise-linear
      networks of a few inputs.

    Args:
        model: linear layers and convolutions, functions of single elements, GroupSort, MaxMin and Householder, one
            after another.
        example: one input with its batch dimension.
        lo, hi: corners of the box of "regions", shaped like one example.
        tolerance: relative, where "regions" stops. boxes: it also stops after that many.
        samples, seed: of the normal random points at which Jacobians are taken for ``reached``.

    Raises:
        InputError: for a model that is no chain, an unknown method, a box that is missing.
        OgiveError: for a slope that is not bounded, for "sdp" without CVXPY.

    Source of the semidefinite programme: Fazlyab et al. 2019, "Efficient and accurate estimation of Lipschitz
    constants for deep neural networks"; for sorting layers Pauli et al. 2024, "Novel quadratic constraints for
    extending LipSDP beyond slope-restricted activations".

    >>> net = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Tanh())
    >>> _ = nn.init.eye_(net[0].weight)
    >>> round(lipschitz(net, torch.zeros(1, 2)).value, 5)
    1.0
    """
    if method not in METHODS:
        raise InputError(f"lipschitz: method={method!r}; there are {', '.join(METHODS)}")
    _finite(model)
    if method == "regions":
        from ogive.verify.regions import largest_jacobian

        if lo is None or hi is None:
            raise InputError("lipschitz: method='regions' searches a box: lo and hi are its corners")
        value, reached = largest_jacobian(model, example, lo, hi, tolerance, boxes)
        return Lipschitz(value, reached, method, type(model).__name__)
    found = chain(model, example)
    reached = sampled(model, example, samples, seed)
    if method == "product":
        return Lipschitz(product(found), reached, method, type(model).__name__)
    from ogive.verify.semidefinite import lipsdp

    value, multipliers = lipsdp(found)
    return Lipschitz(value, reached, method, type(model).__name__, multipliers)


def product(found: Chain) -> float:
    """The product of the norms of all layers, rounded up."""
    total = 1.0
    for factor in (*(norm_bound(a) for a in found.affine), *(b.lipschitz for b in found.bends)):
        total *= factor * (1.0 + 2.0**-51)
    return total


def norm_bound(affine: Affine) -> float:
    """At least ``|W|_2``, by Gram iteration: the Frobenius norm of ``(W^T W)^(2^(k-1))`` to the power ``2^-k``.

    Above the norm by at most ``rank^(2^-21)``, about 1e-6. Every product may err by gamma(n) times the square of the
    Frobenius norm, which is at most sqrt(n) times the norm of the result; roots halve that in each round, so that
    2 gamma(n) sqrt(n) covers all rounds. Source: Delattre et al. 2023, "Efficient bound of Lipschitz constant for
    convolutional layers by Gram iteration".

    >>> w = torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))
    >>> 3.0 <= norm_bound(Affine(w, w[0], 0 * w)) < 3.00001
    True
    """
    return float(norm_bounds(affine.matrix.unsqueeze(0), affine.doubt.unsqueeze(0)))


def norm_bounds(matrices: Tensor, doubt: Tensor) -> Tensor:
    """The same for matrices ``[count, rows, columns]`` and what each entry may be off by."""
    w = matrices if matrices.shape[-2] >= matrices.shape[-1] else matrices.mT
    rest = torch.linalg.matrix_norm(doubt) * (1.0 + 1e-9)
    first = w.abs().amax((-2, -1)).clamp(min=1e-200)
    w = w / first.reshape(-1, 1, 1)
    gram, log = w.mT @ w, torch.zeros_like(first)
    for _ in range(_ROUNDS):
        size = torch.linalg.matrix_norm(gram).clamp(min=1e-200)
        log = 2.0 * (log + size.log())
        gram = gram / size.reshape(-1, 1, 1)
        gram = gram @ gram
    log = log + torch.linalg.matrix_norm(gram).clamp(min=1e-200).log()
    n = float(max(w.shape[-2:]))
    margin = 1.0 + 4.0 * gamma(n + 16.0, torch.float64) * math.sqrt(n) + 2.0**-45
    return first * (log * 2.0 ** -(_ROUNDS + 1)).exp() * margin + rest


def sampled(model: nn.Module, example: Tensor, samples: int, seed: int) -> float:
    """The largest norm of the Jacobian at normal random points: a lower bound, but for rounding."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, *example.shape[1:], generator=generator, dtype=torch.float64)
    twin = copy.deepcopy(model).double().eval()
    x = x.requires_grad_()
    with torch.enable_grad():
        y = twin(x).flatten(1)
        rows = [torch.autograd.grad(y[:, j].sum(), x, retain_graph=True, allow_unused=True)[0] for j in
                range(y.shape[1])]  # fmt: skip
    jacobian = torch.stack([torch.zeros_like(x) if r is None else r for r in rows], 1).flatten(2)
    return float(torch.linalg.matrix_norm(jacobian.detach(), 2).max())


def _finite(model: Any) -> None:
    for name, weight in model.state_dict().items() if isinstance(model, nn.Module) else ():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise InputError(f"lipschitz: the weight {name} holds numbers that are not finite (NaN or infinity)")
