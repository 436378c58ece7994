"""Fitting a formula's parameters, and the scaling and shift around it, to samples of another function.

Levenberg-Marquardt from several starts at once: every start and every finite difference of an iteration is a
row of one tensor. Factors that enter linearly (output scale, output shift, added slope) are projected out, so
the search runs over the rest only (variable projection, Golub and Pereyra 1973).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ogive.activation import Activation
from ogive.expr import number_text
from ogive.kernels.program import compile_program

Array = NDArray[np.float64]
_BAD = 1e3  # a residual where the formula has no value


@dataclass(frozen=True)
class Transform:
    """``c*f(a*x + b) + d*x + e``."""

    a: float = 1.0
    b: float = 0.0
    c: float = 1.0
    d: float = 0.0
    e: float = 0.0

    @property
    def changed(self) -> int:
        """How many of the five numbers are not those of the identity."""
        return sum((self.a != 1.0, self.b != 0.0, self.c != 1.0, self.d != 0.0, self.e != 0.0))

    def text(self, name: str) -> str:
        """The transform as a formula in ``name``.

        >>> Transform(a=2.0, c=0.5, e=-1.0).text("tanh")
        '0.5*tanh(2*x) - 1'
        """
        inner = _times(self.a, "x") + _plus(self.b)
        text = _times(self.c, f"{name}({inner})")
        if self.d:
            text += (" - " if self.d < 0 else " + ") + _times(abs(self.d), "x")
        return text + _plus(self.e)


PLAIN = Transform()


def _times(factor: float, text: str) -> str:
    return text if factor == 1.0 else "-" + text if factor == -1.0 else f"{number_text(factor)}*{text}"


def _plus(shift: float) -> str:
    return "" if shift == 0.0 else f" {'-' if shift < 0 else '+'} {number_text(abs(shift))}"


class Model:
    """One catalogue entry as a function of x, its parameters and a transform."""

    def __init__(self, act: Activation) -> None:
        self.act = act
        free = act.expr.variables()  # a surrogate derivative may have parameters that the value has not
        self.names = tuple(k for k in act.defaults if k in free)
        self.defaults = np.array([act.defaults[k] for k in self.names])
        bounds = [(act.params[k].low, act.params[k].high, act.params[k].closed) for k in self.names]
        margin = [0.0 if closed else 1e-9 for _, _, closed in bounds]
        self.low = np.array([lo + m for (lo, _, _), m in zip(bounds, margin)] + [-64.0, -64.0])
        self.high = np.array([hi - m for (_, hi, _), m in zip(bounds, margin)] + [64.0, 64.0])
        self.program = compile_program(act.expr, (act.inputs[0], *self.names), tuple(self.defaults))

    def values(self, x: Array, theta: Array) -> Array:
        """``f(a x + b)`` for every row of ``theta``: the parameters, then a and b."""
        inside = torch.from_numpy(np.minimum(np.maximum(theta, self.low), self.high))
        inner = inside[:, -2:-1] * torch.from_numpy(x) + inside[:, -1:]
        fixed = [inside[:, i : i + 1] for i in range(len(self.names))]
        y = self.program.run_steps([inner, *fixed], torch.float64)  # the cures for x = inf and NaN are not needed
        return np.asarray(y.expand(inner.shape).numpy())

    def at(self, x: Array, params: Mapping[str, float], how: Transform = PLAIN) -> Array:
        """``c f(a x + b) + d x + e`` with these parameters."""
        theta = np.array([[*(params.get(k, v) for k, v in zip(self.names, self.defaults)), how.a, how.b]])
        y = self.values(x, theta)[0]
        return y if how.changed == 0 else how.c * y + how.d * x + how.e

    @property
    def start(self) -> Array:
        """Default parameters and the identity transform."""
        return np.concatenate([self.defaults, [1.0, 0.0]])


@dataclass(frozen=True)
class Linear:
    """Which linear factors are free: ``scale`` c, ``slope`` d, ``shift`` e."""

    scale: bool = False
    slope: bool = False
    shift: bool = False


@dataclass(frozen=True)
class Fitted:
    """The best of a fit: all of theta (parameters, a, b), the linear factors and the root mean square
    residual, weighted by 1/(1 + |y|)."""

    theta: Array
    how: Transform
    residual: float


class Problem:
    """Samples of the function to be explained, and what may vary linearly. An ``anchor`` (t, s) ties b to a
    so that x = t stays at a t + b = s: a jump gives no slope to follow."""

    def __init__(self, x: Array, y: Array, linear: Linear, anchor: tuple[float, float] | None = None) -> None:
        self.x, self.linear, self.anchor = x, linear, anchor
        self.weight = 1.0 / (1.0 + np.abs(y))
        self.y = y * self.weight
        columns = [x * self.weight] * linear.slope + [self.weight] * linear.shift
        q = np.linalg.qr(np.stack(columns, 1))[0] if columns else np.zeros((len(x), 0))
        self.q = q
        self.rest = self.y - q @ (q.T @ self.y)

    def residuals(self, v: Array) -> Array:
        """Rows of weighted residuals after the best linear factors."""
        good: NDArray[np.bool_] = np.asarray(np.isfinite(v).all(1))
        v = (v if good.all() else np.where(good[:, None], v, 0.0)) * self.weight
        v = v - (v @ self.q) @ self.q.T
        if self.linear.scale:
            norm = (v * v).sum(1)
            factor = (v @ self.rest) / np.where(norm > 1e-18, norm, np.inf)
            r = self.rest - factor[:, None] * v
        else:
            r = self.rest - v
        r[~good] = _BAD
        return np.asarray(np.minimum(np.maximum(r, -1e12), 1e12))

    def factors(self, v: Array) -> Transform:
        """The best linear factors for one row."""
        columns = [v] * self.linear.scale + [self.x] * self.linear.slope + [np.ones_like(v)] * self.linear.shift
        target = self.y - (0.0 if self.linear.scale else v * self.weight)
        if not columns:
            return Transform()
        a = np.stack(columns, 1) * self.weight[:, None]
        size = np.sqrt((a * a).sum(0)).clip(1e-300)
        got = list(np.linalg.lstsq(a / size, target, rcond=None)[0] / size)
        c = float(got.pop(0)) if self.linear.scale else 1.0
        d = float(got.pop(0)) if self.linear.slope else 0.0
        return Transform(c=c, d=d, e=float(got[0]) if got else 0.0)


class Descent:
    """A search for the best theta by Levenberg-Marquardt steps from every row of ``starts``; only the columns
    ``free`` move."""

    def __init__(self, model: Model, problem: Problem, starts: Array, free: Sequence[int]) -> None:
        self.model, self.problem, self.cols = model, problem, np.array(free, dtype=int)
        self.theta = np.minimum(np.maximum(starts, model.low), model.high)
        self.r, self.jac, self.cost = _look(model, problem, self.theta, self.cols)
        self.damping = np.full(len(self.theta), 1e-3)
        self.best = float(self.cost.min())

    @property
    def residual(self) -> float:
        """Root mean square of the best row."""
        return math.sqrt(self.best / len(self.problem.x))

    def run(self, rounds: int) -> Descent:
        """Take up to ``rounds`` steps, fewer when the fit is exact or creeps."""
        low, high, eye = self.model.low[self.cols], self.model.high[self.cols], np.eye(len(self.cols))
        floor, stalled = 1e-29 * len(self.problem.x), 0
        for _ in range(rounds if len(self.cols) else 0):
            if self.best < floor or stalled >= 4:
                break
            normal = self.jac @ self.jac.transpose(0, 2, 1)
            diagonal = np.einsum("sjj->sj", normal)
            extra = self.damping[:, None] * diagonal + 1e-14 * (1.0 + diagonal.max(1, keepdims=True))
            step = -np.linalg.solve(normal + extra[:, :, None] * eye, self.jac @ self.r[:, :, None])[:, :, 0]
            trial = self.theta.copy()
            here = trial[:, self.cols]
            reach = 0.5 * (0.5 + np.abs(here))  # c*f(a*x + b) can be flat along a curve: no long jumps
            trial[:, self.cols] = np.minimum(np.maximum(here + np.minimum(np.maximum(step, -reach), reach), low), high)
            r, jac, cost = _look(self.model, self.problem, trial, self.cols)
            better = cost < self.cost
            if better.all():
                self.theta, self.r, self.jac, self.cost = trial, r, jac, cost
            else:
                for kept, new in ((self.theta, trial), (self.r, r), (self.jac, jac), (self.cost, cost)):
                    kept[better] = new[better]
            self.damping = np.minimum(np.maximum(np.where(better, self.damping * 0.02, self.damping * 8.0), 1e-13), 1e6)
            # An exact fit converges quadratically; a search that creeps is after a near one, good enough already.
            least = float(self.cost.min())
            stalled = stalled + 1 if least > 0.8 * self.best else 0
            self.best = min(least, self.best)
        return self

    def alone(self) -> Descent:
        """Go on with the best row only."""
        best = int(np.argmin(self.cost))
        for name in ("theta", "r", "jac", "cost", "damping"):
            setattr(self, name, getattr(self, name)[best : best + 1])
        return self

    def fitted(self) -> Fitted:
        """The best theta and its linear factors."""
        best = int(np.argmin(self.cost))
        v = self.model.values(self.problem.x, self.theta[best : best + 1])[0]
        how = self.problem.factors(v) if np.isfinite(v).all() else Transform()
        how = replace(how, a=float(self.theta[best, -2]), b=float(self.theta[best, -1]))
        return Fitted(self.theta[best], how, self.residual)


def minimise(model: Model, problem: Problem, starts: Array, free: Sequence[int], rounds: int) -> Fitted:
    """The best theta found by ``rounds`` steps of a :class:`Descent`."""
    return Descent(model, problem, starts, free).run(rounds).fitted()


def _look(model: Model, problem: Problem, theta: Array, cols: NDArray[np.int_]) -> tuple[Array, Array, Array]:
    """Residuals, their derivatives by the free columns (forward differences), and costs."""
    s, p = len(theta), len(cols)
    h = 1e-7 * (1.0 + np.abs(theta[:, cols]))
    h = np.where(theta[:, cols] + h > model.high[cols], -h, h)
    rows = np.repeat(theta[:, None, :], 1 + p, axis=1)
    rows[:, np.arange(1, 1 + p), cols] += h
    if problem.anchor is not None:
        rows[:, :, -1] = problem.anchor[1] - rows[:, :, -2] * problem.anchor[0]
        theta[:, -1] = rows[:, 0, -1]
    v = model.values(problem.x, rows.reshape(s * (1 + p), -1))
    r = problem.residuals(v).reshape(s, 1 + p, -1)
    jac = (r[:, 1:] - r[:, :1]) / h[:, :, None]
    first = r[:, 0].copy()
    return first, jac, (first * first).sum(1)
