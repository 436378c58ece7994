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
        self.names = tuple(act.defaults)
        self.defaults = np.array([act.defaults[k] for k in self.names])
        bounds = [(act.params[k].low, act.params[k].high, act.params[k].closed) for k in self.names]
        margin = [0.0 if closed else 1e-9 for _, _, closed in bounds]
        self.low = np.array([lo + m for (lo, _, _), m in zip(bounds, margin)] + [-64.0, -64.0])
        self.high = np.array([hi - m for (_, hi, _), m in zip(bounds, margin)] + [64.0, 64.0])
        self.program = compile_program(act.expr, (act.inputs[0], *self.names), tuple(self.defaults))

    def values(self, x: Array, theta: Array) -> Array:
        """``f(a x + b)`` for every row of ``theta``: the parameters, then a and b."""
        theta = np.minimum(np.maximum(theta, self.low), self.high)
        inner = theta[:, -2:-1] * x[None, :] + theta[:, -1:]
        fixed = [torch.from_numpy(np.ascontiguousarray(theta[:, i : i + 1])) for i in range(len(self.names))]
        y = self.program.run([torch.from_numpy(inner), *fixed], torch.float64)
        return np.asarray(y.expand(inner.shape).numpy())

    def at(self, x: Array, params: Mapping[str, float], how: Transform = PLAIN) -> Array:
        """``c f(a x + b) + d x + e`` with these parameters."""
        theta = np.array([[*(params.get(k, v) for k, v in self.act.defaults.items()), how.a, how.b]])
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


def minimise(model: Model, problem: Problem, starts: Array, free: Sequence[int], rounds: int) -> Fitted:
    """The best theta found by ``rounds`` Levenberg-Marquardt steps from every row of ``starts``; only the
    columns ``free`` move."""
    p, cols = len(free), np.array(free, dtype=int)
    theta = np.clip(np.array(starts), model.low, model.high)
    r, jac, cost = _look(model, problem, theta, cols)
    damping = np.full(len(theta), 1e-2)
    floor = 1e-27 * len(problem.x)
    best_cost, stalled = math.inf, 0
    for _ in range(rounds if p else 0):
        normal = np.einsum("sjn,skn->sjk", jac, jac)
        gradient = np.einsum("sjn,sn->sj", jac, r)
        diagonal = np.einsum("sjj->sj", normal)
        diagonal += damping[:, None] * diagonal + 1e-14 * (1.0 + diagonal.max(1, keepdims=True))
        step = -np.linalg.solve(normal, gradient[:, :, None])[:, :, 0]
        trial = theta.copy()
        reach = 0.5 * (0.5 + np.abs(trial[:, cols]))  # c*f(a*x + b) can be flat along a curve: no long jumps
        trial[:, cols] += np.minimum(np.maximum(step, -reach), reach)
        trial = np.clip(trial, model.low, model.high)
        r2, jac2, cost2 = _look(model, problem, trial, cols)
        better = cost2 < cost
        theta[better], r[better], jac[better], cost[better] = trial[better], r2[better], jac2[better], cost2[better]
        damping = np.where(better, damping * 0.05, damping * 8.0).clip(1e-12, 1e6)
        # An exact fit converges quadratically; a search that creeps is after a near one, good enough already.
        least = float(cost.min())
        stalled = stalled + 1 if least > 0.8 * best_cost else 0
        best_cost = min(least, best_cost)
        if least < floor or stalled >= 4:
            break
    best = int(np.argmin(cost))
    v = model.values(problem.x, theta[best : best + 1])[0]
    how = problem.factors(v) if np.isfinite(v).all() else Transform()
    how = replace(how, a=float(theta[best, -2]), b=float(theta[best, -1]))
    return Fitted(theta[best], how, float(np.sqrt(cost[best] / len(problem.x))))


def _look(model: Model, problem: Problem, theta: Array, cols: NDArray[np.int_]) -> tuple[Array, Array, Array]:
    """Residuals, their derivatives by the free columns (forward differences), and costs."""
    s, p = len(theta), len(cols)
    h = 1e-7 * (1.0 + np.abs(theta[:, cols]))
    h = np.where(theta[:, cols] + h > model.high[cols], -h, h)
    rows = np.repeat(theta[:, None, :], 1 + p, axis=1)
    for j, col in enumerate(cols):
        rows[:, 1 + j, col] += h[:, j]
    if problem.anchor is not None:
        rows[:, :, -1] = problem.anchor[1] - rows[:, :, -2] * problem.anchor[0]
        theta[:, -1] = rows[:, 0, -1]
    v = model.values(problem.x, rows.reshape(s * (1 + p), -1))
    r = problem.residuals(v).reshape(s, 1 + p, -1)
    jac = (r[:, 1:] - r[:, :1]) / h[:, :, None]
    return r[:, 0].copy(), jac, (r[:, 0] ** 2).sum(1)
