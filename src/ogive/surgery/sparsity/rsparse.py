"""R-Sparse: large inputs through the whole weight, small ones through a few of its singular directions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.surgery.effect import batches_of
from ogive.surgery.report import Change, Report
from ogive.surgery.sparsity.blocks import feed_forwards
from ogive.surgery.sparsity.calibrate import inner_linears, linear_inputs, quantile, share_in
from ogive.surgery.sparsity.conduct import Scores, conduct
from ogive.surgery.sparsity.linear import RankAwareLinear, exchange

SPLITS = (0.0, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8)  # shares of what may be read that the low-rank path gets

ROWS = 128  # in the errors that splits are compared by


def rank_aware(linear: nn.Linear, s: float, r: int, x: Tensor) -> RankAwareLinear:
    """``W (x where |x| > t) + U_r V_r (x where |x| <= t) + b`` with t the ``s`` quantile of ``|x|``.

    Args:
        linear: its weight and bias are used as they are.
        s: share of inputs below the threshold, in [0, 1].
        r: rank, from 0 to the smaller dimension; U_r V_r is the best approximation of W of that rank.
        x: sample of inputs, (rows, in).

    Raises:
        ParameterError, InputError: for a share or a rank outside, rows of another width.

    >>> _ = torch.manual_seed(0)
    >>> linear, x = nn.Linear(8, 4), torch.randn(100, 8)
    >>> bool(torch.allclose(rank_aware(linear, 0.5, 4, x)(x), linear(x), atol=1e-5))
    True
    """
    share_in("s", s, most=1.0 + 1e-12)
    if type(r) is not int or not 0 <= r <= min(linear.weight.shape):
        raise InputError(f"rank_aware: r={r!r}; it takes a whole number from 0 to {min(linear.weight.shape)}")
    if x.shape[-1] != linear.in_features:
        raise InputError(f"rank_aware: rows of {x.shape[-1]} values; the layer takes {linear.in_features}")
    left, right = directions(linear.weight)
    t = quantile(x.abs(), s) if s > 0.0 else -1.0
    return RankAwareLinear.ranked(linear, t, left[:, :r], right[:r])


def directions(weight: Tensor) -> tuple[Tensor, Tensor]:
    """``left`` (out, k) and ``right`` (k, in), k the smaller dimension, whose product is the weight and whose first r
    columns and rows give its best approximation of rank r: eigenvectors of the smaller Gram matrix in float64."""
    w = weight.detach().double()
    out, into = w.shape
    if out <= into:
        left = torch.linalg.eigh(w @ w.T).eigenvectors.flip(1)
        return left, left.T @ w
    right = torch.linalg.eigh(w.T @ w).eigenvectors.flip(1).T
    return w @ right.T, right


def rsparse(
    model: nn.Module, data: Any, *, target: float = 0.5, score: Scores = None, time: bool = True, seed: int = 0
) -> Report:
    """Read ``1 - target`` of the weights of every inner Linear: columns of large inputs, low rank for the others.

    For each layer seven splits (s, r) of the same number of weights are tried on the data and the one with the least
    relative error of the layer's output is taken; rank 0, plain thresholds, is one of them. The errors of layers are
    taken one by one, so this search is complete on its grid; the paper searches all layers together by evolution.

    Args:
        model: changed in place; the keys of its ``state_dict`` stay (U and V are not among them).
        data: what the model is called with, a batch or a list or loader of batches; up to 512 rows are the sample.
        target: share of weights that is not read, in [0, 1).
        score, time, seed: as of :func:`ogive.swap`.

    Raises:
        OgiveError: when no Linear is followed by another one, or the data holds values that are not finite.

    Source: Zhang, Liu, Tian, Khaitan, Wang and Li 2025, "R-Sparse: Rank-Aware Activation Sparsity for Efficient LLM
    Inference".
    """
    share_in("target", target)
    batches = batches_of(data)
    blocks = feed_forwards(model, batches[0])
    paths, left = inner_linears(model, blocks)
    inputs = linear_inputs(model, paths, batches, seed)
    instead: dict[str, nn.Module] = {}
    changes = []
    for path in paths:
        linear = model.get_submodule(path)
        assert isinstance(linear, nn.Linear)
        best, error = best_split(linear, inputs[path], target)
        instead[path] = best
        kept = float((inputs[path].abs() > best.threshold).double().mean())
        changes.append(Change(path, "linear", f"{100 * kept:.0f}% + rank {best.right.shape[0]}", error))

    def put() -> Callable[[], None]:
        return exchange(model, instead)

    return conduct("rsparse", model, batches, blocks, put, changes, left, score=score, time=time)


def best_split(linear: nn.Linear, x: Tensor, target: float) -> tuple[RankAwareLinear, float]:
    """The layer of the least relative output error on ``x`` among splits of the same number of weights read."""
    out, into = linear.weight.shape
    left, right = directions(linear.weight)
    w, x64 = linear.weight.detach().double(), x[:ROWS].double()
    size = x64.abs()
    whole = (x64 @ w.T).norm().clamp_min(1e-300)
    found: list[tuple[float, float, int]] = []
    for split in SPLITS:
        rank = min(int(split * (1.0 - target) * into * out / (into + out)), min(out, into))
        gone = 1.0 - ((1.0 - target) - rank * (into + out) / (into * out))
        t = quantile(size, min(gone, 1.0)) if gone > 0.0 else -1.0
        small = x64 * (size <= t)
        lost = small @ w.T - (small @ right[:rank].T) @ left[:, :rank].T
        found.append((float(lost.norm() / whole), t, rank))
    error, t, rank = min(found)
    return RankAwareLinear.ranked(linear, t, left[:, :rank], right[:rank]), error
