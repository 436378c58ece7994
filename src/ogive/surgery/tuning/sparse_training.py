"""Training of pruned networks: masks by magnitude, steps that keep them, data and loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.edits import Edits
from ogive.surgery.effect import batches_of, trainable, trains
from ogive.surgery.modes import evaluating, training
from ogive.surgery.rewire import rewire
from ogive.surgery.sites import Site
from ogive.surgery.wiring import layers_of

Masks = dict[str, Tensor]  # by the path of the layer; True where a weight stays


def joined(data: Any, labels: Tensor | None, what: str) -> tuple[Tensor, Tensor]:
    """Inputs and labels as two tensors.

    Raises:
        InputError: without labels, or with another number of them than of inputs.
    """
    if labels is None:
        raise InputError(f"{what} trains and needs labels, one for each example")
    batches = batches_of(data)
    if not all(isinstance(b, Tensor) for b in batches):
        raise InputError(f"{what} takes data as tensors of inputs; got {type(batches[0]).__name__}")
    x = torch.cat(list(batches))
    if len(x) != len(labels):
        raise InputError(f"{what}: {len(x)} inputs and {len(labels)} labels")
    return x, labels


def loss_of(output: Tensor, target: Tensor) -> Tensor:
    """Cross entropy for whole numbers (classes), else the mean square error."""
    if target.is_floating_point():
        return (output.reshape(target.shape) - target).square().mean()
    return functional.cross_entropy(output, target)


def share(what: str, name: str, value: Any, most: float = 1.0) -> None:
    """Raises ParameterError where ``value`` is not in [0, most)."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 <= value < most:
        raise ParameterError(f"{what}: {name}={value!r}; it is a share, at least 0 and below {most:g}")


def magnitude_masks(model: nn.Module, sparsity: float, before: Masks | None = None, spare: Iterable[str] = ()) -> Masks:
    """Keep the largest ``1 - sparsity`` of each layer's weights; what ``before`` took stays away.

    >>> torch.manual_seed(0) and magnitude_masks(nn.Sequential(nn.Linear(10, 10)), 0.9)["0"].sum()
    tensor(10)
    """
    made: Masks = {}
    for path, layer in layers_of(model).items():
        if path in spare:
            continue
        size = layer.weight.detach().abs().clone()
        if before is not None and path in before:
            size[~before[path]] = -1.0
        keep = max(size.numel() - round(sparsity * size.numel()), 1)
        made[path] = _largest(size, keep)
    return made


def _largest(values: Tensor, count: int) -> Tensor:
    mask = torch.zeros(values.numel(), dtype=torch.bool, device=values.device)
    mask[values.flatten().topk(count).indices] = True
    return mask.view(values.shape)


def cut(model: nn.Module, masks: Mapping[str, Tensor]) -> None:
    """Zeros where the masks take weights away."""
    layers = layers_of(model)
    with torch.no_grad():
        for path, mask in masks.items():
            layers[path].weight.mul_(mask)


def train(
    model: nn.Module, x: Tensor, y: Tensor, masks: Mapping[str, Tensor], *, steps: int, lr: float, batch: int, seed: int
) -> float:
    """Adam with a rate that falls to 0 along a cosine, masks kept; the mean loss of the last tenth of the steps.

    Raises:
        OgiveError: when the loss is not finite.
    """
    draw = torch.Generator().manual_seed(seed)
    adam = torch.optim.Adam(trainable(model).values(), lr)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(adam, max(steps, 1))
    losses = []
    try:
        with training(model), torch.random.fork_rng(), torch.enable_grad():
            torch.manual_seed(seed)
            for step in range(steps):
                at = torch.randint(len(x), (min(batch, len(x)),), generator=draw)
                loss = loss_of(model(x[at]), y[at])
                if not bool(torch.isfinite(loss)):
                    raise OgiveError(f"the loss is {float(loss.detach())} after {step} steps; use a smaller lr than "
                                     f"{lr:g}")  # fmt: skip
                adam.zero_grad()
                trains(loss).backward()
                adam.step()
                falling.step()
                cut(model, masks)
                losses.append(float(loss.detach()))
    finally:
        for p in model.parameters():
            p.grad = None
    last = losses[-max(len(losses) // 10, 1) :]
    return sum(last) / len(last) if last else float("nan")


def judged(model: nn.Module, x: Tensor, y: Tensor) -> tuple[float, float]:
    """Loss and share right (for classes; else the loss again, negative) in evaluation mode."""
    with evaluating(model), torch.no_grad():
        output = model(x)
    loss = float(loss_of(output, y))
    return loss, -loss if y.is_floating_point() else float((output.argmax(1) == y).double().mean())


def carried(
    model: nn.Module, net: nn.Module, chosen: list[Site], instead: Mapping[str, nn.Module]
) -> Callable[[], Callable[[], None]]:
    """What writes the trained weights of a copy into the model and its activations to their sites."""
    state = {k: v.detach().clone() for k, v in net.state_dict().items()}

    def put() -> Callable[[], None]:
        edits = Edits()
        try:
            for name, tensor in model.state_dict(keep_vars=True).items():
                if name in state:
                    edits.write(tensor, state[name])
            edits.later(rewire(model, chosen, instead).undo)
        except BaseException:
            edits.undo()
            raise
        return edits.undo

    return put


def counts(masks: Masks) -> tuple[float, float]:
    """All weights, and those that stay."""
    return float(sum(m.numel() for m in masks.values())), float(sum(int(m.sum()) for m in masks.values()))
