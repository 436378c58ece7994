"""ProSparse: rectifiers, training under an L1 term that rises along sines, then thresholds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ogive.errors import OgiveError, ParameterError
from ogive.surgery.effect import batches_of, called, rows_of, trainable, trains
from ogive.surgery.follow import arguments
from ogive.surgery.modes import evaluating, training
from ogive.surgery.report import Change, Figure, Report
from ogive.surgery.sparsity.blocks import Blocks, FeedForward, feed_forwards
from ogive.surgery.sparsity.calibrate import share_in
from ogive.surgery.sparsity.conduct import Scores, conduct
from ogive.surgery.sparsity.gates import fat_relu, is_rectifier
from ogive.surgery.sparsity.perplexity import token_losses
from ogive.surgery.sparsity.relufy import relufy

Loss = Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class SineStages:
    """Factor of the L1 term by step: ``factors[0]`` until ``ends[0]``, then from each factor to the next along a sine.

    In a stage from step S to step T the factor is ``a + (b - a) (1 + sin(pi (step - S)/(T - S) - pi/2))/2`` with a
    and b the factors of the stages before and now: flat at both ends. After the last stage it stays.

    Args:
        ends: last steps of the stages, rising, at least 1.
        factors: one for each stage, at least 0 and not falling.

    Raises:
        ParameterError: for others.

    Source: Song, Han, Zhang, Hu, Shi, Li, Chen, Liu, Li, Yang and Sun 2024, "ProSparse: Introducing and Enhancing
    Intrinsic Activation Sparsity within Large Language Models".

    >>> plan = SineStages((10, 30), (0.1, 0.5))
    >>> [round(plan.at(step), 3) for step in (0, 10, 20, 30, 99)]
    [0.1, 0.1, 0.3, 0.5, 0.5]
    """

    ends: tuple[int, ...]
    factors: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.ends or len(self.ends) != len(self.factors):
            raise ParameterError(f"SineStages: {len(self.ends)} ends and {len(self.factors)} factors; one each")
        if any(b <= a for a, b in zip((0, *self.ends), self.ends)):
            raise ParameterError(f"SineStages: ends={self.ends}; they rise from at least 1")
        if any(not (math.isfinite(b) and b >= a) for a, b in zip((0.0, *self.factors), self.factors)):
            raise ParameterError(f"SineStages: factors={self.factors}; they are at least 0, finite, and do not fall")

    def at(self, step: int) -> float:
        """The factor at a step, counted from 0."""
        began = 0
        for i, end in enumerate(self.ends):
            if step < end:
                before = self.factors[max(i - 1, 0)]
                way = 0.5 * (1.0 + math.sin(math.pi * (step - began) / (end - began) - 0.5 * math.pi))
                return before + way * (self.factors[i] - before)
            began = end
        return self.factors[-1]


class UnitsNorm:
    """``mean |h|`` over the units h that go into down projections, with gradients: the L1 term of the last run.

    With it the model shows those inputs; call it after a forward run. The mean over units, tokens and blocks is taken
    where ProSparse has a sum, so a factor does not depend on the width.

    >>> _ = torch.manual_seed(0)
    >>> mlp, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.randn(5, 4)
    >>> with UnitsNorm(mlp, feed_forwards(mlp, x)) as norm:
    ...     y = mlp(x)
    ...     bool(norm() == mlp[:2](x).abs().mean())
    True
    """

    def __init__(self, model: nn.Module, blocks: Iterable[FeedForward]) -> None:
        self.downs = [model.get_submodule(path) for path in dict.fromkeys(b.down for b in blocks)]
        self.seen: dict[int, Tensor] = {}
        self._hooks: list[Any] = []
        if not self.downs:
            raise OgiveError("UnitsNorm: no feed-forward block, so there are no units to make small")

    def __enter__(self) -> UnitsNorm:
        self._hooks = [m.register_forward_pre_hook(self._see) for m in self.downs]
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self.seen = [], {}

    def _see(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        self.seen[id(module)] = args[0].abs().mean()

    def __call__(self) -> Tensor:
        """The term. Raises OgiveError before a run."""
        if not self.seen:
            raise OgiveError("UnitsNorm: run the model first, inside the with statement")
        return torch.stack(list(self.seen.values())).mean()


def prosparse(
    model: nn.Module,
    data: Any,
    *,
    steps: int = 100,
    factor: float = 0.1,
    threshold: float = 0.01,
    rate: float = 1e-4,
    loss: Loss | None = None,
    score: Scores = None,
    time: bool = True,
    seed: int = 0,
) -> Report:
    """Make a model sparse by training: ReLU, an L1 term on the units that rises along sines, then FATReLU (ProSparse).

    Three stages: a tenth of the steps at ``factor``/10, four tenths up to ``factor``/2, the rest up to ``factor``. Adam
    trains all parameters that have gradients. For stages, optimisers and data of your own, use :func:`relufy`,
    :class:`UnitsNorm`, :class:`SineStages` and :func:`fat_relu` in your own loop.

    Args:
        model: changed in place, weights too; ``undo()`` gives both back.
        data: batches that are gone through again and again, in order.
        steps: of training, at least 3.
        factor: of the L1 term at the end, at least 0, in units of the loss for a mean ``|h|`` of 1.
        threshold: of FATReLU in the end, at least 0.
        rate: of Adam, above 0.
        loss: a function of model and batch; None takes the next token's where data is windows of tokens, else the mean
            squared distance to the outputs before.
        score, time, seed: as of :func:`ogive.swap`.

    Raises:
        ParameterError: for the options. OgiveError: when there is no feed-forward block, or the loss is not finite; the
            model is then as it was.

    Source: as of :class:`SineStages`.

    >>> _ = torch.manual_seed(0)
    >>> mlp = nn.Sequential(nn.Linear(4, 32), nn.SiLU(), nn.Linear(32, 2))
    >>> report = prosparse(mlp, torch.randn(200, 4), steps=50, rate=1e-2, time=False)
    >>> report["zeros into down projections"].after > 0.5
    True
    """
    if type(steps) is not int or steps < 3:
        raise ParameterError(f"prosparse: steps={steps!r}; it takes a whole number of at least 3")
    for name, value in (("factor", factor), ("threshold", threshold), ("rate", rate)):
        share_in(f"prosparse: {name}", value, most=math.inf)
    batches = batches_of(data)
    blocks = feed_forwards(model, batches[0])
    state = {k: v.detach().clone() for k, v in model.state_dict().items()}
    closing: list[Callable[[], None]] = []

    def back() -> None:
        while closing:
            closing.pop()()
        with torch.no_grad():
            own = model.state_dict()
            for key, value in state.items():
                own[key].copy_(value)

    teacher = None if loss is not None else _outputs(model, batches)
    trained: dict[str, Tensor] = {}
    smooth = not all(is_rectifier(b.site.activation) for b in blocks)
    changes: list[Change] = []
    left: list[tuple[str, str]] = []
    try:
        if smooth:
            first = relufy(model, batches, time=False)
            changes, left = list(first.changes), list(first.left)
            closing.append(first.undo)
        plan = SineStages(_ends(steps), (0.1 * factor, 0.5 * factor, factor))
        norms = _train(model, batches, blocks, plan, steps, rate, loss, teacher, seed)
        last = fat_relu(model, batches, threshold=threshold, time=False)
        last.undo()
        trained = {k: v.detach().clone() for k, v in model.state_dict().items()}
    finally:
        back()

    def put() -> Callable[[], None]:
        try:
            if smooth:
                closing.append(relufy(model, batches, time=False).undo)
            with torch.no_grad():
                own = model.state_dict()
                for key, value in trained.items():
                    own[key].copy_(value)
            closing.append(fat_relu(model, batches, threshold=threshold, time=False).undo)
        except BaseException:
            back()
            raise
        return back

    figures = (Figure("mean |units|", norms[0], norms[1]),)
    changes = [*changes, *(Change(c.site, c.before, c.after, c.error) for c in last.changes)]
    return conduct("prosparse", model, batches, blocks, put, changes, left, score=score, time=time, figures=figures)


def _ends(steps: int) -> tuple[int, int, int]:
    first = max(steps // 10, 1)
    return first, max(steps // 2, first + 1), steps


def _outputs(model: nn.Module, batches: list[Any]) -> list[Tensor] | None:
    """Outputs to stay near to, where no loss is given and the data holds no next tokens."""
    found = []
    for batch in batches:
        with evaluating(model):
            output = called(model, batch)
        if not isinstance(token_losses(output, batch), str):
            return None
        found.append(rows_of(output))
    return found


def _train(
    model: nn.Module,
    batches: list[Any],
    blocks: Blocks,
    plan: SineStages,
    steps: int,
    rate: float,
    loss: Loss | None,
    teacher: list[Tensor] | None,
    seed: int,
) -> tuple[float, float]:
    """The mean of |units| at the first and at the last step."""
    adam = torch.optim.Adam(trainable(model).values(), lr=rate)
    sizes: list[float] = []
    with training(model), torch.random.fork_rng(), torch.enable_grad(), UnitsNorm(model, blocks) as norm:
        torch.manual_seed(seed)
        for step in range(steps):
            which = step % len(batches)
            batch = batches[which]
            near = None if teacher is None else teacher[which]
            task = loss(model, batch) if loss is not None else _loss(model, batch, near)
            units = norm()
            total = task + plan.at(step) * units
            if not bool(torch.isfinite(total)):
                raise OgiveError(f"prosparse: the loss is {float(total.detach())} at step {step} and the model was put "
                                 f"back; a smaller rate than {rate:g} may help")  # fmt: skip
            adam.zero_grad()
            trains(total).backward()
            adam.step()
            sizes.append(float(units.detach()))
    adam.zero_grad()
    return sizes[0], sizes[-1]


def _loss(model: nn.Module, batch: Any, target: Tensor | None) -> Tensor:
    args, kwargs = arguments(batch)
    output = model(*args, **kwargs)
    if target is not None:
        inside = output if isinstance(output, Tensor) else next(iter(output))
        return (inside.reshape(target.shape) - target).square().mean()
    found = token_losses(output, batch)
    assert not isinstance(found, str)
    lost, counts = found
    return (lost * counts).sum() / counts.sum()
