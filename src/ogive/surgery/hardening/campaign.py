"""Accuracy against the rate of bit flips, with confidence intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError, ParameterError
from ogive.statistics.inference import t_interval
from ogive.surgery.effect import batches_of, outputs
from ogive.surgery.hardening.faults import flip_bits
from ogive.surgery.sites import table


@dataclass(frozen=True)
class Resilience:
    """Accuracies under bit flips: ``accuracies[i][j]`` at ``rates[i]`` with the j-th seed; ``clean`` is without flips
    (in the dtype of the campaign). Without labels it is agreement with the model's own clean answers."""

    what: str
    dtype: str
    examples: int
    clean: float
    rates: tuple[float, ...]
    accuracies: tuple[tuple[float, ...], ...]
    agreement: bool

    def mean(self, i: int) -> float:
        """At ``rates[i]``, over the seeds."""
        return sum(self.accuracies[i]) / len(self.accuracies[i])

    def interval(self, i: int) -> tuple[float, float]:
        """The 95 % t interval of the mean at ``rates[i]``, cut to [0, 1]; nan for one seed."""
        low, high = t_interval(self.accuracies[i]) or (math.nan, math.nan)
        return (max(low, 0.0), min(high, 1.0)) if math.isfinite(low) else (low, high)

    @property
    def auc(self) -> float:
        """Area under accuracy against log(rate), as a share of the width: the mean accuracy over the span of rates."""
        means = [self.mean(i) for i in range(len(self.rates))]
        at = [math.log(r) for r in self.rates]
        if len(at) == 1:
            return means[0]
        area = sum((b - a) * (p + q) / 2 for a, b, p, q in zip(at, at[1:], means, means[1:]))
        return area / (at[-1] - at[0])

    def __repr__(self) -> str:
        name = "agreement" if self.agreement else "accuracy"
        rows: list[tuple[str, ...]] = [("rate", name, "95 % interval", "worst")]
        rows += [("0", f"{self.clean:.4f}", "", "")]
        for i, rate in enumerate(self.rates):
            low, high = self.interval(i)
            worst = min(self.accuracies[i])
            rows.append((f"{rate:.0e}", f"{self.mean(i):.4f}", f"[{low:.4f}, {high:.4f}]", f"{worst:.4f}"))
        head = (f"bit flips in {self.what} ({self.dtype}), {len(self.accuracies[0])} seeds, {self.examples} examples; "
                f"area {self.auc:.4f}")  # fmt: skip
        return head + "\n" + table(rows, (8, 10, 20, 8))

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        intervals = [[v if math.isfinite(v) else None for v in self.interval(i)] for i in range(len(self.rates))]
        means = [self.mean(i) for i in range(len(self.rates))]
        return {**asdict(self), "means": means, "intervals": intervals, "auc": self.auc}


def resilience(
    model: nn.Module,
    data: Any,
    labels: Tensor | None = None,
    *,
    rates: Sequence[float] | str = (1e-6, 1e-5, 1e-4),
    repeats: int = 10,
    what: str = "weights",
    dtype: str = "float32",
    seed: int = 0,
) -> Resilience:
    """How a classifier's accuracy falls with the rate of bit flips; the model is left as it was.

    Seeds are ``seed``, ``seed + 1``, ...: two models with parameters of the same shapes get the same flips. An output
    with NaN is a wrong answer.

    Args:
        model: gives one row of scores an example; runs in evaluation mode.
        data: what the model is called with, a batch or a list or loader of batches.
        labels: the right class of each example, in order; without it the model's own answers without flips.
        rates: probabilities of a flip by bit, rising; also as text, ``"1e-6,1e-5"``.
        repeats: seeds for each rate.
        what, dtype: as of :func:`flip_bits`.
        seed: the first.

    Raises:
        ParameterError: for rates or repeats that are none.
        InputError: when labels do not fit the data.

    >>> _ = torch.manual_seed(0)
    >>> net, x = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3)), torch.randn(100, 8)
    >>> found = resilience(net, x, rates=[1e-5, 1e-2], repeats=5)
    >>> found.clean, found.mean(0) > found.mean(1)
    (1.0, True)
    """
    found = rates_of(rates)
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ParameterError(f"resilience: repeats={repeats!r}; it is a positive whole number")
    batches = batches_of(data)
    own = answers(model, batches)
    right = own if labels is None else labels_of(labels, own)
    clean = 1.0
    if labels is not None or dtype != "float32":
        with flip_bits(model, 0.0, what=what, dtype=dtype, seed=seed):
            clean = float((answers(model, batches) == right).double().mean())
    rows = []
    for rate in found:
        row = []
        for repeat in range(repeats):
            with flip_bits(model, rate, what=what, dtype=dtype, seed=seed + repeat):
                row.append(float((answers(model, batches) == right).double().mean()))
        rows.append(tuple(row))
    return Resilience(what, dtype, len(own), clean, found, tuple(rows), labels is None)


def rates_of(rates: Sequence[float] | str) -> tuple[float, ...]:
    """Rates as numbers, rising. Raises ParameterError.

    >>> rates_of("1e-6, 1e-5")
    (1e-06, 1e-05)
    """
    try:
        found = tuple(float(r) for r in (rates.split(",") if isinstance(rates, str) else rates))
    except (TypeError, ValueError):
        found = ()
    if not found or any(not 0.0 < r <= 1.0 for r in found) or list(found) != sorted(set(found)):
        raise ParameterError(f"rates={rates!r}; they are probabilities above 0 up to 1, rising")
    return found


def answers(model: nn.Module, batches: Sequence[Any]) -> Tensor:
    """The class of each example in evaluation mode; -1 where a score is NaN."""
    rows = outputs(model, batches)
    return torch.where(rows.isnan().any(1), -1, rows.argmax(1))


def labels_of(labels: Any, own: Tensor) -> Tensor:
    """The labels as one row on the device of the answers. Raises InputError when there are more or fewer."""
    found = torch.as_tensor(labels).flatten().to(own.device)
    if len(found) != len(own) or found.is_floating_point():
        raise InputError(f"labels: {len(found)} values ({found.dtype}) for {len(own)} examples; they are whole "
                         "numbers, one for each example")  # fmt: skip
    return found
