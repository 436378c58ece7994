"""``radius``: the largest ball around each example in which the answer is proved, by bisection."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.verify.robustness import VERIFIED, verify


@dataclass(frozen=True)
class Radii:
    """For each example a radius that is proved (0 where the model is wrong) and the smallest one that was not.

    ``attacked`` is a radius at which a witness was found, infinity where none was.
    """

    proved: tuple[float, ...]
    not_proved: tuple[float, ...]
    attacked: tuple[float, ...]
    norm: float
    method: str
    seconds: float

    def __repr__(self) -> str:
        some = sorted(self.proved)
        middle = some[len(some) // 2]
        return (f"Radii({len(some)} examples, {self.method}: median {middle:.4g}, least {some[0]:.4g}, "
                f"greatest {some[-1]:.4g}; {self.seconds:.2f} s)")  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """All fields, ready for JSON (infinity as None)."""

        def plain(values: tuple[float, ...]) -> list[float | None]:
            return [v if math.isfinite(v) else None for v in values]

        return {"proved": plain(self.proved), "not_proved": plain(self.not_proved), "attacked": plain(self.attacked),
                "norm": "inf" if self.norm == math.inf else self.norm, "method": self.method,
                "seconds": self.seconds}  # fmt: skip


def radius(
    model: nn.Module, x: Tensor, *, most: float = 1.0, rounds: int = 12, norm: float = math.inf,
    labels: Tensor | None = None, method: str = "crown", **more: Any,
) -> Radii:  # fmt: skip
    """The largest radius up to ``most`` at which :func:`ogive.verify.verify` proves the answer, for each example.

    ``rounds`` halvings on a scale of ratios from ``most``/4096 to ``most``; every radius in ``proved`` was proved by
    itself. Other arguments are those of ``verify``. Raises :class:`~ogive.errors.InputError` as it does.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2))
    >>> found = radius(net, torch.randn(3, 2))
    >>> all(a < b for a, b in zip(found.proved, found.not_proved))
    True
    """
    if not isinstance(most, (int, float)) or not 0.0 < most < math.inf or type(rounds) is not int or rounds < 1:
        raise InputError(f"radius: most={most!r}, rounds={rounds!r}; it takes a positive radius and a whole number")
    began = time.perf_counter()
    first = verify(model, x, 0.0, norm=norm, labels=labels, method="crown", **more)
    known = torch.tensor(first.labels)
    n = len(x)
    good = [0.0] * n
    bad = [math.inf] * n
    hit = [0.0 if v != VERIFIED else math.inf for v in first.verdicts]
    low, high = [most / 4096.0] * n, [float(most)] * n
    open_ = [i for i in range(n) if hit[i] > 0.0]
    for i in range(n):
        if i not in open_:
            bad[i] = 0.0
    tries = [most] * n
    for _ in range(rounds):
        # examples that try the same radius are verified together
        for eps in sorted({tries[i] for i in open_}):
            some = [i for i in open_ if tries[i] == eps]
            found = verify(model, x[some], eps, norm=norm, labels=known[some], method=method, **more)
            for k, i in enumerate(some):
                if found.verdicts[k] == VERIFIED:
                    good[i], low[i] = max(good[i], eps), max(low[i], eps)
                else:
                    bad[i], high[i] = min(bad[i], eps), min(high[i], eps)
                    if k in found.witnesses:
                        hit[i] = min(hit[i], eps)
        open_ = [i for i in open_ if good[i] < most and high[i] / low[i] > 1.0 + 1e-3]
        for i in open_:
            tries[i] = math.sqrt(low[i] * high[i])
    return Radii(tuple(good), tuple(bad), tuple(hit), float(norm), method, time.perf_counter() - began)
