"""Stochastic activations: one function or another by chance, and the switch from the smooth to the sparse one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError, ParameterError, closest
from ogive.layers.act import Act
from ogive.surgery.effect import batches_of
from ogive.surgery.report import Change, Report
from ogive.surgery.rewire import rewire
from ogive.surgery.sparsity.blocks import feed_forwards
from ogive.surgery.sparsity.calibrate import share_in
from ogive.surgery.sparsity.conduct import Scores, conduct
from ogive.surgery.sparsity.gates import exchangeable

PER = ("token", "element", "layer")
INFERENCE = ("first", "second", "mix", "sample")


class Stochastic(nn.Module):
    """``w f(x) + (1 - w) g(x)`` with w from Bernoulli(p) in training: on average the p-mix, its gradient too.

    Args:
        first, second: f and g, anything :func:`ogive.get` takes.
        p: probability of the first, in [0, 1]; ``act.p = 1.0`` finishes on it (Swi+FT).
        per: what one draw is for: ``token`` (all units of a row), ``element``, ``layer`` (all of a call).
        inference: in evaluation mode: ``first``, ``second``, their ``mix``, or ``sample`` as in training.

    Raises:
        ParameterError: for p outside, another word.

    Source: Lomeli, Douze, Szilvasy, Cabannes, Copet, Sukhbaatar, Weston, Synnaeve, Mazaré and Jégou 2025, "Stochastic
    activations".

    >>> act = Stochastic("relu", "silu", p=0.25, inference="mix").eval()
    >>> x = torch.tensor([-1.0, 2.0])
    >>> torch.allclose(act(x), 0.25 * torch.relu(x) + 0.75 * nn.functional.silu(x))
    True
    """

    def __init__(
        self, first: Any = "relu", second: Any = "silu", p: float = 0.5, *, per: str = "token", inference: str = "first"
    ) -> None:
        super().__init__()
        for name, word, known in (("per", per, PER), ("inference", inference, INFERENCE)):
            if word not in known:
                near = closest(str(word), known, 1)[0]
                raise ParameterError(
                    f"Stochastic: {name}={word!r}; it is one of {', '.join(known)} (did you mean {near!r}?)"
                )
        self.first, self.second, self.per, self.inference = Act(first), Act(second), per, inference
        self.p = share_in("p", p, most=1.0 + 1e-12)

    def forward(self, x: Tensor) -> Tensor:
        """Any shape, units last."""
        how = "sample" if self.training else self.inference
        if how == "first" or (how != "second" and self.p == 1.0):
            only: Tensor = self.first(x)
            return only
        if how == "second" or self.p == 0.0:
            other: Tensor = self.second(x)
            return other
        f, g = self.first(x), self.second(x)
        if how == "mix":
            return torch.lerp(g, f, self.p)
        shape = {"token": (*x.shape[:-1], 1), "element": x.shape, "layer": ()}[self.per]
        return torch.where(torch.rand(shape, device=x.device) < self.p, f, g)

    def extra_repr(self) -> str:
        return f"p={self.p:g}, per={self.per}, inference={self.inference}"


def switch(step: int, steps: int, share: float = 0.1) -> float:
    """p of Swi+FT: 0 (the smooth function) until the last ``share`` of the steps, then 1 (the sparse one).

    >>> [switch(step, 100) for step in (0, 89, 90, 99)]
    [0.0, 0.0, 1.0, 1.0]
    """
    share_in("share", share, most=1.0 + 1e-12)
    if not step >= 0 or steps < 1:
        raise ParameterError(f"switch: step={step!r} of steps={steps!r}; steps are counted from 0")
    return 0.0 if step < round((1.0 - share) * steps) else 1.0


def set_p(model: nn.Module, p: float) -> int:
    """Set p of every :class:`Stochastic` in a model, as a schedule does between steps; returns how many there are.

    Raises OgiveError when there is none.
    """
    share_in("p", p, most=1.0 + 1e-12)
    found = [m for m in model.modules() if isinstance(m, Stochastic)]
    for act in found:
        act.p = float(p)
    if not found:
        raise OgiveError("set_p: the model has no Stochastic activation; put them in with stochastic(model, data)")
    return len(found)


def stochastic(
    model: nn.Module,
    data: Any,
    *,
    p: float = 0.5,
    first: Any = "relu",
    second: Any = None,
    per: str = "token",
    inference: str = "first",
    score: Scores = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Put a stochastic activation at every feed-forward block: ``first`` with probability p, else ``second``.

    Args:
        model: changed in place; ``state_dict`` keys stay. The figures are those of evaluation mode.
        data: what the model is called with, a batch or a list or loader of batches.
        p: the probability of ``first``.
        first: one function.
        per: what one draw is for: ``token`` (all units of a row), ``element``, ``layer`` (all of a call).
        inference: in evaluation mode: ``first``, ``second``, their ``mix``, or ``sample`` as in training.
        second: the other function; None takes the site's own.
        score, time: as of :func:`ogive.swap`.
        seed: of the figures where ``inference`` draws.

    Raises:
        ParameterError, UnknownName: for the options. OgiveError: when there is no feed-forward block.

    >>> mlp = nn.Sequential(nn.Linear(4, 8), nn.SiLU(), nn.Linear(8, 2))
    >>> report = stochastic(mlp, torch.randn(5, 4), p=0.3, time=False)
    >>> report.changes[0].after, set_p(mlp, 1.0)
    ('relu or silu, p=0.3', 1)
    """
    Stochastic(first, "relu" if second is None else second, p, per=per, inference=inference)
    batches = batches_of(data)
    blocks = feed_forwards(model, batches[0])
    left = list(blocks.left)
    left += [(b.site.name, "its input is not an argument of its call") for b in blocks if not exchangeable(b.site)]
    chosen = [b.site for b in blocks if exchangeable(b.site)]
    if not chosen:
        why = "; ".join(f"{name}: {reason}" for name, reason in left[:4]) or "the model has no nonlinearity"
        raise OgiveError(f"stochastic: nothing to change ({why})")
    instead: dict[str, nn.Module] = {}
    changes = []
    for site in chosen:
        own = Stochastic(first, site.activation if second is None else second, p, per=per, inference=inference)
        instead[site.name] = own
        other = site.label if second is None else own.second.entry.label
        changes.append(Change(site.name, site.label, f"{own.first.entry.label} or {other}, p={p:g}"))

    def put() -> Callable[[], None]:
        return rewire(model, [s for s in blocks.sites if s.name in instead], instead).undo

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return conduct("stochastic", model, batches, blocks, put, changes, left, score=score, time=time)
