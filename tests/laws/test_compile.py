"""Law 2, graphs: every entry compiles whole, exports with a dynamic batch, and stays what it was."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import ogive
from tests.conftest import inputs_of
from tests.entries import ENTRIES, trainable
from tests.rounding import rounding

# A graph of many entries costs little more than a graph of one: entries are compiled in batches.
SIZE = 15
BATCHES = [ENTRIES[i : i + SIZE] for i in range(0, len(ENTRIES), SIZE)]
in_batches = pytest.mark.parametrize("batch", BATCHES, ids=[f"{b[0].name}-{b[-1].name}" for b in BATCHES])
# Beyond 1e30 float32 arithmetic overflows inside some formulas; eager mode computes in float64.
FAR = torch.tensor([8.0, 15.0, 30.0, 60.0, 100.0, 300.0, 3e3, 1e5, 1e10, 1e20, 1e30])
HANDFUL = ["gelu", "mish", "relu", "snake", "prelu", "swiglu"]


@pytest.fixture(autouse=True)
def _fresh():
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


class Bench(nn.Module):
    """Several modules on one input; gates get it twice, the second time reversed."""

    def __init__(self, entries, learned=False):
        super().__init__()
        self.acts = nn.ModuleList(
            ogive.Act(e, **({k: ogive.learn("layer") for k in trainable(e)} if learned else {})) for e in entries
        )
        self.twice = [len(e.inputs) > 1 for e in entries]

    def forward(self, x):
        return [act(x, x.flip(0)) if two else act(x) for act, two in zip(self.acts, self.twice)]


def _value_and_gradients(f, x, parameters=()):
    x = x.clone().requires_grad_()
    outputs = f(x)
    total = sum(y.double().sum() for y in outputs)
    return outputs, torch.autograd.grad(total, [x, *parameters], allow_unused=True)


def _data():
    # within the range where float32 arithmetic resolves every entry, and no point on a break
    return torch.linspace(-4.03, 4.01, 64).reshape(16, 4)


def _agree(entries, compiled, eager):
    for entry, a, b in zip(entries, compiled[0], eager[0]):
        assert a.dtype == b.dtype and a.shape == b.shape
        noise = 2.4e-7 * float(_explained(entry, _data()).noise.max())
        torch.testing.assert_close(a, b, rtol=2e-5, atol=2e-6 + noise, msg=lambda m, e=entry: f"{e.name}: {m}")


def _explained(entry, x, slope=False):
    """What float32 arithmetic may do to the value or the slope of ``entry`` at its inputs."""
    form = entry.form.vjp(0) if slope else entry.form
    data = (*(v.double() for v in inputs_of(entry, x)), *entry.defaults.values(), *((1.0,) if slope else ()))
    return rounding(form.canonical.expr, form.names, data)


@in_batches
def test_compiles_whole(batch):
    """One graph, forward and backward, each entry on an input of its own: the value and the slope of eager
    mode in the middle, and finite where eager mode is far out."""
    middle = _data().flatten()
    x = torch.cat([middle, FAR, -FAR])

    def run(xs):
        return [e(*inputs_of(e, v)) for e, v in zip(batch, xs)]

    def value_and_slope(f):
        xs = [x.clone().requires_grad_() for _ in batch]
        ys = f(xs)
        able = [y for y in ys if y.requires_grad]
        slopes = torch.autograd.grad(able, xs, [torch.ones_like(y) for y in able], allow_unused=True)
        return ys, slopes

    got = value_and_slope(torch.compile(run, fullgraph=True, backend="aot_eager"))
    true = value_and_slope(run)
    for what, ours, theirs in zip(("value", "slope"), got, true):
        for entry, a, b in zip(batch, ours, theirs):
            assert (a is None) == (b is None), entry.name
            if b is None:
                continue
            explained = _explained(entry, x, what == "slope")
            ours, theirs = (v.detach().double()[: len(middle)] for v in (a, b))
            allowed = 1e-5 + 5e-5 * theirs.abs() + 2.0 * explained.bound(np.float32)[: len(middle)]
            off = (ours - theirs).abs() - allowed
            assert not (off > 0).any(), (
                f"{entry.name} {what} at {float(middle[off.argmax()])} beyond by {float(off.max()):.3g}"
            )
            lost = b.isfinite() & ~a.isfinite() & ~explained.over
            assert not lost.any(), f"{entry.name} {what} at {x[lost].tolist()}: compiled {a[lost].tolist()}"


@in_batches
def test_learned_modules_compile_whole(batch):
    bench = Bench(batch, learned=True)
    parameters = list(bench.parameters())
    x = _data()
    compiled = torch.compile(bench, fullgraph=True, backend="aot_eager")
    a = _value_and_gradients(compiled, x, parameters)
    b = _value_and_gradients(bench, x, parameters)
    _agree(batch, a, b)
    for ga, gb in zip(a[1], b[1]):
        torch.testing.assert_close(ga, gb, rtol=1e-3, atol=1e-4)


@in_batches
def test_exports_with_a_dynamic_batch(batch):
    bench = Bench(batch)
    dynamic = ({0: torch.export.Dim("batch")},)
    program = torch.export.export(bench, (_data(),), dynamic_shapes=dynamic)
    other = torch.linspace(-3.03, 2.99, 28).reshape(7, 4)
    _agree(batch, (program.module()(other),), (bench(other),))


def test_one_graph_serves_every_parameter_value():
    """A new value of a learned parameter is data, not a new graph."""
    act = ogive.Act("swish", beta=ogive.learn("channel"), channels=4)
    graphs = 0

    def count(module, _):
        nonlocal graphs
        graphs += 1
        return module

    compiled = torch.compile(act, fullgraph=True, backend=count)
    for value in (0.5, 1.5, 2.5):
        act.beta = value
        with torch.no_grad():
            torch.testing.assert_close(compiled(_data()), act(_data()), rtol=1e-5, atol=1e-6)
    assert graphs == 1


def test_compiled_in_place():
    act = ogive.Act("golu", inplace=True)
    x = _data()
    expected = ogive.get("golu")(x)
    with torch.no_grad():
        y = torch.compile(act, fullgraph=True, backend="aot_eager")(x)
    torch.testing.assert_close(x, expected, rtol=1e-5, atol=1e-6)
    assert y.data_ptr() == x.data_ptr()


@pytest.mark.slow
@pytest.mark.parametrize("name", HANDFUL)
def test_inductor(name):
    bench = Bench([ogive.get(name)], learned=True)
    parameters = list(bench.parameters())
    compiled = torch.compile(bench, fullgraph=True)
    a = _value_and_gradients(compiled, _data(), parameters)
    b = _value_and_gradients(bench, _data(), parameters)
    _agree([ogive.get(name)], a, b)
    for ga, gb in zip(a[1], b[1]):
        torch.testing.assert_close(ga, gb, rtol=1e-4, atol=1e-4)
