"""LipSDP: the best Lipschitz bound that follows from quadratic constraints on the activations.

Write x for the difference of two inputs, z_1, z_2, ... for the differences behind each activation, u_k = A_k z_k for
those in front of it. The constraints say q_k(u_k, z_k+1) >= 0 with q_k a sum of the family's forms, each times its
multiplier. If ``rho |x|^2 - |A_l z_l|^2 - sum q_k >= 0`` for all x, z_1, ..., z_l, a positive semidefinite matrix,
then the network is sqrt(rho)-Lipschitz. A solver chooses the multipliers; that the matrix is positive semidefinite for
them is then proved here, so a solver's tolerance costs tightness and never truth.
"""

from __future__ import annotations

import importlib
import math
import warnings
from typing import Any

import torch
from torch import Tensor

from ogive.errors import OgiveError
from ogive.verify.chain import Chain
from ogive.verify.lipschitz_bounds import norm_bound
from ogive.verify.rounding import gamma

_ROOM = 1e-7  # the least eigenvalue that is asked of the solver, where norms are about one


def lipsdp(chain: Chain) -> tuple[float, tuple[Tensor, ...]]:
    """The bound and the multipliers (those of signed forms, then of free ones) of each activation.

    Raises :class:`~ogive.errors.OgiveError` without CVXPY, and when a solver ends without an answer that can be proved.
    """
    form = _Form(chain)
    if not chain.bends:
        return norm_bound(chain.affine[0]), ()
    cvxpy = _cvxpy()
    rho = cvxpy.Variable(nonneg=True)
    parts, variables = [], []
    for matrices, signed in form.families:
        t = cvxpy.Variable(len(matrices))
        variables.append((t, signed))
        flat = torch.stack([m.flatten() for m in matrices], 1).numpy()
        parts.append(cvxpy.reshape(flat @ t, (form.size, form.size), order="C"))
    first = torch.zeros(form.size, form.size, dtype=torch.float64)
    first[: form.inputs, : form.inputs] = torch.eye(form.inputs, dtype=torch.float64)
    room = _ROOM * torch.eye(form.size, dtype=torch.float64)
    whole = rho * first.numpy() - form.last.numpy() - sum(parts) - room.numpy()
    limits = [t[:signed] >= 0 for t, signed in variables]
    problem = cvxpy.Problem(cvxpy.Minimize(rho), [0.5 * (whole + whole.T) >> 0, *limits])
    known = cvxpy.installed_solvers()
    for solver in ("CLARABEL", "SCS"):
        if solver not in known:
            continue
        try:
            with warnings.catch_warnings():  # of inaccurate answers: they are proved or dropped below
                warnings.simplefilter("ignore")
                problem.solve(solver=solver)
        except cvxpy.error.SolverError:
            continue
        if rho.value is not None:
            found = tuple(_clean(t.value, signed) for t, signed in variables)
            value = _least(form, float(rho.value), found)
            if value is not None:
                return value, found
    raise OgiveError(f"lipschitz: no solver found multipliers for {chain!r} that prove a bound; method='product' needs "
                     "none")  # fmt: skip


def certified(chain: Chain, multipliers: tuple[Tensor, ...], value: float) -> bool:
    """Whether the multipliers prove that the chain is ``value``-Lipschitz; no solver takes part."""
    form = _Form(chain)
    if len(multipliers) != len(form.families):
        return False
    for t, (matrices, signed) in zip(multipliers, form.families):
        if len(t) != len(matrices) or not bool(torch.isfinite(t).all()) or bool((t[:signed] < 0).any()):
            return False
    return form.holds((value / form.scale) ** 2 * (1.0 - 2.0**-50), multipliers)


class _Form:
    """The matrix, in coordinates where each A_k has a norm of about one.

    z_k = s_k z'_k with powers of two s_k: all forms are homogeneous, so q(u, v) >= 0 says the same of u' and v', and
    A'_k = A_k s_k / s_k+1 without rounding.
    """

    def __init__(self, chain: Chain) -> None:
        widths = [chain.affine[0].matrix.shape[1], *(a.matrix.shape[0] for a in chain.affine[:-1])]
        starts = [sum(widths[:k]) for k in range(len(widths) + 1)]
        self.inputs, self.size, self.scale = widths[0], starts[-1], 1.0
        self.families: list[tuple[list[Tensor], int]] = []
        self.errors: list[Tensor] = []  # of each form, in the Frobenius norm
        for k, a in enumerate(chain.affine):
            power = 2.0 ** -round(math.log2(max(norm_bound(a), 1e-300)))
            self.scale /= power
            matrix, doubt = a.matrix * power, float(torch.linalg.matrix_norm(a.doubt)) * power * 1.001
            if k == len(chain.bends):
                wide = torch.zeros(len(matrix), self.size, dtype=torch.float64)
                wide[:, starts[k] :] = matrix
                self.last = wide.T @ wide
                self.last_error = self._error(wide, 1.0, doubt)
                continue
            n = len(matrix)
            wide = torch.zeros(2 * n, self.size, dtype=torch.float64)
            wide[:n, starts[k] : starts[k + 1]] = matrix
            wide[n:, starts[k + 1] : starts[k + 2]] = torch.eye(n, dtype=torch.float64)
            family = chain.bends[k].constraints()
            matrices, errors = [], []
            for m in (*family.signed, *family.free):
                used = m.abs().sum(0).nonzero().flatten()
                part = wide[used]
                matrices.append(part.T @ m[used][:, used] @ part)
                # normals of reflections and slopes are rounded themselves: two units in the last place
                errors.append(self._error(part, float(torch.linalg.matrix_norm(m)), doubt))
            self.families.append((matrices, len(family.signed)))
            self.errors.append(torch.tensor(errors, dtype=torch.float64))

    def _error(self, part: Tensor, size: float, doubt: float) -> float:
        """How far the exact ``part^T M part`` may be from the computed one."""
        length = float(torch.linalg.matrix_norm(part))
        share = 2.0 * gamma(part.shape[0] + 16.0, torch.float64)
        return size * (share * length**2 + 2.1 * doubt * length + 2.0 * doubt**2)

    def holds(self, rho: float, multipliers: tuple[Tensor, ...]) -> bool:
        """Whether the exact matrix is positive semidefinite.

        Cholesky's factorisation of the computed S - c I runs to its end, and c is at least what S may be wrong by and
        gamma/(1 - gamma) trace S. Source: Rump 2006, "Verification of positive definiteness".
        """
        s, size = -self.last, self.last.abs()
        wrong = self.last_error
        for t, (matrices, _), errors in zip(multipliers, self.families, self.errors):
            stack = torch.stack(matrices)
            s = s - torch.tensordot(t, stack, 1)
            size = size + torch.tensordot(t.abs(), stack.abs(), 1)
            wrong += float(t.abs() @ errors)
        s = 0.5 * (s + s.T)
        s[range(self.inputs), range(self.inputs)] += rho
        size[range(self.inputs), range(self.inputs)] += rho
        terms = sum(len(m) for m, _ in self.families) + 8.0
        wrong += gamma(terms, torch.float64) * float(torch.linalg.matrix_norm(size))
        c = 1.01 * wrong + 2.0 * gamma(self.size + 4.0, torch.float64) * float(s.diagonal().abs().sum()) + 1e-280
        s[range(self.size), range(self.size)] -= c
        return int(torch.linalg.cholesky_ex(s).info) == 0


def _least(form: _Form, rho: float, multipliers: tuple[Tensor, ...]) -> float | None:
    """The bound for the least rho near the solver's for which the matrix can be proved positive semidefinite."""
    for k in range(-12, 1):
        try_ = max(rho, 1e-12) * (1.0 + 10.0**k) + 1e-13
        if form.holds(try_, multipliers):
            return form.scale * math.sqrt(try_) * (1.0 + 2.0**-45)
    return None


def _clean(values: Any, signed: int) -> Tensor:
    t = torch.as_tensor(values, dtype=torch.float64).clone()
    t[:signed].clamp_(min=0.0)
    return t


def _cvxpy() -> Any:
    try:
        return importlib.import_module("cvxpy")
    except ImportError:
        raise OgiveError("lipschitz: method='sdp' solves a semidefinite programme with CVXPY, which is not installed: "
                         "pip install 'ogive[verify]'; method='product' needs nothing") from None  # fmt: skip
