"""Projected gradient descent: looks for a point of the region that the model gets wrong.

Source: Madry et al. 2018, "Towards deep learning models resistant to adversarial attacks".
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ogive.verify.network import Box


def attack(
    model: nn.Module, x: Tensor, labels: Tensor, box: Box, eps: Tensor, norm: float, steps: int = 40, restarts: int = 3,
    seed: int = 0,
) -> Tensor:  # fmt: skip
    """For each example the point with the smallest margin that was found: inside ``box`` and the ball of radius
    ``eps``, of the shape and dtype of ``x``."""
    generator = torch.Generator().manual_seed(seed)
    best, least = x.clone(), margins(model, x, labels)
    size = eps.reshape(-1, *(1,) * (x.dim() - 1)) * (1.0 if norm == math.inf else 1.0 - 1e-6)
    for restart in range(restarts + 1):
        noise = 2.0 * torch.rand(x.shape, generator=generator, dtype=torch.float64).to(x) - 1.0
        z = inside(x + (noise * size if restart else 0.0 * x), x, box, size, norm)
        for count in range(steps):
            z = z.detach().requires_grad_()
            with torch.enable_grad():
                margin = margins(model, z, labels)
                (grad,) = torch.autograd.grad(margin.sum(), z, allow_unused=True)
            better = margin.detach() < least
            least, best = torch.where(better, margin.detach(), least), _chosen(better, z.detach(), best)
            if grad is None:
                break
            rate = size * (0.25 if count < steps // 2 else 0.05)
            z = inside(z.detach() - rate * _direction(torch.nan_to_num(grad), norm), x, box, size, norm)
        last = margins(model, z, labels)
        best = _chosen(last < least, z, best)
        least = torch.minimum(last, least)
    return best.detach()


def within_reach(x: Tensor, eps: float, within: tuple[float, float] | None) -> Box:
    """The box around each example in the dtype of ``x``, rounded inward, so that what lies in it is in the region."""
    wide = x.double()
    lo, hi = wide - eps, wide + eps
    if within is not None:  # an example that lies outside stays its own box
        lo, hi = torch.minimum(lo.clamp(*within), wide), torch.maximum(hi.clamp(*within), wide)
    low, high = lo.to(x), hi.to(x)
    step = torch.tensor(math.inf).to(x)
    low = torch.where(low.double() < lo, torch.nextafter(low, step), low)
    high = torch.where(high.double() > hi, torch.nextafter(high, -step), high)
    return Box(torch.minimum(low, x), torch.maximum(high, x))


def margins(model: nn.Module, x: Tensor, labels: Tensor) -> Tensor:
    """Score of the label less the best other score, one for each example."""
    scores = model(x)
    own = scores.gather(1, labels.unsqueeze(1)).squeeze(1)
    return own - scores.scatter(1, labels.unsqueeze(1), -math.inf).amax(1)


def inside(z: Tensor, x: Tensor, box: Box, size: Tensor, norm: float) -> Tensor:
    """The nearest point in the region (for p other than 2 and infinity a scaled one)."""
    if norm != math.inf:
        d = (z - x).flatten(1)
        length = torch.linalg.vector_norm(d, norm, dim=1).reshape(size.shape)
        z = x + (z - x) * (size / length.clamp(min=1e-30)).clamp(max=1.0)
    return torch.minimum(torch.maximum(z, box.lo.to(z)), box.hi.to(z))


def _direction(grad: Tensor, norm: float) -> Tensor:
    if norm == math.inf:
        return grad.sign()
    flat = grad.flatten(1)
    if norm == 1.0:
        top = flat.abs() >= flat.abs().amax(1, keepdim=True)
        return (flat.sign() * top).reshape(grad.shape)
    return (flat / torch.linalg.vector_norm(flat, 2, dim=1, keepdim=True).clamp(min=1e-30)).reshape(grad.shape)


def _chosen(better: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return torch.where(better.reshape(-1, *(1,) * (new.dim() - 1)), new, old)
