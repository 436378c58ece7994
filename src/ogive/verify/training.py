"""Certified training: the loss is that of the worst logits that bounds allow, so that what is learned can be proved.

Bounds are differentiable in the weights of a network traced with ``live``, for any activation with a formula. The
lower bounds m_j of the margins z_label - z_j give the logits -m_j (0 for the label), whose cross entropy is at least
that of every point of the region. Sources: Gowal et al. 2018, "On the effectiveness of interval bound propagation";
Zhang et al. 2020, "Towards stable and efficient training of verifiably robust neural networks" (CROWN-IBP); Shi et
al. 2021, "Fast certified robust training with short warmup", for the start and the regularisers.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.errors import InputError
from ogive.surgery.modes import evaluating, training
from ogive.verify.bounding import Bounds
from ogive.verify.network import Network
from ogive.verify.region import Ball, Cuboid
from ogive.verify.robustness import around, margin_rows
from ogive.verify.tracer import trace
from ogive.verify.warmup import balance, ibp_, tightness

METHODS = ("ibp", "crown-ibp")


def worst_logits(
    network: Network, region: Cuboid | Ball, labels: Tensor, method: str = "ibp", share: float = 1.0
) -> tuple[Tensor, Bounds]:
    """Logits ``[examples, classes]`` with 0 for the label and minus the least margin for every other class.

    Their cross entropy bounds that of all points of the region. ``share`` mixes the margins of "crown-ibp" with those
    of intervals alone: both are bounds, hence so is each mean. Also the bounds of every step.
    """
    dtype = region.box().lo.dtype
    rows = margin_rows(network, labels, dtype)
    bounds = Bounds(network, region, False)
    least = torch.zeros_like(labels, dtype=dtype)
    if method == "crown-ibp" and share > 0.0:
        least = least + share * bounds.lower(rows)
    if method == "ibp" or share < 1.0:
        least = least + (1.0 - share if method == "crown-ibp" else 1.0) * bounds.lower(rows, stop=True)
    others = torch.arange(len(rows), device=labels.device).unsqueeze(1)
    others = others + (others >= labels.unsqueeze(0))
    logits = torch.zeros(len(labels), len(rows) + 1, dtype=dtype, device=labels.device)
    return logits.scatter(1, others.mT, -least.mT), bounds


def warm(progress: float, share: float = 0.25) -> float:
    """The schedule of eps: from 0 to 1 as ``progress`` does, ``a t^4`` up to ``share``, then on along the tangent.

    >>> [round(warm(t), 4) for t in (0.0, 0.25, 0.625, 1.0)]
    [0.0, 0.0769, 0.5385, 1.0]
    """
    t = min(max(progress, 0.0), 1.0)
    a = 1.0 / (share**4 + 4.0 * share**3 * (1.0 - share))
    return a * t**4 if t <= share else a * share**4 + 4.0 * a * share**3 * (t - share)


@dataclass(frozen=True)
class Epoch:
    """Means over one epoch: eps at its end, the loss, and the shares of examples wrong and not certified as trained."""

    eps: float
    loss: float
    error: float
    uncertified: float


@dataclass(frozen=True)
class CertifiedFit:
    """How training went; ``idle`` are parameters that bounds give no gradient (learned activation parameters)."""

    epochs: tuple[Epoch, ...]
    method: str
    eps: float
    seconds: float
    idle: tuple[str, ...] = ()

    def __repr__(self) -> str:
        last = self.epochs[-1]
        text = (f"CertifiedFit({self.method}, eps={self.eps:g}, {len(self.epochs)} epochs in {self.seconds:.1f} s: "
                f"loss {last.loss:.4g}, error {last.error:.3f},\n  not certified {last.uncertified:.3f})")  # fmt: skip
        return text if not self.idle else f"{text}\n  no gradient: {', '.join(self.idle)}"

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON."""
        return asdict(self)


def certified_fit(
    model: nn.Module, data: Tensor, labels: Tensor, eps: float, epochs: int = 40, *, method: str = "ibp",
    within: tuple[float, float] | None = None, init: bool = True, regularise: float = 0.5, tol: float = 0.5,
    ramp: tuple[float, float] = (0.05, 0.5), clean: float = 0.0, batch: int = 128, rate: float = 5e-4,
    seed: int = 0, watch: Callable[[Epoch], None] | None = None,
) -> CertifiedFit:  # fmt: skip
    """Train ``model`` in place so that its answers are proved on the eps-ball (inf-norm) around each example.

    The loss is ``clean CE(f(x)) + (1 - clean) CE(worst logits) + lambda (L_tightness + L_balance)`` by Adam with
    gradients clipped to norm 8; lambda falls from ``regularise`` to 0 as eps grows. The rate falls to a fifth after
    70 % and again after 90 % of the steps. Batch normalisation learns its statistics from the clean examples and
    bounds use those.

    Args:
        data, labels: examples ``[examples, ...]`` in the dtype of the weights, whole numbers.
        eps: radius at the end, in the units of data, at least 0.
        method: "ibp", or "crown-ibp", whose share falls from 1 to 0 as eps grows.
        within: range of the data, to which the balls are cut.
        init: draw weights by :func:`ogive.verify.warmup.ibp_` first.
        regularise, tol: weight and tolerance of the two regularisers.
        ramp: the shares of training at which eps leaves 0 and at which it is full.
        seed: of the order of examples, and of the weights.
        watch: is shown every epoch.

    Raises:
        InputError: for data that do not fit, a model that cannot be traced, an activation with infinite bounds, and
            a loss that is not finite.

    >>> _ = torch.manual_seed(0)
    >>> x = torch.rand(64, 2); y = (x[:, 0] > x[:, 1]).long()
    >>> net = nn.Sequential(nn.Linear(2, 16), nn.GELU(), nn.Linear(16, 2))
    >>> certified_fit(net, x, y, 0.02, 30, rate=0.02).epochs[-1].error < 0.3
    True
    """
    _check(model, data, labels, eps, epochs, method)
    began = time.perf_counter()
    generator = torch.Generator().manual_seed(seed)
    if init and eps > 0.0:
        ibp_(model, data[: 2 * batch], eps, generator=generator)
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=rate)
    each = math.ceil(len(data) / batch)
    total, count = each * epochs, 0
    idle: tuple[str, ...] = ()
    found: list[Epoch] = []
    for _ in range(epochs):
        network = trace(model, data[:1], live=True)
        sums = torch.zeros(3, dtype=torch.float64)
        now = 0.0
        with training(model):
            for index in torch.randperm(len(data), generator=generator).split(batch):
                count += 1
                done = warm((count / total - ramp[0]) / max(ramp[1] - ramp[0], 1e-9))
                now = eps * done
                for group in optimiser.param_groups:
                    group["lr"] = rate * 0.2 ** ((count > 0.7 * total) + (count > 0.9 * total))
                x, y = data[index], labels[index]
                with torch.enable_grad():
                    loss, wrong, open_ = _step(
                        model, network, x, y, now, within, method, 1.0 - done, clean, regularise * (1.0 - done), tol
                    )
                optimiser.zero_grad()
                loss.backward()
                if not idle:
                    idle = tuple(k for k, p in model.named_parameters() if p.requires_grad and p.grad is None)
                nn.utils.clip_grad_norm_(parameters, 8.0)
                optimiser.step()
                if not math.isfinite(float(loss.detach())):
                    raise InputError(f"certified_fit: the loss is {float(loss.detach())} at step {count}, eps {now:g}; "
                                     "a smaller rate, a longer ramp or init=True helps")  # fmt: skip
                sums += torch.tensor([float(loss.detach()) * len(x), wrong, open_], dtype=torch.float64)
        epoch = Epoch(now, *(sums / len(data)).tolist())
        found.append(epoch)
        if watch is not None:
            watch(epoch)
    return CertifiedFit(tuple(found), method, float(eps), time.perf_counter() - began, idle)


def _step(
    model: nn.Module, network: Network, x: Tensor, y: Tensor, eps: float, within: tuple[float, float] | None,
    method: str, share: float, clean: float, weight: float, tol: float,
) -> tuple[Tensor, int, int]:  # fmt: skip
    """The loss of one batch, and how many examples are wrong and not certified."""
    scores = model(x)  # batch normalisation learns here, before bounds use what it has learned
    wrong = int((scores.detach().argmax(1) != y).sum())
    if eps == 0.0:
        return functional.cross_entropy(scores, y), wrong, wrong
    with evaluating(model):
        logits, bounds = worst_logits(network, around(network, x, eps, math.inf, within, x.dtype), y, method, share)
        open_ = int((logits.detach() > 0.0).any(1).sum())
        loss = (1.0 - clean) * functional.cross_entropy(logits, y)
        if clean > 0.0:
            loss = loss + clean * functional.cross_entropy(scores, y)
        if weight > 0.0:
            loss = loss + weight * (tightness(network, bounds.boxes, tol) + balance(network, bounds.boxes, tol))
    return loss, wrong, open_


def _check(model: Any, data: Any, labels: Any, eps: Any, epochs: int, method: str) -> None:
    if not isinstance(model, nn.Module):
        raise InputError(f"certified_fit: expected a model, an nn.Module; got {type(model).__name__}")
    if not (isinstance(data, Tensor) and data.is_floating_point() and data.dim() > 1 and len(data)):
        raise InputError("certified_fit: data is a floating tensor of examples, the first dimension counts them")
    if not (isinstance(labels, Tensor) and labels.dtype == torch.long and labels.shape == (len(data),)):
        raise InputError(f"certified_fit: labels are {len(data)} whole numbers (torch.long), one for each example")
    if not isinstance(eps, (int, float)) or not 0.0 <= eps < math.inf:
        raise InputError(f"certified_fit: eps={eps!r}; a radius is a finite number, at least 0")
    if epochs < 1:
        raise InputError(f"certified_fit: epochs={epochs!r}; it takes at least one")
    if method not in METHODS:
        raise InputError(f"certified_fit: method={method!r}; there are {', '.join(METHODS)}")
