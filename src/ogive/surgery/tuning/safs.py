"""``safs``: an activation for each layer of a pruned network, found by late acceptance hill climbing, then scaled."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import Activation
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.layers.act import Act
from ogive.lookup import get
from ogive.surgery.effect import Score, conduct
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import sites
from ogive.surgery.tuning.sparse_training import carried, counts, cut, joined, judged, magnitude_masks, share, train

CANDIDATES = "relu,leaky_relu,silu,gelu,elu,tanh,softplus,mish,hardswish,sinc,identity"


class Scaled(nn.Module):
    """``alpha f(beta x)``, both learned, for one layer.

    >>> Scaled(get("relu"))(torch.tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, act: Activation) -> None:
        super().__init__()
        self.act = Act(act)
        self.alpha, self.beta = nn.Parameter(torch.ones(())), nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        """The same shape."""
        y: Tensor = self.alpha * self.act(self.beta * x)
        return y.to(x.dtype)


def climb(
    first: tuple[str, ...], candidates: list[str], cost: Callable[[tuple[str, ...]], float], *, tries: int,
    history: int, seed: int,
) -> tuple[tuple[str, ...], dict[tuple[str, ...], float]]:  # fmt: skip
    """Late acceptance hill climbing: change one place at random; accept what is no worse than now, or than the cost
    ``history`` tries ago. The best state met, and all costs.

    Source: Burke and Bykov 2017, The late acceptance hill-climbing heuristic.

    >>> climb(("a", "a"), ["a", "b"], lambda s: s.count("a"), tries=30, history=3, seed=0)[0]
    ('b', 'b')
    """
    rng = random.Random(seed)
    known = {first: cost(first)}
    now, past = first, [known[first]] * history
    for step in range(tries):
        place = rng.randrange(len(first))
        others = [c for c in candidates if c != now[place]]
        if not others:
            break
        tried = (*now[:place], rng.choice(others), *now[place + 1 :])
        if tried not in known:
            known[tried] = cost(tried)
        if known[tried] <= max(known[now], past[step % history]):
            now = tried
        past[step % history] = known[now]
    return min(known, key=lambda s: known[s]), known


def safs(
    model: nn.Module,
    data: Any,
    labels: Tensor | None = None,
    *,
    sparsity: float = 0.95,
    candidates: str = CANDIDATES,
    tries: int = 20,
    history: int = 3,
    probe: int = 40,
    steps: int = 200,
    lr: float = 3e-3,
    batch: int = 64,
    held: float = 0.25,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Prune by magnitude, search an activation for each site, learn ``alpha f(beta x)`` while training on (SAFS).

    Stage one: late acceptance hill climbing over one candidate a site; the cost is the loss on held-out examples after
    ``probe`` training steps from the pruned weights. Stage two: ``steps`` steps of weights and scales together. The
    masks are kept all along; weights away are 0. The tuning of the recipe that the source adds is left to you.

    Args:
        model: changed in place; alpha and beta are new keys of the ``state_dict``.
        data, labels: inputs (tensors) and whole numbers (classes) or floating targets.
        sparsity: share of each layer's weights that go, in [0, 1).
        candidates: names, with commas between; each site's own function is one too.
        tries, history: of the climbing.
        probe, steps, lr, batch: of the training (Adam).
        held: share of the examples that judge and do not train, in (0, 1).
        score, time: as of :func:`ogive.swap`.
        seed: of everything drawn.

    Raises:
        ParameterError: for options out of range. UnknownName: for a candidate. InputError: without labels.
        OgiveError: when there is no site, or training is not finite. The model is then as it was.

    Source: Loni, Mohan, Asadi and Lindauer 2023, Learning Activation Functions for Sparse Neural Networks.

    >>> _ = torch.manual_seed(0)
    >>> x = torch.randn(200, 8)
    >>> net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 2))
    >>> report = safs(net, x, (x[:, 0] * x[:, 1] > 0).long(), sparsity=0.5, candidates="tanh", tries=2, probe=5,
    ...               steps=20, time=False)
    >>> report["weights that stay"].after
    160.0
    """
    share("safs", "sparsity", sparsity)
    share("safs", "held", held)
    for name, value in (("tries", tries), ("probe", probe), ("steps", steps)):
        if type(value) is not int or value < 0:
            raise ParameterError(f"safs: {name}={value!r}; it takes a whole number of at least 0")
    if type(history) is not int or history < 1 or not lr > 0.0 or held == 0.0:
        raise ParameterError(f"safs: history={history!r}, lr={lr!r}, held={held!r}; history from 1, the others above 0")
    x, y = joined(data, labels, "safs")
    names = [c.strip() for c in candidates.split(",") if c.strip()]
    gates = [n for n in names if len(get(n).inputs) != 1]
    if gates:
        raise InputError(f"safs: {gates[0]} is a gate of two inputs; candidates have one")
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    count = min(max(round(held * len(x)), 1), len(x) - 1)
    out, inside = order[:count], order[count:]
    found = list(sites(model, x[: min(batch, len(x))]))
    chosen = [s for s in found if s.kind == "module" or (s.kind == "call" and s.calls and s.calls[0].slot is not None)]
    left = [(s.name, "a gate of two inputs, or its input is no argument") for s in found if s not in chosen]
    if not chosen:
        raise OgiveError("safs: this model has no activation of one input on this data")
    masks = magnitude_masks(model, sparsity)
    functions = {n: get(n) for n in names}
    own = tuple(f"own:{s.label}" for s in chosen)
    for key, site in zip(own, chosen):
        functions[key] = site.activation

    def trained(state: tuple[str, ...], length: int, scaled: bool) -> tuple[nn.Module, dict[str, nn.Module]]:
        net = copy.deepcopy(model)
        cut(net, masks)
        make: Callable[[Activation], nn.Module] = Scaled if scaled else Act
        instead = {s.name: make(functions[c]) for s, c in zip(chosen, state)}
        rewire(net, chosen, instead)
        train(net, x[inside], y[inside], masks, steps=length, lr=lr, batch=batch, seed=seed)
        return net, instead

    def cost(state: tuple[str, ...]) -> float:
        try:
            net, _ = trained(state, probe, False)
        except OgiveError:
            return float("inf")
        loss = judged(net, x[out], y[out])[0]
        return loss if loss == loss else float("inf")

    dense = judged(model, x[out], y[out])
    best, known = climb(own, [*names, *dict.fromkeys(own)], cost, tries=tries, history=history, seed=seed)
    net, instead = trained(best, steps, True)
    put = carried(model, net, chosen, instead)

    def more() -> list[Figure]:
        found_ = judged(model, x[out], y[out])
        what = "loss, held out" if y.is_floating_point() else "accuracy, held out"
        now = (dense[0], found_[0]) if y.is_floating_point() else (dense[1], found_[1])
        return [Figure(what, *now), Figure("weights that stay", *counts(masks)),
                Figure("loss after the probe", known[own], known[best])]  # fmt: skip

    figures, undo = conduct(model, [x], put, score=score, time=time, more=more)
    changes = []
    for site, name in zip(chosen, best):
        module = instead[site.name]
        assert isinstance(module, Scaled)
        scales = f"alpha {float(module.alpha.detach()):.3g}, beta {float(module.beta.detach()):.3g}"
        changes.append(Change(site.name, site.label, name.removeprefix("own:"), note=scales))
    note = f"{len(known)} choices were tried, {probe} steps each; {len(inside)} examples train, {len(out)} judge."
    return Report("safs", tuple(changes), tuple(left), tuple(figures), (note,), len(x), undo)
