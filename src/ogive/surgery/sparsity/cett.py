"""Thresholds on the outputs of neurons at a stated cumulative error of tail truncation (CETT)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError
from ogive.surgery.effect import batches_of
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.sparsity.blocks import Blocks, feed_forwards
from ogive.surgery.sparsity.calibrate import linear_inputs, quantile, share_in
from ogive.surgery.sparsity.conduct import Scores, conduct
from ogive.surgery.sparsity.linear import ThresholdedLinear, exchange, why_not_plain

_HALVINGS = 40
_GRID = (*(i / 40 for i in range(39)), 0.96, 0.97, 0.98, 0.99, 0.995, 0.998, 1.0)


@dataclass(frozen=True, eq=False)
class Tail:
    """The neurons of one block on a sample: ``units`` (tokens, hidden) go into ``weight`` (out, hidden).

    Neuron i gives ``n_i = units_i weight[:, i]``; with D the neurons whose ``|n_i|`` is at most a threshold, CETT is
    the mean over tokens of ``|sum_D n_i| / |sum n_i|``.
    """

    units: Tensor
    weight: Tensor

    @property
    def columns(self) -> Tensor:
        """The norm of each column of the weight."""
        return self.weight.norm(dim=0)

    @property
    def sizes(self) -> Tensor:
        """``|n_i|``, (tokens, hidden)."""
        return self.units.abs() * self.columns

    def error(self, threshold: float) -> float:
        """CETT at a threshold on ``|n_i|``. A token whose block gives 0 counts 0."""
        whole = (self.units @ self.weight.T).norm(dim=1)
        lost = ((self.units * (self.sizes <= threshold)) @ self.weight.T).norm(dim=1)
        return float(torch.where(whole > 0.0, lost / whole.clamp_min(1e-30), 0.0).double().mean())

    def share(self, threshold: float) -> float:
        """The share of neurons at or below the threshold."""
        return float((self.sizes <= threshold).double().mean())

    def threshold(self, target: float) -> float:
        """The largest threshold whose CETT is at most ``target``, by halving the rank of ``|n_i|``."""
        sizes = self.sizes.flatten().sort().values
        low, high = -1, sizes.numel() - 1
        for _ in range(_HALVINGS):
            if high - low <= 1:
                break
            middle = (low + high) // 2
            if self.error(float(sizes[middle])) <= target:
                low = middle
            else:
                high = middle
        return float(sizes[low]) if low >= 0 else 0.0

    def curve(self) -> tuple[Tensor, Tensor]:
        """Thresholds at fixed shares and their CETT, rising: to read thresholds off by interpolation."""
        thresholds = [max(quantile(self.sizes, s), 0.0) for s in _GRID]
        errors = torch.tensor([self.error(t) for t in thresholds], dtype=torch.float64)
        return torch.tensor(thresholds, dtype=torch.float64), errors.cummax(0).values


def cett(
    model: nn.Module, data: Any, *, target: float = 0.2, score: Scores = None, time: bool = True, seed: int = 0
) -> Report:
    """Drop the neurons of every feed-forward block whose outputs are small, at CETT = ``target`` in each block.

    CETT is the mean of ``|sum of dropped n_i| / |sum of all n_i|`` with ``n_i = h_i W_down[:, i]``, and what is dropped
    is ``|n_i| <= t``. It makes activations comparable: the share of zeros at the same error, in any block.

    Args:
        model: changed in place (down projections get a threshold for each input); ``state_dict`` keys stay.
        data: what the model is called with, a batch or a list or loader of batches; up to 512 tokens are the sample.
        target: the error, in [0, 1); the literature uses 0.2.
        score, time, seed: as of :func:`ogive.swap`.

    Raises:
        OgiveError: when there is no feed-forward block with a plain down projection.

    Source: Zhang, Song, Yu, Han, Lin, Xiao, Song, Liu, Mi and Sun 2024, "ReLU^2 Wins: Discovering Efficient Activation
    Functions for Sparse LLMs".

    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 2))
    >>> report = cett(mlp, torch.randn(500, 4), target=0.2, time=False)
    >>> round(report["mean CETT"].after, 3)
    0.2
    """
    share_in("target", target)
    batches = batches_of(data)
    blocks = feed_forwards(model, batches[0])
    tails, left = tails_of(model, blocks, batches, seed, "cett")
    instead: dict[str, nn.Module] = {}
    changes, errors = [], []
    for path, tail in tails.items():
        t = tail.threshold(target)
        instead[path] = ThresholdedLinear.of(_linear(model, path), t / tail.columns)
        errors.append(tail.error(t))
        changes.append(Change(path, "linear", f"|n| > {t:.4g} ({100 * tail.share(t):.0f}%)", errors[-1]))

    def put() -> Callable[[], None]:
        return exchange(model, instead)

    figures = (Figure("mean CETT", 0.0, sum(errors) / len(errors)),)
    return conduct("cett", model, batches, blocks, put, changes, left, score=score, time=time, figures=figures)


def tails_of(
    model: nn.Module, blocks: Blocks, batches: list[Any], seed: int, verb: str
) -> tuple[dict[str, Tail], list[tuple[str, str]]]:
    """The tails by path of the down projection; sites without and why. Raises OgiveError when there is none."""
    left = list(blocks.left)
    paths = []
    for block in blocks:
        why = why_not_plain(model.get_submodule(block.down))
        if why:
            left.append((block.name, f"{block.down}: {why}"))
        else:
            paths.append(block.down)
    if not paths:
        why = "; ".join(f"{name}: {reason}" for name, reason in left[:4]) or "the model has no nonlinearity"
        raise OgiveError(f"{verb}: no feed-forward block found ({why})")
    units = linear_inputs(model, paths, batches, seed)
    with torch.no_grad():
        return {p: Tail(units[p], _linear(model, p).weight.detach().to(units[p].dtype)) for p in paths}, left


def _linear(model: nn.Module, path: str) -> nn.Linear:
    found = model.get_submodule(path)
    assert isinstance(found, nn.Linear)
    return found
