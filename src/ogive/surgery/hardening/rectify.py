"""``vra``: the penultimate features rectified below, above and between, so that strange inputs have low energy."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, OgiveError, ParameterError, closest
from ogive.surgery.effect import Score, batches_of, conduct, outputs, run
from ogive.surgery.hardening.bounds import function_at
from ogive.surgery.hardening.campaign import answers, labels_of
from ogive.surgery.hardening.detection import auroc, energy, fpr_at_tpr
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site, sites

_MOST = 2_000_000  # values that a quantile is taken of


class Rectified(nn.Module):
    """0 where z < low, z + gamma where low <= z <= high, high where z > high; of a function's values.

    >>> Rectified(nn.Identity(), 0.5, 2.0, 0.1)(torch.tensor([0.2, 1.0, 3.0]))
    tensor([0.0000, 1.1000, 2.0000])
    """

    def __init__(self, function: nn.Module, low: float, high: float, gamma: float) -> None:
        super().__init__()
        self.function, self.low, self.high, self.gamma = function, low, high, gamma

    def forward(self, x: Tensor) -> Tensor:
        """The rectified values."""
        z: Tensor = self.function(x)
        between = torch.where(z < self.low, 0.0, z + self.gamma if self.gamma else z)
        return torch.where(z > self.high, self.high, between)

    def extra_repr(self) -> str:
        return f"low={self.low:.4g}, high={self.high:.4g}, gamma={self.gamma:.4g}"


def vra(
    model: nn.Module,
    data: Any,
    labels: Tensor | None = None,
    *,
    lo_q: float = 0.6,
    hi_q: float = 0.95,
    gamma: float = 0.0,
    site: str = "penultimate",
    outside: Any = None,
    score: Score | Mapping[str, Score] | None = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Rectify a classifier's penultimate features so that inputs of another distribution get a lower energy score.

    ``f(z) = 0`` for z < alpha, ``z + gamma`` between, ``beta`` for z > beta, with alpha and beta the quantiles ``lo_q``
    and ``hi_q`` of the features on the data. ``lo_q=0`` is ReAct.

    Args:
        model: gives one row of scores an example.
        data: in-distribution inputs, a batch or a list or loader of batches, for quantiles and figures.
        labels: the right class of each example, for the accuracy; without it the model's own answers.
        lo_q: quantile of alpha, 0 to 1; 0 for no lower threshold.
        hi_q: quantile of beta, above lo_q, at most 1; 1 for no upper threshold.
        gamma: what values between are raised by.
        site: a site's name, or ``penultimate``: what the last linear layer is given.
        outside: inputs of other distributions, for AUROC and FPR95 of the energy score; a batch, or a mapping from a
            name to batches.
        score: a function of the model, or several by name.
        time: measure a batch before and after, in turn.
        seed: of the sample of features when there are millions.

    Raises:
        ParameterError: for quantiles that are none, an unknown site.
        OgiveError: when the model has no last linear layer.

    Sources: Xu et al. 2023, "VRA: Variational Rectified Activation for Out-of-distribution Detection"; Sun et al. 2021,
    "ReAct".

    >>> _ = torch.manual_seed(0)
    >>> net, x = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 3)), torch.randn(200, 8)
    >>> report = vra(net, x, lo_q=0.0, hi_q=0.9, outside={"wide": 3 * x}, time=False)
    >>> report["AUROC, wide"].after > report["AUROC, wide"].before
    True
    """
    if not 0.0 <= lo_q < hi_q <= 1.0 or not math.isfinite(gamma):
        raise ParameterError(f"vra: lo_q={lo_q!r}, hi_q={hi_q!r}, gamma={gamma!r}; quantiles are 0 <= lo_q < hi_q <= "
                             "1, gamma is finite")  # fmt: skip
    batches = batches_of(data)
    others = {} if outside is None else _named(outside)
    found = list(sites(model, batches[0]))
    name, label, attach = _place(model, found, batches[0], site)
    values = _seen(model, attach, batches, seed)
    low = float(values.quantile(lo_q)) if lo_q > 0.0 else -math.inf
    high = float(values.quantile(hi_q)) if hi_q < 1.0 else math.inf
    own = answers(model, batches)
    right = own if labels is None else labels_of(labels, own)
    before = outputs(model, batches)
    outside_before = {k: outputs(model, b) for k, b in others.items()}

    def put() -> Callable[[], None]:
        return attach(lambda function: Rectified(function, low, high, gamma))

    def told_apart() -> list[Figure]:
        after = outputs(model, batches)
        kind = "accuracy" if labels is not None else "agreement"
        then, now = (float((a == right).double().mean()) for a in (own, answers(model, batches)))
        found = [Figure(f"{kind}, inside", then, now)]
        for k, b in others.items():
            old = energy(before), energy(outside_before[k])
            new = energy(after), energy(outputs(model, b))
            found.append(Figure(f"AUROC, {k}", auroc(*old), auroc(*new)))
            found.append(Figure(f"FPR95, {k}", fpr_at_tpr(*old), fpr_at_tpr(*new)))
        return found

    figures, undo = conduct(model, batches, put, score=score, time=time, more=told_apart)
    note = f"alpha {low:.4g}, beta {high:.4g}, gamma {gamma:.4g}"
    rest = tuple((s.name, "not the features that the last layer reads") for s in found if s.name != name)
    return Report("vra", (Change(name, label, "rectified", note=note),), rest, tuple(figures), (), len(own), undo)


class _AtInput:
    """A forward pre-hook: the layer is given the module's values."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module

    def __call__(self, layer: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        return (self.module(args[0]), *args[1:])


Make = Callable[[nn.Module], nn.Module]
Attach = Callable[[Make], Callable[[], None]]


def _place(model: nn.Module, found: list[Site], example: Any, site: str) -> tuple[str, str, Attach]:
    """Name and label of the place, and what attaches a module of its values there and returns the undoing."""
    if site == "penultimate":
        path = _last_linear(model, example)
        layer = model.get_submodule(path)

        def at_input(make: Make) -> Callable[[], None]:
            return layer.register_forward_pre_hook(_AtInput(make(nn.Identity()))).remove

        return path, f"input of {path}", at_input
    names = {s.name: s for s in found}
    if site not in names:
        near = ", ".join(closest(site, list(names), 3)) or "none"
        raise ParameterError(f"vra: no site is called {site!r}; the nearest are {near}, or 'penultimate'")
    one = names[site]
    return site, one.label, lambda make: rewire(model, [one], {site: make(function_at(model, one))}).undo


def _last_linear(model: nn.Module, example: Any) -> str:
    """The path of the linear layer that runs last."""
    order: list[str] = []
    hooks = [m.register_forward_pre_hook(lambda _, __, n=name: order.append(n))
             for name, m in model.named_modules() if isinstance(m, nn.Linear)]  # fmt: skip
    try:
        run(model, [example])
    finally:
        for hook in hooks:
            hook.remove()
    if not order or order.count(order[-1]) > 1:
        raise OgiveError("vra: the model has no linear layer that runs last and once; name a site=")
    return order[-1]


class _Kept(nn.Module):
    """Shows values as they are."""

    def __init__(self, function: nn.Module, values: list[Tensor]) -> None:
        super().__init__()
        self.function, self.values = function, values

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.function(x)
        self.values.append(y.detach().flatten().float().cpu())
        return y


def _seen(model: nn.Module, attach: Attach, batches: Sequence[Any], seed: int) -> Tensor:
    """Values at the place over the batches, in evaluation mode."""
    values: list[Tensor] = []
    undo = attach(lambda function: _Kept(function, values))
    try:
        outputs(model, batches)
    finally:
        undo()
    if not values:
        raise OgiveError("this data never reaches the features; give data that does")
    joined = torch.cat(values)
    if not bool(joined.isfinite().all()):
        raise OgiveError("features that are not finite on this data; clean the data or the model")
    if joined.numel() > _MOST:
        joined = joined[torch.randint(joined.numel(), (_MOST,), generator=torch.Generator().manual_seed(seed))]
    return joined.double()


def _named(outside: Any) -> dict[str, list[Any]]:
    if isinstance(outside, Mapping):
        if not all(isinstance(k, str) for k in outside):
            raise InputError("vra: outside= is a batch, or a mapping from a name to batches")
        return {k: batches_of(v) for k, v in outside.items()}
    return {"outside": batches_of(outside)}
