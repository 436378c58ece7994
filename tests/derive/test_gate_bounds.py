"""Planes of gates: above and below every point of a grid, and touching."""

from __future__ import annotations

import pytest
import torch

import ogive
from ogive.derive.gate_bounds import gate_image, planes
from ogive.errors import FormulaError, InputError

GATES = [
    *(n for n in ogive.names() if len(ogive.get(n).inputs) == 2),
    "x*y + x - 2*y",
    "x*sigmoid(y) + y*tanh(x)",
    "3*y - relu(x)",
    "x/(1 + abs(y))",
]


def boxes(count, dtype, seed):
    gen = torch.Generator().manual_seed(seed)
    x, y = (torch.rand(count, generator=gen, dtype=torch.float64) * 8 - 5 for _ in range(2))
    w, v = (10.0 ** (torch.rand(count, generator=gen, dtype=torch.float64) * 3 - 2) for _ in range(2))
    return [t.to(dtype) for t in (x, x + w, y, y + v)]


def grid(box):
    x_lo, x_hi, y_lo, y_hi = (t.double()[:, None, None] for t in box)
    share = torch.linspace(0, 1, 41, dtype=torch.float64)
    x, y = torch.broadcast_tensors(x_lo + (x_hi - x_lo) * share[:, None], y_lo + (y_hi - y_lo) * share[None, :])
    return x.contiguous(), y.contiguous()


def on(plane, side, x, y):
    a, b, c = (getattr(plane, f"{side}_{k}").double()[:, None, None] for k in ("x", "y", "intercept"))
    return a * x + b * y + c


@pytest.mark.parametrize("name", GATES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_planes_hold_and_touch(name, dtype):
    box = boxes(150, dtype, seed=5)
    x, y = grid(box)
    z = ogive.get(name)(x, y)
    made = planes(name, *box)
    above, below = on(made, "upper", x, y) - z, z - on(made, "lower", x, y)
    noise = 1e-12 * (1 + z.abs())
    assert (above >= -noise).all() and (below >= -noise).all()
    if "+" not in name:  # of a single product; a sum touches term by term
        # between grid points a curved gate can come nearer by |f''| h^2 / 8, h a fortieth of at most ten
        assert above.amin((1, 2)).max() < 0.03 and below.amin((1, 2)).max() < 0.03
    low, high = (t.double()[:, None, None] for t in gate_image(name, *box))
    assert (z >= low - noise).all() and (z <= high + noise).all()


def test_a_product_of_inputs_has_mccormick_s_planes():
    box = [torch.tensor([v], dtype=torch.float64) for v in (-1.0, 3.0, -2.0, 5.0)]
    made = planes("bilinear", *box)
    x, y = grid(box)
    upper = torch.minimum(-1.0 * y + 5.0 * x + 5.0, 3.0 * y - 2.0 * x + 6.0)  # the concave envelope of x y
    lower = torch.maximum(-1.0 * y - 2.0 * x - 2.0, 3.0 * y + 5.0 * x - 15.0)
    centre = (slice(None), 20, 20)
    assert on(made, "upper", x, y)[centre].item() == pytest.approx(upper[centre].item(), abs=1e-7)
    assert on(made, "lower", x, y)[centre].item() == pytest.approx(lower[centre].item(), abs=1e-7)


def test_no_other_slope_is_lower_at_the_centre():
    """Against 4000 random planes, each lifted until it clears the gate on a grid."""
    gen = torch.Generator().manual_seed(3)
    for name in ("swiglu", "geglu", "reglu", "glu"):
        box = boxes(12, torch.float64, seed=7)
        x, y = grid(box)
        z = ogive.get(name)(x, y)
        made = planes(name, *box)
        ours = on(made, "upper", x, y)[:, 20, 20]
        best = torch.full_like(ours, torch.inf)
        for _ in range(400):
            a, b = (torch.randn(12, 1, 1, generator=gen, dtype=torch.float64) for _ in range(2))
            near = (made.upper_x[:, None, None] + 0.3 * a, made.upper_y[:, None, None] + 0.3 * b)
            tilted = near[0] * x + near[1] * y
            best = torch.minimum(best, (z - tilted).amax((1, 2)) + tilted[:, 20, 20])
        # a lifted plane may cut the gate between grid points
        assert (ours <= best + 0.02 * (1 + ours.abs())).all(), name


def test_what_is_no_gate_is_refused():
    box = boxes(2, torch.float64, seed=1)
    with pytest.raises(FormulaError, match="sum of products"):
        planes("tanh(x*y)", *box)
    with pytest.raises(InputError, match="ask bounds"):
        planes("silu", *box)
    with pytest.raises(InputError, match="not finite"):
        planes("glu", box[0], torch.full_like(box[1], torch.inf), *box[2:])
    assert repr(planes("glu", *box)) == "Planes((2,), float64)"
