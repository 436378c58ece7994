"""Integrands of moments as data: products of powers of f and its derivatives, times Hermite polynomials, and their
derivatives by the mean, the standard deviation and the parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ogive.activation import Activation
from ogive.derive.integrals.integrand import program_of, slope_of
from ogive.derive.integrals.panels import root_density
from ogive.diff import differentiate
from ogive.errors import OgiveError
from ogive.expr import Expr

# c and the (tree, power) of c * product of tree^power.
Product = tuple[float, tuple[tuple[Expr, int], ...]]


@dataclass(frozen=True)
class Term:
    """A sum of ``products`` of total degree ``degree`` times the sum of ``weights`` times the orthonormal Hermite
    polynomials h_k(z) of the ``orders`` k."""

    products: tuple[Product, ...]
    degree: int
    orders: tuple[int, ...] = (0,)
    weights: tuple[float, ...] = field(default=(1.0,))


def term(act: Activation, powers: tuple[int, ...]) -> Term:
    good = all(isinstance(p, int) and not isinstance(p, bool) and p >= 0 for p in powers)
    if not (good and 1 <= len(powers) <= 3 and sum(powers) > 0):
        raise OgiveError(f"moments of {act.label}: powers {powers!r}; each is a tuple of one to three integers from 0, "
                         "the powers of f, f' and f'', not all 0")  # fmt: skip
    factors = tuple((slope_of(act, k), p) for k, p in enumerate(powers) if p)
    return Term(((1.0, factors),), sum(powers))


def by_parameter(term: Term, name: str) -> Term:
    """The derivative of the integrand by a parameter: the product rule; the degree stays."""
    found: list[Product] = []
    for c, factors in term.products:
        for i, (tree, p) in enumerate(factors):
            lowered = ((tree, p - 1),) if p > 1 else ()
            found.append((c * p, (*factors[:i], *lowered, *factors[i + 1 :], (differentiate(tree, name), 1))))
    return Term(tuple(found), term.degree, term.orders, term.weights)


def by_mean(term: Term) -> Term:
    """std d/dmean: by parts onto the density, which also counts jumps, as -(h_k phi)' = sqrt(k+1) h_(k+1) phi."""
    (k,) = term.orders
    return Term(term.products, term.degree, (k + 1,), (math.sqrt(k + 1.0),))


def by_std(term: Term) -> Term:
    """std d/dstd: -h_k phi - z (h_k phi)' = (z sqrt(k+1) h_(k+1) - h_k) phi, and z h_(k+1) is
    sqrt(k+2) h_(k+2) + sqrt(k+1) h_k."""
    (k,) = term.orders
    return Term(term.products, term.degree, (k + 2, k), (math.sqrt((k + 1.0) * (k + 2.0)), float(k)))


def by_parts(act: Activation, term: Term) -> Term | None:
    """std E[f^a f' h_k] without the derivative, sqrt(k+1) E[f^(a+1) h_(k+1)]/(a+1), for an f without jumps; None for
    a term of another form or the declared backward of a surrogate."""
    tree, slope = slope_of(act, 0), slope_of(act, 1)
    if act.backward is not None or len(term.products) != 1:
        return None
    ((c, factors),) = term.products
    powers = dict(factors)
    a = powers.pop(tree, 0)
    if powers != {slope: 1}:
        return None
    weights = tuple(w * math.sqrt(k + 1.0) for w, k in zip(term.weights, term.orders))
    return Term(((c / (a + 1.0), ((tree, a + 1),)),), a + 1, tuple(k + 1 for k in term.orders), weights)


def integrand(act: Activation, terms: Sequence[Term], fixed: Sequence[Tensor]) -> Callable[..., Tensor]:
    """All ``terms`` at once; ``fixed`` are the parameters, of shape () or (owners,)."""
    trees = trees_of(terms)
    programs = [program_of(tree, act) for tree in trees]
    top = max(k for t in terms for k in t.orders)

    def run(x: Tensor, z: Tensor, owner: Tensor) -> Tensor:
        settings = [v[owner][:, None] if v.dim() else v for v in fixed]
        raw = [p.run([x, *settings], torch.float64).expand_as(x) for p in programs]
        roots = {d: root_density(z, d) for d in {t.degree for t in terms}}
        known = {(tree, d): y * r for tree, y in zip(trees, raw) for d, r in roots.items()}
        h = [torch.ones_like(z), z]
        for k in range(1, top):
            h.append((z * h[k] - math.sqrt(k) * h[k - 1]) / math.sqrt(k + 1.0))
        rows = []
        for t in terms:
            total: Any = 0.0
            for c, product in t.products:
                y: Any = c
                for tree, p in product:
                    y = y * known[tree, t.degree] ** p
                total = total + y
            if t.orders != (0,):
                total = total * sum(w * h[k] for w, k in zip(t.weights, t.orders))
            rows.append(total if isinstance(total, Tensor) else torch.zeros_like(z))
        return torch.stack(rows)

    return run


def trees_of(terms: Sequence[Term]) -> list[Expr]:
    """All distinct expressions in ``terms``."""
    return list(dict.fromkeys(tree for t in terms for _, product in t.products for tree, _ in product))
