"""Polynomial activations that know their interval: who leaves it, where NaN begins, and a loss that holds them in."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from ogive.activation import define
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.layers.act import Act, learn
from ogive.surgery.effect import batches_of, run
from ogive.surgery.private.polynomials import Polynomial, depth_of
from ogive.surgery.sites import table


@lru_cache(maxsize=16)
def _entry(degree: int) -> Any:
    """Horner's rule in (x - centre) / half, the coefficients as parameters: one kernel for all of a degree."""
    text = f"c{degree}"
    for k in range(degree - 1, -1, -1):
        text = f"c{k} + (x - centre)*scale*({text})"
    params = {f"c{k}": 1.0 for k in range(degree + 1)} | {"centre": 0.0, "scale": 1.0}
    return define(text, name=f"poly{degree}", params=params)


class PolynomialAct(Act):
    """``y = sum_k c_k ((x - centre) / half)^k``, counting the inputs outside [low, high] and what is not finite.

    Every run in eager mode is counted, in training and in evaluation; ``reset()`` starts again. Coefficients that
    are learned are parameters of the model (``raw_c0`` and so on); the interval is not.

    Args:
        polynomial: what :func:`ogive.surgery.private.polynomials.fit` returns.
        train: whether the coefficients are learned.

    >>> act = PolynomialAct(Polynomial((0.0, 1.0, 0.5), 0.0, 2.0, -2.0, 2.0))
    >>> act(torch.tensor([0.0, 2.0, -4.0])), act.share_outside
    (tensor([0.0000, 1.5000, 0.0000]), 0.3333333333333333)
    """

    def __init__(self, polynomial: Polynomial, train: bool = False) -> None:
        values: dict[str, Any] = {f"c{k}": learn(init=c) if train else c for k, c in enumerate(polynomial.coefficients)}
        super().__init__(_entry(polynomial.degree), centre=polynomial.centre, scale=1.0 / polynomial.half, **values)
        self.low, self.high, self.degree = polynomial.low, polynomial.high, polynomial.degree
        self.reset()

    def reset(self) -> None:
        """Forget the counts."""
        self._seen = 0
        self._counts: Tensor | None = None  # outside, not finite before, not finite after; on the device of the run

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        result = super().forward(x, y)
        if not torch.compiler.is_compiling():
            with torch.no_grad():
                counts = torch.stack([
                    (~((x >= self.low) & (x <= self.high))).sum(), (~torch.isfinite(x)).sum(),
                    (~torch.isfinite(result)).sum(),
                ])  # fmt: skip
                self._counts = counts if self._counts is None else self._counts.to(counts.device) + counts
            self._seen += x.numel()
        return result

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Inputs seen, inputs outside the interval, inputs that were not finite, results that were not."""
        rest = (0, 0, 0) if self._counts is None else tuple(map(int, self._counts.tolist()))
        return (self._seen, *rest)  # type: ignore[return-value]

    @property
    def share_outside(self) -> float:
        """Of the inputs since the last reset; nan before the first run."""
        return self.counts[1] / self._seen if self._seen else math.nan

    @property
    def depth(self) -> int:
        """Levels of multiplication of an encrypted evaluation."""
        return depth_of(self.degree)

    def polynomial(self) -> Polynomial:
        """The polynomial it computes now."""
        found = [getattr(self, f"c{k}") for k in range(self.degree + 1)]
        c = tuple(v.item() if isinstance(v, Tensor) else float(v) for v in found)
        return Polynomial(c, float(self.centre), 1.0 / float(self.scale), self.low, self.high)

    def extra_repr(self) -> str:
        kind = "learned" if self.learned else "fixed"
        return f"degree {self.degree}, fitted on [{self.low:.4g}, {self.high:.4g}], {kind}"


@dataclass(frozen=True)
class Escape:
    """One site: its interval, the share of inputs outside, the share of inputs and of results that are not finite."""

    site: str
    low: float
    high: float
    outside: float
    broken_before: float
    broken_after: float


@dataclass(frozen=True)
class Escapes:
    """The polynomial sites in order of execution; ``first_broken`` is the first whose result is not finite."""

    rows: tuple[Escape, ...]
    first_broken: str | None

    @property
    def worst(self) -> float:
        """The largest share outside."""
        return max((r.outside for r in self.rows), default=math.nan)

    def __repr__(self) -> str:
        rows: list[tuple[str, ...]] = [("site", "fitted on", "outside", "not finite")]
        for r in self.rows:
            rows.append((r.site, f"[{r.low:.4g}, {r.high:.4g}]", f"{r.outside:.3%}", f"{r.broken_after:.3%}"))
        first = f"first with NaN or inf: {self.first_broken}" if self.first_broken else "all values finite"
        return f"{table(rows, (28, 24, 10, 10))}\n{first}"

    def to_dict(self) -> dict[str, Any]:
        """All rows, ready for JSON."""
        return {"rows": [asdict(r) for r in self.rows], "first_broken": self.first_broken}


def polynomial_sites(model: nn.Module) -> dict[str, PolynomialAct]:
    """The polynomial activations of a model by path. Raises InputError where there is none."""
    found = {n: m for n, m in model.named_modules() if isinstance(m, PolynomialAct)}
    if not found:
        raise InputError(f"{type(model).__name__} has no polynomial activation; use polynomialise(model, data)")
    return found


def escapes(model: nn.Module, data: Any = None) -> Escapes:
    """The share of inputs outside the fitted interval at each polynomial site, and the first with NaN or inf.

    Args:
        model: one that :func:`polynomialise` changed.
        data: runs the model on it and counts these runs alone; None tells of all runs since the last reset.

    Raises:
        InputError: for a model without polynomial activations.
        OgiveError: for data that reaches none of them, or no run so far.
    """
    found = polynomial_sites(model)
    order: list[str] = []
    if data is not None:
        hooks = [m.register_forward_hook(_Order(order, n)) for n, m in found.items()]
        for m in found.values():
            m.reset()
        try:
            run(model, batches_of(data))
        finally:
            for hook in hooks:
                hook.remove()
    names = [*dict.fromkeys(order), *(n for n in found if n not in order)]
    rows = []
    for name in names:
        seen, outside, before, after = found[name].counts
        if seen:
            rows.append(Escape(name, found[name].low, found[name].high, outside / seen, before / seen, after / seen))
    if not rows:
        raise OgiveError("no polynomial activation was run" + (" on this data" if data is not None else " so far"))
    return Escapes(tuple(rows), next((r.site for r in rows if r.broken_after > 0.0), None))


class _Order:
    def __init__(self, order: list[str], name: str) -> None:
        self.order, self.name = order, name

    def __call__(self, module: nn.Module, args: Any, output: Any) -> None:
        self.order.append(self.name)


class RangeLoss:
    """``sum over sites of mean(max(0, |t| - 1)^2)`` with t = 1 at the ends of a site's interval: inputs outside cost.

    Use it as a context around training; call it after each forward run and add the result to the loss. It keeps
    pre-activations where the polynomials were fitted, which is what fails first in deep networks (Garimella et al.
    2021, *Sisyphus*).

    Args:
        model: one with polynomial activations.
        within: the share of the half length at which the cost begins, in (0, 1].

    Raises:
        ParameterError: for another ``within``; InputError: for a model without polynomial activations.

    >>> model = nn.Sequential(PolynomialAct(Polynomial((0.0, 1.0), 0.0, 1.0, -1.0, 1.0)))
    >>> with RangeLoss(model) as outside:
    ...     _ = model(torch.tensor([0.5, 3.0]))
    ...     print(float(outside()))
    2.0
    """

    def __init__(self, model: nn.Module, within: float = 1.0) -> None:
        if not 0.0 < within <= 1.0:
            raise ParameterError(f"RangeLoss: within={within!r}; it takes a number above 0, at most 1")
        self.found, self.within = polynomial_sites(model), within
        self._terms: list[Tensor] = []
        self._hooks: list[Any] = []

    def __enter__(self) -> RangeLoss:
        self._hooks = [m.register_forward_pre_hook(self._see) for m in self.found.values()]
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._terms = [], []

    def _see(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        assert isinstance(module, PolynomialAct)
        centre, half = (module.low + module.high) / 2.0, (module.high - module.low) / 2.0
        t = ((args[0] - centre) / half).abs()
        self._terms.append((t - self.within).clamp_min(0.0).square().mean())

    def __call__(self) -> Tensor:
        """The loss of the runs since the last call."""
        if not self._terms:
            raise OgiveError("RangeLoss: no polynomial activation ran since the last call; run the model inside `with`")
        terms, self._terms = self._terms, []
        return torch.stack(terms).sum()


def range_loss(model: nn.Module, within: float = 1.0) -> RangeLoss:
    """:class:`RangeLoss` of a model, to be used as ``with range_loss(model) as outside: ... loss + outside()``."""
    return RangeLoss(model, within)
