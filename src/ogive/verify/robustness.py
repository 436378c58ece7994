"""``verify``: does the model keep its answer on every input within eps of each example?"""

from __future__ import annotations

import math
import textwrap
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ogive.derive.lines.rounding import up
from ogive.errors import InputError
from ogive.surgery.modes import evaluating
from ogive.verify.attack import attack, margins, within_reach
from ogive.verify.bounding import Bounds
from ogive.verify.branch import branched
from ogive.verify.network import Box, Network
from ogive.verify.optimise import optimised
from ogive.verify.region import Ball, Cuboid
from ogive.verify.tracer import trace

METHODS = ("ibp", "crown-ibp", "crown", "alpha", "branch")
VERIFIED, FALSIFIED, UNKNOWN = "verified", "falsified", "unknown"


@dataclass(frozen=True, eq=False)
class Robustness:
    """What :func:`verify` found: one verdict, one bound of the margin and perhaps one witness for each example.

    ``margins`` are proved lower bounds of the score of the label less the best other score over the whole region, in
    real arithmetic; of a falsified example it is the margin that the model itself computes at ``witnesses[i]``.
    """

    verdicts: tuple[str, ...]
    margins: tuple[float, ...]
    witnesses: dict[int, Tensor]
    labels: tuple[int, ...]
    eps: float
    norm: float
    method: str
    seconds: float
    network: Network = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def verified(self) -> float:
        """The share of examples that are proved robust."""
        return self.verdicts.count(VERIFIED) / max(len(self.verdicts), 1)

    def __repr__(self) -> str:
        norm = "inf" if self.norm == math.inf else f"{self.norm:g}"
        counts = ", ".join(f"{self.verdicts.count(v)} {v}" for v in (VERIFIED, FALSIFIED, UNKNOWN))
        lines = [
            f"{self.network.model}, eps {self.eps:g} in the {norm}-norm, by {self.method} in {self.seconds:.2f} s",
            f"{len(self.verdicts)} examples: {counts}",
        ]
        return "\n".join([*lines, *(textwrap.fill(f"note: {n}", 80, subsequent_indent="  ") for n in self.notes)])

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON: witnesses as lists."""
        return {
            "verdicts": list(self.verdicts),
            "margins": [m if math.isfinite(m) else None for m in self.margins],
            "witnesses": {str(i): w.tolist() for i, w in self.witnesses.items()},
            "labels": list(self.labels), "eps": self.eps, "norm": "inf" if self.norm == math.inf else self.norm,
            "method": self.method, "seconds": self.seconds, "verified": self.verified, "notes": list(self.notes),
        }  # fmt: skip


def verify(
    model: nn.Module, x: Tensor, eps: float, *, norm: float = math.inf, labels: Tensor | None = None,
    method: str = "alpha", within: tuple[float, float] | None = None, steps: int = 20, budget: float = 60.0,
    attacks: bool = True, batch: int = 64, dtype: torch.dtype = torch.float64, seed: int = 0,
) -> Robustness:  # fmt: skip
    """Whether ``model`` keeps its answer on all z with ``|z - x| <= eps``, for each example of ``x``.

    A verdict is *verified* (proved: the label's score is the greatest on the whole region), *falsified* (a witness was
    found, inside the region, that the model itself gets wrong) or *unknown*. Cheap bounds are tried first and costlier
    ones on what is left, up to ``method``: "ibp" (intervals), "crown-ibp" (intervals inside, linear bounds for the
    output), "crown" (linear bounds throughout), "alpha" (with optimised lines), "branch" (and branch and bound).

    Args:
        model: any module that returns scores ``[examples, classes]``; it is traced in evaluation mode, any activation
            that Ogive can read as a formula is followed.
        x: examples, first dimension counts them.
        eps: radius, in the units of x, at least 0.
        norm: 1 or more; ``math.inf`` by default.
        labels: whole numbers, one for each example; the model's own answers by default.
        within: range of the data, (0, 1) for pixels: the region is cut to it.
        steps: of the optimisation of "alpha".
        budget: seconds for branch and bound on one example.
        attacks: whether to look for witnesses by projected gradient descent.
        batch: examples at a time.
        dtype: of the bounds. They hold in real arithmetic for either; float64 loses less to the safety margin.
        seed: of the attacks.

    Raises:
        InputError: for a model that cannot be traced, a negative eps, weights or examples that are not finite, an
            unknown method; the message names the operation.

    Rounding: every bound holds for the network as a function of real numbers with the weights as they are stored.
    What floating point may lose is added up and taken off (``ogive.verify.rounding``); it presumes matrix products
    that multiply and add (no TF32) and what ``ogive.derive.bounds`` states of the activations.

    >>> import ogive
    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(2, 16), ogive.Act("x*sigmoid(1.3*x)"), nn.Linear(16, 3))
    >>> verify(net, torch.tensor([[0.5, -1.0], [2.0, 1.0]]), 0.05).verdicts
    ('verified', 'verified')
    """
    began = time.perf_counter()
    _check(model, x, eps, norm, method, dtype)
    network = trace(model, x[:1])
    known = _labels(model, x, labels)
    found: list[Any] = []
    for first in range(0, len(x), batch):
        part = slice(first, first + batch)
        task = _Task(model, network, x[part], known[part], eps, norm, within, dtype, seed)
        found.append(task.run(METHODS.index(method), steps, budget, attacks))
    verdicts = tuple(v for task in found for v in task.verdicts)
    values = tuple(m for task in found for m in task.least.tolist())
    witnesses: dict[int, Tensor] = {}
    for i, task in enumerate(found):
        witnesses |= {i * batch + k: w for k, w in task.witnesses.items()}
    return Robustness(verdicts, values, witnesses, tuple(known.tolist()), float(eps), float(norm), method,
                      time.perf_counter() - began, network, network.notes)  # fmt: skip


def _check(model: Any, x: Any, eps: Any, norm: float, method: str, dtype: torch.dtype) -> None:
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() < 2 or not len(x):
        got = tuple(x.shape) if isinstance(x, Tensor) else type(x).__name__
        raise InputError(f"verify: x is {got}; it takes a floating tensor of examples, the first dimension counts them")
    if not isinstance(eps, (int, float)) or not 0.0 <= eps < math.inf:
        raise InputError(f"verify: eps={eps!r}; a radius is a finite number, at least 0")
    if not norm >= 1.0:
        raise InputError(f"verify: norm={norm!r}; norms have p of at least 1, or math.inf")
    if method not in METHODS:
        raise InputError(f"verify: method={method!r}; there are {', '.join(METHODS)}")
    if dtype not in (torch.float32, torch.float64):
        raise InputError(f"verify: dtype={dtype}; bounds are computed in float32 or float64")
    if not bool(torch.isfinite(x).all()):
        raise InputError("verify: x holds numbers that are not finite")
    for name, weight in model.state_dict().items() if isinstance(model, nn.Module) else ():
        if weight.is_floating_point() and not bool(torch.isfinite(weight).all()):
            raise InputError(f"verify: the weight {name} holds numbers that are not finite (NaN or infinity); nothing "
                             "can be proved of this model")  # fmt: skip


def _labels(model: nn.Module, x: Tensor, labels: Tensor | None) -> Tensor:
    with evaluating(model), torch.no_grad():
        scores = model(x)
    if not isinstance(scores, Tensor) or scores.dim() != 2 or scores.shape[1] < 2:
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise InputError(f"verify: the model returns {got}; it takes scores [examples, classes], two classes or more")
    if labels is None:
        return scores.argmax(1)
    known = torch.as_tensor(labels)
    if (
        known.is_floating_point()
        or known.shape != (len(x),)
        or not bool(((known >= 0) & (known < scores.shape[1])).all())
    ):
        raise InputError(f"verify: labels {str(labels)[:60]} do not fit: {len(x)} whole numbers from 0 to "
                         f"{scores.shape[1] - 1}")  # fmt: skip
    return known.long()


class _Task:
    """One batch on its way through the methods."""

    def __init__(
        self, model: nn.Module, network: Network, x: Tensor, labels: Tensor, eps: float, norm: float,
        within: tuple[float, float] | None, dtype: torch.dtype, seed: int,
    ) -> None:  # fmt: skip
        self.model, self.network, self.x, self.labels = model, network, x, labels
        self.eps, self.norm, self.within, self.seed = eps, norm, within, seed
        self.region = around(network, x, eps, norm, within, dtype)
        self.rows = margin_rows(network, labels, dtype)
        self.verdicts = [UNKNOWN] * len(x)
        self.least = torch.full((len(x),), -math.inf, dtype=torch.float64)
        self.witnesses: dict[int, Tensor] = {}

    def run(self, level: int, steps: int, budget: float, attacks: bool) -> _Task:
        if level == 0:
            self._take(lambda r, rows: Bounds(self.network, r, False).lower(rows, stop=True))
        else:
            self._take(lambda r, rows: Bounds(self.network, r, level > 1).lower(rows))
        if attacks:
            self._attack()
        if level > 2:
            self._take(lambda r, rows: optimised(self.network, r, rows, steps)[0])
        if level > 3:
            for i in self._open().tolist():
                one = torch.tensor([i])
                bound, point = branched(self.network, self.region.select(one), self.rows[:, one], budget, steps)
                self.least[i] = max(float(self.least[i]), bound)
                if self.least[i] > 0.0:
                    self.verdicts[i] = VERIFIED
                elif attacks and point is not None:
                    self._witness(i, point.reshape(self.x[i].shape))
        return self

    def _open(self) -> Tensor:
        return torch.tensor([i for i, v in enumerate(self.verdicts) if v == UNKNOWN], dtype=torch.long)

    def _take(self, bound: Callable[[Any, Tensor], Tensor]) -> None:
        """New bounds for what is open."""
        index = self._open()
        if not len(index):
            return
        with torch.no_grad():
            found = bound(self.region.select(index), self.rows[:, index]).amin(0).double()
        self.least[index] = torch.maximum(self.least[index], found)
        for i in index.tolist():
            if self.least[i] > 0.0:
                self.verdicts[i] = VERIFIED

    def _attack(self) -> None:
        index = self._open()
        if not len(index):
            return
        box = within_reach(self.x[index], self.eps, self.within)
        size = torch.full((len(index),), self.eps, dtype=self.x.dtype)
        with evaluating(self.model):
            found = attack(self.model, self.x[index], self.labels[index], box, size, self.norm, seed=self.seed)
        for i, point in zip(index.tolist(), found):
            self._witness(i, point)

    def _witness(self, i: int, point: Tensor) -> None:
        """Keep ``point`` as a witness if it is one: in the region, and wrong by the model itself."""
        d = (point.double() - self.x[i].double()).flatten()
        box = self.region.box()
        z = point.double().reshape(box.lo[i].shape)
        near = float(torch.linalg.vector_norm(d, self.norm)) <= self.eps
        if not near or bool((z < box.lo[i]).any() | (z > box.hi[i]).any()):
            return
        with evaluating(self.model), torch.no_grad():
            margin = float(margins(self.model, point.unsqueeze(0).to(self.x), self.labels[i : i + 1]))
        if margin <= 0.0:
            self.verdicts[i], self.witnesses[i] = FALSIFIED, point.to(self.x)
            self.least[i] = margin


def around(
    network: Network, x: Tensor, eps: float, norm: float, within: tuple[float, float] | None, dtype: torch.dtype
) -> Cuboid | Ball:
    """The region around each example, its box rounded outward and cut to the range of the data."""
    exact = x.detach().double().reshape(len(x), *network.steps[0].shape)
    far = torch.tensor(math.inf, dtype=torch.float64)
    lo, hi = exact, exact
    if eps > 0.0:  # in float64 one rounding each, whatever cancels; then outward into dtype
        lo, hi = torch.nextafter(exact - eps, -far), torch.nextafter(exact + eps, far)
    if within is not None:
        lo, hi = lo.clamp(*within), hi.clamp(*within)
    lo, hi = -up(-lo, dtype), up(hi, dtype)
    if norm == math.inf:
        return Cuboid(lo, hi)
    centre = exact.to(dtype)
    moved = torch.linalg.vector_norm((exact - centre.double()).flatten(1), norm, dim=1)  # 0 unless dtype is narrower
    radius = torch.where(moved > 0.0, (eps + moved) * (1.0 + 1e-12), torch.nextafter(torch.full_like(moved, eps), far))
    return Ball(centre, up(radius, dtype), norm, Box(lo, hi))


def margin_rows(network: Network, labels: Tensor, dtype: torch.dtype) -> Tensor:
    """``e_label - e_other`` for every other class: ``[classes - 1, examples, *shape of the output]``."""
    shape = network.steps[network.output].shape
    k = math.prod(shape)
    eye = torch.eye(k, dtype=dtype)
    others = torch.arange(k - 1).unsqueeze(1)
    others = others + (others >= labels.unsqueeze(0))
    return (eye[labels].unsqueeze(0) - eye[others]).reshape(k - 1, len(labels), *shape)
