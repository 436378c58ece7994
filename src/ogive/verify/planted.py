"""Networks with a hidden counterexample, which no sound method may certify.

Each network is trained until its margin is positive on points all over a box, those of an attack among them, and
negative at one point, the witness; then its last bias is moved until the margin at the lowest point that is known is
just below zero. The true minimum is thus hardly negative: bounds that are too high by more than that certify the
network, and are wrong. Source: Zhou et al. 2025, "Testing neural network verifiers: a soundness benchmark with hidden
counterexamples".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import InputError
from ogive.layers.act import Act
from ogive.verify.attack import attack, margins
from ogive.verify.network import Box
from ogive.verify.robustness import METHODS, VERIFIED, verify

ACTIVATIONS = ("relu", "leaky_relu", "hardswish", "sigmoid", "tanh", "silu", "gelu", "mish", "elu", "softsign",
               "sin(x)", "x*sigmoid(1.3*x)", "exp(-x**2)")  # fmt: skip
_STEPS = 150
_DEPTH = 1e-4  # how far below zero the margin is at the witness, relative to its spread


@dataclass(frozen=True, eq=False)
class Hidden:
    """A float64 network of two scores, and a box where the first is the greater but for a place near ``witness``.

    The box has ``eps`` on every side of ``centre``. ``margin`` is the margin at the witness, below zero;
    ``attacked`` and ``sampled`` say whether an attack and random points find any such place.
    """

    model: nn.Module
    centre: Tensor
    eps: float
    witness: Tensor
    margin: float
    attacked: bool
    sampled: bool

    def __repr__(self) -> str:
        return f"Hidden({self.model!r}, eps={self.eps:g}, margin {self.margin:.3g} at the witness)"


@dataclass(frozen=True)
class Row:
    """One activation: how many networks, how many of them each method certified, how many were found out."""

    activation: str
    networks: int
    certified: dict[str, int]
    attacked: int
    sampled: int


@dataclass(frozen=True)
class SelfTest:
    """The score: ``false`` certificates have to be none."""

    rows: tuple[Row, ...]
    methods: tuple[str, ...]

    @property
    def false(self) -> int:
        """Certificates that were given for networks with a known counterexample."""
        return sum(n for r in self.rows for n in r.certified.values())

    @property
    def networks(self) -> int:
        return sum(r.networks for r in self.rows)

    def __repr__(self) -> str:
        found, seen = (sum(getattr(r, k) for r in self.rows) for k in ("attacked", "sampled"))
        lines = [f"SelfTest: {self.false} false certificates in {self.networks} networks x {len(self.methods)} "
                 f"methods; an attack finds {found} of the counterexamples, sampling {seen}"]  # fmt: skip
        lines += [f"  {r.activation}: {n} of {r.networks} certified by {m}" for r in self.rows
                  for m, n in r.certified.items() if n]  # fmt: skip
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {"false": self.false, "methods": list(self.methods), "rows": [asdict(r) for r in self.rows]}


def selftest(
    activations: Sequence[Any] = ACTIVATIONS, methods: Sequence[str] = METHODS, count: int = 2, budget: float = 0.5,
    seed: int = 0,
) -> SelfTest:  # fmt: skip
    """Try to have networks with hidden counterexamples certified, ``count`` for each activation.

    Args:
        activations: names, formulas, or anything else ``ogive.Act`` takes.
        methods: of :func:`ogive.verify.verify`.
        budget: seconds of branch and bound on one network.
        seed: of networks and boxes.

    >>> selftest(["tanh"], ["ibp", "crown"], count=1).false
    0
    """
    if unknown := [m for m in methods if m not in METHODS]:
        raise InputError(f"selftest: method {unknown[0]!r}; there are {', '.join(METHODS)}")
    rows = []
    for i, act in enumerate(activations):
        made = [hidden(act, seed=seed + 1000 * i + k) for k in range(count)]
        certified = {m: sum(_certifies(h, m, budget) for h in made) for m in methods}
        rows.append(Row(str(act), count, certified, sum(h.attacked for h in made), sum(h.sampled for h in made)))
    return SelfTest(tuple(rows), tuple(methods))


def _certifies(plant: Hidden, method: str, budget: float) -> bool:
    zero = torch.zeros(1, dtype=torch.long)
    found = verify(plant.model, plant.centre, plant.eps, labels=zero, method=method, attacks=False, budget=budget,
                   steps=10)  # fmt: skip
    return found.verdicts[0] == VERIFIED


def hidden(act: Any, inputs: int = 3, width: int = 12, seed: int = 0) -> Hidden:
    """A network ``inputs -> width -> width -> 2`` with ``act`` between, and its counterexample.

    The witness lies in the box in float64 and its margin, evaluated by the model in float64, is negative by a
    factor of a million more than that evaluation can be wrong by.
    """
    generator = torch.Generator().manual_seed(seed)
    draw = lambda *shape: 2.0 * torch.rand(*shape, generator=generator, dtype=torch.float64) - 1.0  # noqa: E731
    last = nn.Linear(width, 2)
    model = nn.Sequential(nn.Linear(inputs, width), Act(act), nn.Linear(width, width), Act(act), last).double()
    for p in model.parameters():
        fan = p.shape[-1] if p.dim() > 1 else width
        p.data = draw(*p.shape) * (3.0 / fan) ** 0.5
    centre, eps = draw(1, inputs), 0.5 + 0.5 * float(draw(1).abs())
    witness = centre + 0.9 * eps * draw(1, inputs)
    box = Box(centre - eps, centre + eps)
    label, size = torch.zeros(1, dtype=torch.long), torch.full((1,), eps, dtype=torch.float64)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(_STEPS):
        x = centre + eps * draw(64, inputs)
        if step >= _STEPS // 2:
            x = _downhill(model, x, box, 0.2 * eps)
        values = margins(model, x, label.expand(len(x)))
        optimiser.zero_grad()
        ((0.5 - values).clamp(min=0.0).mean() + (0.1 + margins(model, witness, label)).clamp(min=0.0).mean()).backward()
        optimiser.step()
    for p in model.parameters():
        p.requires_grad_(False)
    found = attack(model, centre, label, box, size, float("inf"), seed=seed)
    points = torch.cat([centre + eps * draw(4096, inputs), found, witness])
    points = torch.cat([points, _downhill(model, points[-64:], box, 0.02 * eps, 60)])
    values = margins(model, points, label.expand(len(points)))
    worst = int(values.argmin())
    depth = _DEPTH * float(values.max() - values.min()) + 1e-9
    last.bias[0] -= values[worst] + depth
    values = margins(model, points, label.expand(len(points)))
    again = attack(model, centre, label, box, size, float("inf"), seed=seed + 1, steps=20, restarts=1)
    attacked = bool(margins(model, again, label) < 0.0)
    return Hidden(model, centre, eps, points[worst], float(values[worst]), attacked, bool((values[:4096] < 0.0).any()))


def _downhill(model: nn.Module, x: Tensor, box: Box, rate: float, steps: int = 3) -> Tensor:
    """Some steps towards smaller margins, inside the box."""
    label = torch.zeros(len(x), dtype=torch.long)
    for k in range(steps):
        x = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(margins(model, x, label).sum(), x)
        x = torch.minimum(torch.maximum(x - rate * 0.95**k * grad.sign(), box.lo), box.hi)
    return x.detach()
