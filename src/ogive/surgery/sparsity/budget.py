"""PPL-p %: the sparsest thresholds that a perplexity budget allows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.surgery.effect import batches_of
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.sparsity.blocks import feed_forwards
from ogive.surgery.sparsity.calibrate import share_in
from ogive.surgery.sparsity.cett import Tail, tails_of
from ogive.surgery.sparsity.conduct import Scores, conduct
from ogive.surgery.sparsity.linear import ThresholdedLinear, exchange
from ogive.surgery.sparsity.perplexity import perplexity

_ROUNDS = 40
_NEAR = 2.5e-4  # the perplexity is met within this share of the target


def ppl_sparsity(
    model: nn.Module, data: Any, *, rise: float = 0.01, score: Scores = None, time: bool = True, seed: int = 0
) -> Report:
    """Drop small neurons at the largest common CETT at which perplexity rises by at most ``rise`` (PPL-p %).

    The thresholds of all feed-forward blocks follow from one number, their common CETT (see :func:`cett`), which is
    found by bisection on the perplexity of the data itself. The share of zeros then compares models and activations.

    Args:
        model: a causal language model (see :func:`perplexity`), changed in place; ``state_dict`` keys stay.
        data: windows of token ids, or dicts or a list of them.
        rise: of the perplexity, relative, above 0: 0.01 for PPL-1 %.
        score, time, seed: as of :func:`ogive.swap`.

    Raises:
        InputError: for data or a model without next tokens to predict.
        OgiveError: when there is no feed-forward block.

    Source: Luo, Song, Han, Chen, Xiao, Liu and Sun 2024, "Sparsing Law: Towards Large Language Models with Greater
    Activation Sparsity".
    """
    share_in("rise", rise, most=math.inf)
    if rise == 0.0:
        raise InputError("ppl_sparsity: rise=0; a budget above 0 is needed to drop anything")
    batches = batches_of(data)
    start = perplexity(model, batches)
    allowed = start.value * (1.0 + rise)
    blocks = feed_forwards(model, batches[0])
    tails, left = tails_of(model, blocks, batches, seed, "ppl_sparsity")
    curves = {path: tail.curve() for path, tail in tails.items()}
    layers: dict[str, ThresholdedLinear] = {}
    for path in tails:
        linear = model.get_submodule(path)
        assert isinstance(linear, nn.Linear)
        layers[path] = ThresholdedLinear.of(linear, torch.zeros(linear.in_features))

    def put() -> Callable[[], None]:
        return exchange(model, layers)

    def at(common: float) -> float:
        _set(layers, tails, curves, common)
        return perplexity(model, batches).value

    undo = put()
    try:
        common, notes = _largest(at, allowed, rise)
    finally:
        undo()
    _set(layers, tails, curves, common)
    found = {p: read(*curves[p], common) for p in tails}
    changes = [Change(p, "linear", f"|n| > {t:.4g} ({100 * tails[p].share(t):.0f}%)", tails[p].error(t))
               for p, t in found.items()]  # fmt: skip
    figures = (Figure("common CETT", 0.0, common), Figure("perplexity allowed", start.value, allowed))
    return conduct("ppl_sparsity", model, batches, blocks, put, changes, left,
                   score=score, time=time, notes=notes, figures=figures)  # fmt: skip


def _largest(at: Callable[[float], float], allowed: float, rise: float) -> tuple[float, tuple[str, ...]]:
    """Bisection with perplexity(low) <= allowed < perplexity(high)."""
    low, high, best = 0.0, 1.0, at(0.0)
    last = at(high)
    if last <= allowed:
        return high, (f"Without any neuron perplexity is {last:.4g}, still within the {100 * rise:g} % allowed: the "
                      "blocks do nothing for this data.",)  # fmt: skip
    for _ in range(_ROUNDS):
        if best >= allowed * (1.0 - _NEAR):
            return low, ()
        middle = 0.5 * (low + high)
        value = at(middle)
        if value <= allowed:
            low, best = middle, value
        else:
            high = middle
    return low, (f"The nearest below the perplexity allowed is {best:.6g}: the next neuron in line takes it above; "
                 "more tokens make finer steps.",)  # fmt: skip


def _set(
    layers: Mapping[str, ThresholdedLinear],
    tails: Mapping[str, Tail],
    curves: Mapping[str, tuple[Tensor, Tensor]],
    common: float,
) -> None:
    for path, layer in layers.items():
        layer.threshold.copy_(read(*curves[path], common) / tails[path].columns)


def read(thresholds: Tensor, errors: Tensor, target: float) -> float:
    """The threshold at an error, on the straight lines between the points of a curve.

    >>> read(torch.tensor([0.0, 1.0, 3.0]), torch.tensor([0.0, 0.25, 0.75]), 0.5)
    2.0
    """
    if target >= 1.0:
        return math.inf  # nothing is left, on other tokens too
    above = int(torch.searchsorted(errors, torch.tensor(target, dtype=errors.dtype), right=True))
    if above >= errors.numel():
        return float(thresholds[-1])
    if above == 0:
        return float(thresholds[0]) * target / max(float(errors[0]), 1e-300)
    e, f = float(errors[above - 1]), float(errors[above])
    t, u = float(thresholds[above - 1]), float(thresholds[above])
    return t + (u - t) * (target - e) / (f - e)
