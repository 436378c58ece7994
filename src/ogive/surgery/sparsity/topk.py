"""The k largest units of a row and no others: exactly, or by a threshold from mean and standard deviation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.layers.act import Act
from ogive.surgery.effect import batches_of
from ogive.surgery.report import Change, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sparsity.blocks import feed_forwards
from ogive.surgery.sparsity.conduct import Scores, conduct
from ogive.surgery.sparsity.gates import exchangeable


def statistical_topk(x: Tensor, k: int, dim: int = -1) -> Tensor:
    """``max(x - theta, 0)`` with ``theta = mean + std Phi^-1(1 - k/d)``: about k of d values stay, without sorting.

    The share that stays is k/d where the values are normal; heavier tails keep fewer or more, as they come. ``std`` is
    that of the sample (divisor d - 1). Gradients run through theta too.

    Args:
        x: floating, d values along ``dim``, at least 2.
        k: how many shall stay, from 1 to d - 1; d keeps x as it is.
        dim: the dimension of the units.

    Raises:
        InputError: for what is no floating tensor. ParameterError: for k outside.

    Source: You, Kuzborskij, Zhao et al. 2025, "Spark Transformer: Reactivating Sparsity in FFN and Attention".

    >>> _ = torch.manual_seed(0)
    >>> kept = (statistical_topk(torch.randn(100, 4096), 328) > 0).double().mean()
    >>> abs(float(kept) - 0.08) < 0.001
    True
    """
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0:
        raise InputError(f"statistical_topk takes a floating tensor of units; got {type(x).__name__}")
    d = x.shape[dim]
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= d:
        raise ParameterError(f"statistical_topk: k={k!r}; it takes a whole number from 1 to {d}, the units there are")
    if k == d:
        return x
    z = torch.special.ndtri(torch.tensor(1.0 - k / d, dtype=torch.float64)).item()
    wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
    off = wide - wide.mean(dim, keepdim=True)
    # a norm: torch's own std takes 10 ns a value on a CPU, ten times what all of this takes
    std = torch.linalg.vector_norm(off, dim=dim, keepdim=True) / math.sqrt(d - 1)
    kept = off - z * std if off.requires_grad else off.sub_(z * std)
    return torch.relu_(kept).to(x.dtype)


def keep_topk(x: Tensor, k: int, dim: int = -1) -> Tensor:
    """``x`` at its k largest values along ``dim`` and 0 elsewhere; of equal values at the edge some stay.

    >>> keep_topk(torch.tensor([3.0, -1.0, 2.0, 0.5]), 2)
    tensor([3., 0., 2., 0.])
    """
    d = x.shape[dim]
    if isinstance(k, bool) or not isinstance(k, int) or not 1 <= k <= d:
        raise ParameterError(f"keep_topk: k={k!r}; it takes a whole number from 1 to {d}, the units there are")
    order = x.topk(k, dim=dim).indices
    return torch.where(torch.zeros_like(x, dtype=torch.bool).scatter(dim, order, True), x, torch.zeros_like(x))


class TopK(nn.Module):
    """``f`` with only k units of each row left (Top-k Transformer), or with the statistical threshold in front of it.

    Exactly: the k largest ``f(x)`` stay. Statistically: ``f(statistical_topk(x, k))``, for f with f(0) = 0. Source of
    the first: Li, You, Bhojanapalli et al. 2023, "The Lazy Neuron Phenomenon".

    Args:
        k: whole number of units, or the share of them in (0, 1).
        act: an activation, anything :func:`ogive.get` takes, or a module.
        statistical: which of the two.

    >>> TopK(2)(torch.tensor([3.0, -1.0, 2.0, 0.5]))
    tensor([3., 0., 2., 0.])
    """

    def __init__(self, k: float, act: Any = "relu", *, statistical: bool = False) -> None:
        super().__init__()
        whole = isinstance(k, int) and not isinstance(k, bool) and k >= 1
        if not whole and not (isinstance(k, float) and 0.0 < k < 1.0):
            raise ParameterError(f"TopK: k={k!r}; it takes a whole number of units or a share in (0, 1)")
        self.k, self.statistical = k, bool(statistical)
        self.act = act if isinstance(act, nn.Module) else Act(act)

    def units(self, width: int) -> int:
        """How many of ``width`` units stay."""
        return self.k if isinstance(self.k, int) else max(round(self.k * width), 1)

    def forward(self, x: Tensor) -> Tensor:
        """(..., units) to the same shape."""
        k = self.units(x.shape[-1])
        result: Tensor = self.act(statistical_topk(x, k)) if self.statistical else keep_topk(self.act(x), k)
        return result

    def extra_repr(self) -> str:
        return f"k={self.k}, statistical={self.statistical}"


class SparkFFN(nn.Module):
    """``W_down (f(stat_topk(W_gate x[:r])) * W_up x[r:])``: the first r inputs predict which units are active.

    Args:
        dim, hidden: sizes, positive; ``r`` is from 1 to dim - 1, half of dim where None.
        k: units that stay, a whole number or a share: 0.08 in the paper.
        act: with f(0) = 0.

    Raises:
        ParameterError: for a size, or an activation whose value at 0 is not 0.

    Source: as of :func:`statistical_topk`.

    >>> SparkFFN(16, 256)(torch.randn(2, 5, 16)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(self, dim: int, hidden: int, k: float = 0.08, r: int | None = None, act: Any = "gelu") -> None:
        super().__init__()
        r = dim // 2 if r is None else r
        if not (type(r) is int and 1 <= r < dim and type(hidden) is int and hidden > 1):
            raise ParameterError(f"SparkFFN: dim={dim!r}, hidden={hidden!r}, r={r!r}; 1 <= r < dim and hidden > 1")
        self.r = r
        self.act = TopK(k, act, statistical=True)
        if float(self.act.act(torch.zeros(1))) != 0.0:
            raise ParameterError(f"SparkFFN: act={act!r} is not 0 at 0, so units that are dropped would count")
        self.gate_proj = nn.Linear(r, hidden, bias=False)
        self.up_proj = nn.Linear(dim - r, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., dim) to (..., dim)."""
        units = self.act(self.gate_proj(x[..., : self.r])) * self.up_proj(x[..., self.r :])
        result: Tensor = self.down_proj(units)
        return result


def top_k(
    model: nn.Module,
    data: Any,
    *,
    k: float = 0.1,
    statistical: bool = False,
    score: Scores = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Let only k units of each feed-forward block through, the largest or those above the statistical threshold.

    Args:
        model: changed in place; ``state_dict`` keys stay.
        data: what the model is called with, a batch or a list or loader of batches.
        k: whole number of units, or the share of them in (0, 1).
        statistical: threshold from mean and standard deviation before the activation, see :func:`statistical_topk`.
        score, time: as of :func:`ogive.swap`.
        seed: not used.

    Raises:
        ParameterError: for k. OgiveError: when there is no feed-forward block.

    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(4, 64), nn.ReLU(), nn.Linear(64, 2))
    >>> top_k(mlp, torch.randn(500, 4), k=8, time=False)["zeros into down projections"].after
    0.875
    """
    TopK(k)
    batches = batches_of(data)
    blocks = feed_forwards(model, batches[0])
    left = list(blocks.left)
    instead: dict[str, nn.Module] = {}
    changes = []
    for block in blocks:
        site = block.site
        at_zero = float(site.activation(torch.zeros(1, dtype=torch.float64)))
        if not exchangeable(site):
            left.append((site.name, "its input is not an argument of its call"))
        elif statistical and at_zero != 0.0:
            left.append((site.name, f"{site.label} is {at_zero:.3g} at 0, so units below the threshold would count"))
        elif isinstance(k, int) and k > site.shape[-1]:
            raise ParameterError(f"top_k: k={k}, but {site.name} has {site.shape[-1]} units")
        else:
            instead[site.name] = TopK(k, Act(site.activation), statistical=statistical)
            said = f"top {k if isinstance(k, int) else f'{100 * k:g}%'}"
            label = f"{site.label}({said})" if statistical else f"{said} of {site.label}"
            changes.append(Change(site.name, site.label, label))
    if not instead:
        why = "; ".join(f"{name}: {reason}" for name, reason in left[:4]) or "the model has no nonlinearity"
        raise OgiveError(f"top_k: nothing to change ({why})")

    def put() -> Callable[[], None]:
        return rewire(model, [s for s in blocks.sites if s.name in instead], instead).undo

    return conduct("top_k", model, batches, blocks, put, changes, left, score=score, time=time)
