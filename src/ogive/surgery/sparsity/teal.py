"""Small inputs of linear layers dropped: TEAL's thresholds, the same share everywhere or where it costs least."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import ParameterError, closest
from ogive.surgery.effect import batches_of
from ogive.surgery.report import Change, Report
from ogive.surgery.sparsity.blocks import feed_forwards
from ogive.surgery.sparsity.calibrate import inner_linears, linear_inputs, quantile, share_in
from ogive.surgery.sparsity.conduct import Scores, conduct
from ogive.surgery.sparsity.linear import ThresholdedLinear, exchange

ALLOCATIONS = ("uniform", "greedy")
STEP = 0.05
MOST = 0.95
ROWS = 64  # in the errors that steps are compared by


def teal(
    model: nn.Module,
    data: Any,
    *,
    target: float = 0.5,
    allocation: str = "uniform",
    score: Scores = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Zero the inputs of every inner Linear where ``|x|`` is below the layer's own percentile of it (TEAL).

    ``uniform`` takes the ``target`` quantile of ``|x|`` in each layer. ``greedy`` starts at 0 and raises, in steps of
    5 %, the layer whose relative output error ``|W x - W x'| / |W x|`` grows least for the weights it saves, until
    ``target`` of all weights is saved; TEAL compares the outputs of whole blocks instead.

    Args:
        model: changed in place; the keys of its ``state_dict`` stay, the thresholds are not among them.
        data: what the model is called with, a batch or a list or loader of batches; the thresholds come from it.
        target: share of inputs (greedy: of weights) to zero, in [0, 1).
        allocation: ``uniform`` or ``greedy``.
        score, time, seed: as of :func:`ogive.swap`.

    Raises:
        ParameterError: for another word, a target outside [0, 1).
        OgiveError: when no Linear is followed by another one, or the data holds values that are not finite.

    Source: Liu, Ponnusamy, Cai, Guo, Kim and Athiwaratkun 2024, "Training-Free Activation Sparsity in Large Language
    Models".

    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(4, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 2))
    >>> report = teal(mlp, torch.randn(500, 4), target=0.25, time=False)
    >>> [c.site for c in report.changes], mlp[2].threshold.dim()
    (['0', '2'], 0)
    """
    share_in("target", target)
    if allocation not in ALLOCATIONS:
        near = closest(str(allocation), ALLOCATIONS, 1)[0]
        raise ParameterError(f"teal: allocation={allocation!r}; it is uniform or greedy (did you mean {near!r}?)")
    batches = batches_of(data)
    blocks = feed_forwards(model, batches[0])
    paths, left = inner_linears(model, blocks)
    inputs = linear_inputs(model, paths, batches, seed)
    linears = {p: model.get_submodule(p) for p in paths}
    weights = {p: m.weight for p, m in linears.items() if isinstance(m, nn.Linear)}
    shares = dict.fromkeys(paths, target) if allocation == "uniform" else greedy(inputs, weights, target)
    notes: tuple[str, ...] = ()
    if target > MOST and allocation == "greedy":
        notes = (f"A layer keeps at least {1 - MOST:.0%} of its inputs, so {MOST:.0%} is what was reached.",)
    changes: list[Change] = []
    instead: dict[str, nn.Module] = {}
    for path in paths:
        x, linear = inputs[path], linears[path]
        assert isinstance(linear, nn.Linear)
        t = max(quantile(x.abs(), shares[path]), 0.0) if shares[path] else -1.0
        instead[path] = ThresholdedLinear.of(linear, t)
        error = relative_error(x, x.abs() <= t, linear.weight)
        changes.append(Change(path, "linear", f"|x| > {max(t, 0.0):.4g} ({100 * shares[path]:.0f}%)", error))

    def put() -> Callable[[], None]:
        return exchange(model, instead)

    return conduct("teal", model, batches, blocks, put, changes, left, score=score, time=time, notes=notes)


def relative_error(x: Tensor, gone: Tensor, weight: Tensor) -> float:
    """``|W (x where gone)| / |W x|`` over all rows."""
    with torch.no_grad():
        lost = (x * gone).to(weight) @ weight.T
        whole = x.to(weight) @ weight.T
        return float(lost.double().norm() / whole.double().norm().clamp_min(1e-300))


def greedy(inputs: Mapping[str, Tensor], weights: Mapping[str, Tensor], target: float) -> dict[str, float]:
    """Shares of inputs to zero by layer, in steps of 5 %, whose mean weighted by size reaches ``target``."""
    steps = [round(STEP * i, 10) for i in range(round(MOST / STEP) + 1)]
    errors = {}
    for path, x in inputs.items():
        few, order = x[:ROWS], x.abs().flatten().sort().values
        at_step = [float(order[max(round(s * order.numel()) - 1, 0)]) for s in steps]
        errors[path] = [0.0] + [relative_error(few, few.abs() <= t, weights[path]) for t in at_step[1:]]
    at = dict.fromkeys(inputs, 0)
    total = sum(w.numel() for w in weights.values())
    saved = 0.0
    while saved < target - 1e-9:
        open_ = [p for p in at if at[p] + 1 < len(steps)]
        if not open_:
            break
        best = min(open_, key=lambda p: (errors[p][at[p] + 1] - errors[p][at[p]]) / weights[p].numel())
        at[best] += 1
        saved += STEP * weights[best].numel() / total
    return {p: steps[i] for p, i in at.items()}
