"""Fit one activation to stand for another on what a site is given: ``gamma f(alpha x + beta) + delta``."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.calculus import derivative
from ogive.derive.moments import moment
from ogive.derive.tailor import written
from ogive.errors import OgiveError, ParameterError, closest

FITS = ("keep", "refit", "hermite")
_STEPS = 60


@dataclass(frozen=True)
class Fitted:
    """``gamma f(alpha x + beta) + delta`` and its error: root mean square over that of the function replaced."""

    activation: Activation
    alpha: float
    beta: float
    gamma: float
    delta: float
    error: float


def error_of(new: Activation, old: Tensor, x: Tensor) -> float:
    """Root mean square of ``new(x) - old`` over that of ``old``."""
    scale = float(old.square().mean().sqrt())
    return float((new(x) - old).square().mean().sqrt()) / scale if scale > 0.0 else math.nan


def fitted(new: Activation, old: Activation, x: Tensor, how: str) -> Fitted:
    """Fit ``new`` to ``old`` on the inputs ``x`` (float64, one dimension).

    Args:
        how: ``keep``: as it is. ``refit``: least squares over alpha, beta, gamma, delta on the inputs (gamma and delta
            are linear in the error and solved for, alpha and beta by Gauss-Newton steps with damping). ``hermite``:
            gamma and delta that give the mean and the mean slope of ``old`` under the normal distribution with the
            inputs' mean and variance, the first two Hermite coefficients.

    Raises:
        ParameterError: for another word.
        OgiveError: where the fit has no finite answer.
    """
    if how not in FITS:
        raise ParameterError(
            f"fit={how!r}; it is one of {', '.join(FITS)} (did you mean {closest(how, FITS, 1)[0]!r}?)"
        )
    target = old(x)
    if how == "keep":
        return Fitted(new, 1.0, 0.0, 1.0, 0.0, error_of(new, target, x))
    if how == "hermite":
        four = (1.0, 0.0, *_hermite(new, old, float(x.mean()), float(x.std())))
    else:
        four = _least_squares(new, target, x)
    if not all(map(math.isfinite, four)):
        raise OgiveError(f"{new.label} cannot be fitted to {old.label} here; fit='keep' takes it as it is")
    alpha, beta, gamma, delta = four
    if gamma == 0.0:
        raise OgiveError(f"{new.label} has nothing of {old.label} on these inputs; fit='keep' takes it as it is")
    act = written(new, new.defaults, alpha=alpha, beta=beta, gamma=gamma, delta=delta / gamma)
    return Fitted(act, *four, error_of(act, target, x))


def _hermite(new: Activation, old: Activation, mean: float, std: float) -> tuple[float, float]:
    if not std > 0.0:
        raise OgiveError(f"the inputs of {old.label} do not vary, so no slope can be matched")
    of = [[moment(a, f, df, mean=mean, std=std).value for f, df in ((1, 0), (0, 1))] for a in (new, old)]
    if of[0][1] == 0.0:
        raise OgiveError(f"{new.label} is flat on average here (E f' = 0), so it has no slope to match")
    gamma = of[1][1] / of[0][1]
    return gamma, of[1][0] - gamma * of[0][0]


def _least_squares(new: Activation, target: Tensor, x: Tensor) -> tuple[float, float, float, float]:
    """Variable projection: gamma and delta are solved for at every alpha and beta, whose Gauss-Newton columns are those
    of the slope with what gamma and delta can take up removed (Kaufman 1975), damped as Levenberg and Marquardt do."""
    slope = derivative(new)
    flat = target - target.mean()

    def solved(alpha: float, beta: float) -> tuple[float, float, Tensor, Tensor]:
        y = new(alpha * x + beta)
        centred = y - y.mean()
        power = float(centred @ centred)
        gamma = float(centred @ flat) / power if power > 0.0 else 0.0
        unit = centred / power**0.5 if power > 0.0 else centred
        return gamma, float(target.mean() - gamma * y.mean()), gamma * centred - flat, unit

    alpha, beta, damping = 1.0, 0.0, 1e-3
    gamma, delta, rest, unit = solved(alpha, beta)
    loss = float(rest @ rest)
    for _ in range(_STEPS):
        steep = gamma * slope(alpha * x + beta)
        columns = torch.stack([steep * x, steep], 1)
        columns = columns - columns.mean(0)
        columns = columns - unit[:, None] * (unit @ columns)
        normal = columns.T @ columns
        step = torch.linalg.lstsq(normal + damping * torch.diag(normal.diagonal() + 1e-300), columns.T @ rest).solution
        tried = alpha - float(step[0]), beta - float(step[1])
        found = solved(*tried)
        new_loss = float(found[2] @ found[2])
        if math.isfinite(new_loss) and new_loss < loss:
            settled = loss - new_loss <= 1e-12 * loss
            (alpha, beta), (gamma, delta, rest, unit), loss = tried, found, new_loss
            damping = max(damping / 4.0, 1e-12)
            if settled:
                break
        else:
            damping *= 4.0
            if damping > 1e6:
                break
    return alpha, beta, gamma, delta
