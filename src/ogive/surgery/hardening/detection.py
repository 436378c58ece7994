"""Energy of logits, and how well a score tells one data set from another: AUROC and false positives at 95 %."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ogive.errors import InputError, ParameterError


def energy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """``T log sum_c exp(z_c/T)`` of each row, the negative free energy: large for inputs like the training data.

    Source: Liu et al. 2020, "Energy-based out-of-distribution detection". Raises ParameterError for T that is not
    positive.

    >>> energy(torch.tensor([[0.0, 0.0]]))
    tensor([0.6931])
    """
    if not temperature > 0.0:
        raise ParameterError(f"energy: temperature={temperature!r}; it is positive")
    return temperature * torch.logsumexp(logits / temperature, -1)


def auroc(inside: ArrayLike, outside: ArrayLike) -> float:
    """The probability that an inside score is above an outside one, ties counted half; exact, by ranks.

    Args:
        inside: scores of data that should score high, shape (n,).
        outside: scores of the other data, shape (m,).

    Raises:
        InputError: when either is empty or has NaN.

    >>> auroc([3.0, 2.0], [2.0, 1.0])
    0.875
    """
    a, b = _scores(inside, "inside"), _scores(outside, "outside")
    ordered = np.sort(b)
    below, upto = np.searchsorted(ordered, a, "left"), np.searchsorted(ordered, a, "right")
    return float((below + upto).sum() / (2.0 * a.size * b.size))


def fpr_at_tpr(inside: ArrayLike, outside: ArrayLike, tpr: float = 0.95) -> float:
    """The share of outside scores at or above the largest threshold that keeps at least ``tpr`` of the inside ones.

    Args:
        inside, outside: as of :func:`auroc`.
        tpr: in (0, 1]; 0.95 gives FPR95.

    Raises:
        ParameterError: for another tpr. InputError: when either is empty or has NaN.

    >>> fpr_at_tpr([1.0, 2.0, 3.0, 4.0], [0.0, 1.5, 2.5, 0.5], tpr=0.75)
    0.25
    """
    if not 0.0 < tpr <= 1.0:
        raise ParameterError(f"fpr_at_tpr: tpr={tpr!r}; it is above 0 and at most 1")
    a, b = _scores(inside, "inside"), _scores(outside, "outside")
    kept = int(np.ceil(tpr * a.size - 1e-9))
    threshold = np.sort(a)[a.size - kept]
    return float((b >= threshold).mean())


def _scores(values: ArrayLike, name: str) -> NDArray[np.float64]:
    found = np.asarray(values.detach().cpu() if isinstance(values, Tensor) else values, dtype=np.float64).ravel()
    if not found.size or np.isnan(found).any():
        raise InputError(f"{name}: {found.size} scores, {int(np.isnan(found).sum())} of them NaN; give numbers")
    return found
