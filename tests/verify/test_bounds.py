"""Bounds hold against sampling and against what can be enumerated, and each method is as tight as it claims."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError
from ogive.verify.axis import Maximum, Softmax
from ogive.verify.bounding import Bounds
from ogive.verify.network import Box, Unbounded
from ogive.verify.outputs import bound
from ogive.verify.products import MatrixProduct, Product
from ogive.verify.region import Ball, Cuboid
from ogive.verify.tracer import trace
from tests.verify.models import MODELS, around, made, mlp

TINY = 1e-9  # float64 sampling itself rounds


@pytest.mark.parametrize("method", ["ibp", "crown-ibp", "crown", "alpha"])
@pytest.mark.parametrize("name", MODELS)
def test_no_sample_leaves_the_bounds(name, method):
    model, x = made(name)
    network = trace(model, x[:1])
    for eps in (0.01, 0.3):
        found = bound(model, x.double() - eps, x.double() + eps, method=method, steps=3)
        points = around(x, eps)
        y = network.evaluate(points.flatten(0, 1)).reshape(*points.shape[:2], -1)
        assert (y >= found.lower.flatten(1) - TINY).all() and (y <= found.upper.flatten(1) + TINY).all()
        assert torch.isfinite(found.upper - found.lower).all()


@pytest.mark.parametrize("name", ["relu", "smooth", "periodic"])
def test_each_method_is_at_least_as_tight_as_the_one_before(name):
    model, x = made(name)
    widths = []
    for method in ("ibp", "crown-ibp", "crown", "alpha"):
        found = bound(model, x - 0.2, x + 0.2, method=method)
        widths.append(float((found.upper - found.lower).sum()))
    assert widths[0] >= widths[1] >= widths[2] - TINY >= widths[3] - 2 * TINY
    assert widths[3] < 0.9 * widths[0]


def test_every_inner_box_holds_its_values():
    model, x = made("residual")
    network = trace(model, x[:1])
    bounds = Bounds(network, Cuboid(x.double().unsqueeze(1) - 0.1, x.double().unsqueeze(1) + 0.1))
    points = around(x, 0.1)
    values = {0: points.unsqueeze(2)}
    for step in network.steps[1:]:
        values[step.index] = step.operation.evaluate([values[i] for i in step.inputs])
        box = bounds.boxes[step.index]
        assert (values[step.index] >= box.lo - TINY).all() and (values[step.index] <= box.hi + TINY).all(), step


def test_a_linear_model_has_its_exact_bounds():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Linear(7, 3))
    x = torch.randn(4, 5)
    found = bound(model, x.double() - 0.5, x.double() + 0.5)
    corners = torch.tensor(list(itertools.product((-0.5, 0.5), repeat=5)), dtype=torch.float64)
    y = model.double()(x.double().unsqueeze(1) + corners)
    assert torch.allclose(found.lower, y.amin(1), atol=1e-10) and torch.allclose(found.upper, y.amax(1), atol=1e-10)
    assert (found.lower <= y.amin(1) + 1e-15).all() and (found.upper >= y.amax(1) - 1e-15).all()


def test_a_concave_network_of_one_layer_is_bounded_by_its_corners():
    # sums of convex functions with positive weights: the upper bound of CROWN's chords is taken at the corners of z
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Softplus(), nn.Linear(2, 1, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.eye(2))
        model[2].weight.fill_(1.0)
    found = bound(model, torch.tensor([[-1.0, 0.0]]), torch.tensor([[2.0, 3.0]]), method="alpha", steps=40)
    top = nn.functional.softplus(torch.tensor([2.0, 3.0], dtype=torch.float64)).sum()
    low = nn.functional.softplus(torch.tensor([-1.0, 0.0], dtype=torch.float64)).sum()
    assert abs(float(found.upper - top)) < 1e-9
    assert abs(float(found.lower - low)) < 1e-2


@pytest.mark.parametrize("kind", ["product", "matrix", "max", "softmax"])
def test_planes_of_each_operation_hold_and_intervals_are_exact(kind):
    torch.manual_seed(0)
    for _ in range(30):
        shapes = {"product": [(3, 4)] * 2, "matrix": [(3, 4), (4, 2)], "max": [(3, 4)], "softmax": [(3, 4)]}[kind]
        operation = {"product": Product(), "matrix": MatrixProduct(), "max": Maximum(), "softmax": Softmax()}[kind]
        scale = 10.0 ** float(torch.randint(-4, 2, ()))
        lows = [torch.randn(1, *s, dtype=torch.float64) * 3 for s in shapes]
        boxes = [Box(lo, lo + scale * torch.rand_like(lo)) for lo in lows]
        noise = [torch.rand(500, *s, dtype=torch.float64) for s in shapes]
        noise = [torch.cat([n, n.round()]) for n in noise]
        points = [b.lo + n * (b.hi - b.lo) for b, n in zip(boxes, noise)]
        y = operation.evaluate(points)
        box, planes = operation.interval(boxes), operation.relax(boxes)
        assert (y >= box.lo).all() and (y <= box.hi).all()
        out = y.shape[1:]
        for sign in (1.0, -1.0):
            rows = sign * torch.eye(out.numel(), dtype=torch.float64).reshape(-1, 1, *out)
            constant, parts = planes.through(rows)
            value = constant.mT + sum((p.squeeze(1) * t.unsqueeze(1)).flatten(2).sum(-1) for p, t in zip(parts, points))
            exact = sign * y.flatten(1)
            assert (value <= exact + 1e-12 * (1 + exact.abs())).all()
            if kind != "max":  # near a point the planes touch: an area that shrinks with the square
                gap = (exact - value).abs().amax()
                assert gap <= 60.0 * scale**2 + 1e-9 or scale > 0.05


def test_softmax_boxes_are_taken_at_corners():
    lo, hi = torch.tensor([[0.0, -1.0, 2.0]], dtype=torch.float64), torch.tensor([[1.0, 0.5, 2.5]], dtype=torch.float64)
    box = Softmax().interval([Box(lo, hi)])
    corners = torch.tensor(list(itertools.product((0, 1), repeat=3)), dtype=torch.float64)
    y = (lo + corners * (hi - lo)).softmax(-1)
    assert torch.allclose(box.lo, y.amin(0), rtol=1e-12) and torch.allclose(box.hi, y.amax(0), rtol=1e-12)


def test_softmax_far_apart_stays_sound_and_finite():
    lo = torch.tensor([[0.0, 800.0, -1e30]], dtype=torch.float64)
    box = Box(lo, lo + 5.0)
    planes = Softmax().relax([box])
    assert torch.isfinite(planes.below).all() and torch.isfinite(planes.above).all()
    assert (Softmax().interval([box]).lo >= 0).all()


def test_max_is_exact_where_one_element_always_wins():
    lo = torch.tensor([[[5.0, 0.0, -1.0]]], dtype=torch.float64)
    planes = Maximum().relax([Box(lo, lo + 1.0)])
    constant, parts = planes.through(-torch.ones(1, 1, 1, dtype=torch.float64))
    assert torch.allclose(parts[0], torch.tensor([[[[-1.0, 0.0, 0.0]]]], dtype=torch.float64))
    assert abs(float(constant)) < 1e-10


@pytest.mark.parametrize("p", [1.0, 2.0, 3.0])
def test_balls_of_other_norms(p):
    torch.manual_seed(0)
    x, rows = torch.randn(3, 6, dtype=torch.float64), torch.randn(5, 3, 6, dtype=torch.float64)
    radius = torch.tensor([0.5, 0.1, 0.0], dtype=torch.float64)
    ball = Ball(x, radius, p, Box(x - radius.unsqueeze(1), x + radius.unsqueeze(1)))
    found = ball.least(rows)
    noise = torch.randn(20000, 3, 6, dtype=torch.float64)
    if p == 1.0:  # the extremes are the corners
        noise = torch.cat([noise, torch.eye(6, dtype=torch.float64).unsqueeze(1).expand(-1, 3, -1)])
        noise = torch.cat([noise, -noise[-6:]])
    noise = noise / torch.linalg.vector_norm(noise, p, dim=-1, keepdim=True) * radius.unsqueeze(1)
    y = torch.einsum("rbn,sbn->srb", rows, x + noise)
    assert (found <= y.amin(0) + 1e-12).all()
    dual = torch.linalg.vector_norm(rows, float("inf") if p == 1.0 else p / (p - 1.0), dim=-1)
    assert torch.allclose(found, (rows * x).sum(-1) - radius * dual, atol=1e-10)


def test_a_pole_is_named():
    class Inverse(nn.Module):
        def forward(self, x):
            return 1.0 / x

    with pytest.raises(Unbounded, match=r"1/x in 1 has no finite bounds"):
        bound(nn.Sequential(nn.Linear(2, 2), Inverse()), torch.full((1, 2), -5.0), torch.full((1, 2), 5.0))


def test_parameters_per_channel_are_bounded_each_by_its_own_function():
    torch.manual_seed(0)
    act = ogive.Act("swish", beta=ogive.learn("channel", init=torch.tensor([0.5, 1.0, 3.0])), channels=3)
    model = nn.Sequential(nn.Linear(4, 3), act)
    lo, hi = torch.full((1, 4), -1.0), torch.full((1, 4), 1.0)
    z = bound(model[0], lo, hi)
    found = bound(model, lo, hi, method="ibp")
    for c, beta in enumerate((0.5, 1.0, 3.0)):
        t = torch.linspace(0, 1, 20001, dtype=torch.float64) * (z.upper - z.lower)[0, c] + z.lower[0, c]
        y = t * torch.sigmoid(beta * t)
        assert float(found.lower[0, c]) <= float(y.min()) + TINY and abs(float(found.lower[0, c] - y.min())) < 1e-6
        assert abs(float(found.upper[0, c] - y.max())) < 1e-6


@pytest.mark.parametrize(("lo", "hi", "more", "said"), [
    (torch.ones(1, 6), torch.zeros(1, 6), {}, "lo <= hi"),
    (torch.zeros(1, 6), torch.full((1, 6), float("inf")), {}, "not finite"),
    (torch.zeros(1, 6), torch.ones(1, 6), {"method": "best"}, "best"),
    (torch.zeros(6), torch.ones(6), {}, "first dimension"),
])  # fmt: skip
def test_wrong_arguments(lo, hi, more, said):
    with pytest.raises(InputError, match=said):
        bound(mlp("tanh"), lo, hi, **more)
