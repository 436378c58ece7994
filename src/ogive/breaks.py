"""Break points: where a formula switches branch, found from the tree."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from ogive import expr as tree
from ogive.expr import Expr, value_of
from ogive.ops import OPS

REACH = 64.0
_STEPS = ("floor", "round")  # they break at every level, not at one zero


def _switches(expr: Expr) -> list[Expr]:
    """The arguments whose zeros are break points."""
    found: list[Expr] = []
    for n in expr.walk():
        if n.args and OPS[n.op].facts.breaks and n.op not in _STEPS:
            found.append(tree.sub(*n.args) if len(n.args) == 2 else n.args[0])
    return found


def affine(expr: Expr, name: str) -> tuple[Expr, Expr] | None:
    """(slope, intercept) when ``expr`` is affine in ``name``, else None."""
    parts: dict[Expr, tuple[Expr, Expr] | None] = {}
    zero, one = tree.const(0.0), tree.const(1.0)
    for n in expr.walk():
        got = [parts[a] for a in n.args]
        if n.op == "var" and n.data == name:
            parts[n] = (one, zero)
        elif name not in n.variables():
            parts[n] = (zero, n)
        elif any(g is None for g in got):
            parts[n] = None
        elif n.op in ("add", "sub"):
            (a, b), (c, d) = got  # type: ignore[misc]
            parts[n] = (a + c, b + d) if n.op == "add" else (a - c, b - d)
        elif n.op == "neg":
            a, b = got[0]  # type: ignore[misc]
            parts[n] = (-a, -b)
        elif n.op == "mul" and any(value_of(g[0]) == 0.0 for g in got if g):
            (a, b), (c, d) = got  # type: ignore[misc]
            parts[n] = (b * c, b * d) if value_of(a) == 0.0 else (a * d, b * d)
        elif n.op == "div" and got[1] and value_of(got[1][0]) == 0.0:
            (a, b), (_, d) = got  # type: ignore[misc]
            parts[n] = (a / d, b / d)
        else:
            parts[n] = None
    return parts[expr]


def breakpoints(expr: Expr, name: str, params: Mapping[str, float]) -> list[float]:
    """Zeros of every switching argument in [-REACH, REACH], sorted and distinct. Of a gate, those that do not
    depend on the other input."""
    from ogive.kernels.program import compile_program

    def number(e: Expr) -> float:
        names = tuple(params)
        run = compile_program(e, ("_", *names), tuple(params.values()))
        zero = torch.zeros(1, dtype=torch.float64)
        return float(
            run.run([zero, *(torch.tensor(v, dtype=torch.float64) for v in params.values())], torch.float64)[0]
        )

    found: set[float] = set()
    known = {name, *params}
    for switch in (s for s in _switches(expr) if s.variables() <= known):
        line = affine(switch, name)
        if line is not None:
            slope, intercept = number(line[0]), number(line[1])
            if slope != 0.0:
                found.add(-intercept / slope + 0.0)
            continue
        found.update(_roots(switch, name, params))
    steps = [n for n in expr.walk() if n.op in _STEPS and n.variables() <= known]
    for n in steps:
        found.update(_roots_of_steps(n, name, params))
    return sorted(p for p in found if abs(p) <= REACH)


def _sampler(expr: Expr, name: str, params: Mapping[str, float]) -> tuple[object, list[torch.Tensor]]:
    from ogive.kernels.program import compile_program

    program = compile_program(expr, (name, *params), tuple(params.values()))
    return program, [torch.tensor(v, dtype=torch.float64) for v in params.values()]


def _bisect(f: object, fixed: list[torch.Tensor], lo: torch.Tensor, hi: torch.Tensor) -> torch.Tensor:
    """Per bracket, the first double after the change (64 halvings reach neighbouring doubles)."""
    start = f.run([lo, *fixed], torch.float64)  # type: ignore[attr-defined]
    for _ in range(64):
        mid = 0.5 * (lo + hi)
        same = torch.sign(f.run([mid, *fixed], torch.float64)) == torch.sign(start)  # type: ignore[attr-defined]
        lo, hi = torch.where(same, mid, lo), torch.where(same, hi, mid)
    return hi


def _grid() -> torch.Tensor:
    return torch.linspace(-REACH, REACH, 8193, dtype=torch.float64)


def _roots(switch: Expr, name: str, params: Mapping[str, float]) -> list[float]:
    program, fixed = _sampler(switch, name, params)
    x = _grid()
    s = torch.sign(program.run([x, *fixed], torch.float64)).expand_as(x)  # type: ignore[attr-defined]
    exact = x[s == 0]
    if exact.numel() > 64:  # the switch is flat, not crossed
        exact = exact[:0]
    crossing = (s[1:] * s[:-1] < 0).nonzero().flatten()
    roots = _bisect(program, fixed, x[crossing], x[crossing + 1]) if crossing.numel() else x[:0]
    return [float(v) for v in torch.cat([exact, roots])]


def _roots_of_steps(node: Expr, name: str, params: Mapping[str, float]) -> list[float]:
    """Jumps of floor and round: where the stepped value changes."""
    program, fixed = _sampler(node, name, params)
    x = _grid()
    v = program.run([x, *fixed], torch.float64).expand_as(x)  # type: ignore[attr-defined]
    jumps = (v[1:] != v[:-1]).nonzero().flatten()
    lo, hi, before = x[jumps], x[jumps + 1], v[jumps]
    for _ in range(64):  # halvings reach neighbouring doubles; the first after the jump is kept
        mid = 0.5 * (lo + hi)
        same = program.run([mid, *fixed], torch.float64).expand_as(mid) == before  # type: ignore[attr-defined]
        lo, hi = torch.where(same, mid, lo), torch.where(same, hi, mid)
    return [float(p) for p in hi]
