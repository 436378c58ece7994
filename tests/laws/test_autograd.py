"""Law 2, derivatives: every entry is differentiable in every way torch offers; law 3, what backward keeps."""

from __future__ import annotations

import pytest
import torch
from torch.func import grad, hessian, jacrev, jvp, vmap

from ogive.activation import Activation
from tests.conftest import inputs_of, smooth_points
from tests.entries import every_entry, every_scalar_entry, trainable

WIDE = torch.float64
# Central differences with a step of 1e-6 err by about 1e-10 of the function; a factor off by 1e-4 is caught.
TIGHT = {"rtol": 1e-5, "atol": 1e-6}


def _arguments(entry, x):
    """Inputs and parameters as float64 tensors, and the function of them all."""
    inputs = [v.clone().requires_grad_() for v in inputs_of(entry, x)]
    params = [torch.tensor(v, dtype=WIDE, requires_grad=True) for v in entry.defaults.values()]

    def run(*args):
        return entry(*args[: len(inputs)], **dict(zip(entry.params, args[len(inputs) :])))

    return run, inputs, params


def _surrogate(entry):
    return Activation(entry.backward, entry.inputs, entry.params)


def _slope(f, x):
    (g,) = torch.autograd.grad(f(x).sum(), x, create_graph=True)
    return g


@every_entry
def test_first_derivatives(entry):
    """By x, y and every parameter, in reverse and forward mode, alone and under vmap."""
    run, inputs, params = _arguments(entry, smooth_points(entry))
    if entry.backward is not None:
        x = inputs[0]
        torch.testing.assert_close(_slope(entry, x), _surrogate(entry)(x.detach()), rtol=1e-12, atol=1e-300)
        tangent = torch.rand_like(x)
        _, out = jvp(entry, (x.detach(),), (tangent,))
        torch.testing.assert_close(out, tangent * _surrogate(entry)(x.detach()), rtol=1e-12, atol=1e-300)
        inputs = [x.detach()]
        if not trainable(entry):
            return
    assert torch.autograd.gradcheck(run, (*inputs, *params), check_forward_ad=True, check_batched_grad=True, **TIGHT)


@every_entry
def test_second_derivatives(entry):
    """By x, y and every parameter in every pair."""
    run, inputs, params = _arguments(entry, smooth_points(entry)[::2])
    if entry.backward is not None:  # the derivative is the surrogate's own
        assert torch.autograd.gradcheck(lambda x: _slope(entry, x), inputs[:1], **TIGHT)
        return
    # differences of slopes of 1e5 err by 1e-5: the function is brought to slopes of at most 1
    steepest = max(1.0, *(float(g.abs().max()) for g in torch.autograd.grad(run(*inputs, *params).sum(), inputs)))
    assert torch.autograd.gradgradcheck(lambda *v: run(*v) / steepest, (*inputs, *params), **TIGHT)


@every_entry
def test_function_transforms(entry):
    x = smooth_points(entry)
    inputs = inputs_of(entry, x)
    params = {k: torch.tensor(v, dtype=WIDE) for k, v in entry.defaults.items()}

    def f(*v):
        return entry(*v, **params)

    value = f(*inputs)
    leaves = [v.clone().requires_grad_() for v in inputs]
    slope = torch.autograd.grad(f(*leaves).sum(), leaves[0], create_graph=True)[0]
    curve = torch.autograd.grad(slope.sum(), leaves[0], allow_unused=True)[0] if slope.requires_grad else None
    curve = torch.zeros_like(x) if curve is None else curve

    same = {"rtol": 1e-12, "atol": 1e-300}
    torch.testing.assert_close(vmap(f)(*inputs), value, **same)
    torch.testing.assert_close(vmap(grad(f))(*inputs), slope.detach(), **same)
    torch.testing.assert_close(vmap(grad(grad(f)))(*inputs), curve, **same)
    torch.testing.assert_close(jacrev(f)(*inputs), torch.diag(slope.detach()), **same)
    tangents = tuple(torch.ones_like(v) if i == 0 else torch.zeros_like(v) for i, v in enumerate(inputs))
    torch.testing.assert_close(jvp(f, inputs, tangents), (value, slope.detach()), **same)
    short = tuple(v[:2] for v in inputs)
    torch.testing.assert_close(hessian(lambda *v: f(*v).sum())(*short), torch.diag(curve[:2]), **same)


@every_entry
def test_vmap_over_parameters(entry):
    """One parameter value per element of the batch, as in an ensemble."""
    x = inputs_of(entry, smooth_points(entry))
    for key, value in entry.defaults.items():
        values = value * torch.tensor([1.0, 0.96, 0.92], dtype=WIDE)  # inside the interval, which 0.9 may not be
        values = torch.where(torch.tensor([entry.params[key].admits(v) for v in values.tolist()]), values, value)
        batched = vmap(lambda v, key=key: entry(*x, **{key: v}))(values)
        looped = torch.stack([entry(*x, **{key: v}) for v in values.tolist()])
        torch.testing.assert_close(batched, looped, rtol=1e-12, atol=1e-300)


@every_scalar_entry
def test_nan_goes_through(entry):
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        x = torch.tensor([0.3, float("nan")], dtype=dtype, requires_grad=True)
        y = entry(x)
        assert y.isnan().tolist() == [False, True]
        y.sum().backward()
        assert not x.grad[0].isnan()


@every_entry
def test_backward_keeps_the_inputs_and_nothing_else(entry):
    n = 512
    x = torch.randn(n)
    inputs = [v.requires_grad_() for v in inputs_of(entry, x)]
    kept: dict[int, int] = {}

    def pack(t):
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        y = entry(*inputs)
    assert sum(kept.values()) <= 4 * n * len(inputs)
    y.sum().backward()


@every_entry
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_sixteen_bit_is_finite_where_float64_is(entry, dtype):
    patterns = torch.arange(-32768, 32768, 7, dtype=torch.int32).to(torch.int16).view(dtype)
    narrow = patterns[patterns.double().abs() <= 100]

    def run(x):
        inputs = [v.clone().requires_grad_() for v in inputs_of(entry, x)]
        y = entry(*inputs)
        y.backward(torch.ones_like(y))
        return [y.detach(), *(v.grad for v in inputs if v.grad is not None)]

    largest = torch.finfo(dtype).max
    for got, true in zip(run(narrow), run(narrow.double())):
        assert got.dtype == dtype
        must = true.abs() < largest
        assert got[must].isfinite().all(), f"not finite at {narrow[must & ~got.isfinite()][:4].tolist()}"


@every_entry
def test_result_is_a_new_tensor(entry):
    inputs = inputs_of(entry, torch.randn(8))
    y = entry(*inputs)
    assert all(y.untyped_storage().data_ptr() != v.untyped_storage().data_ptr() for v in inputs)
    leaf = inputs[0].clone().requires_grad_()
    y = entry(leaf, *inputs[1:])
    assert y is not leaf and y.untyped_storage().data_ptr() != leaf.untyped_storage().data_ptr()
