"""Tables of integers: the grid, the lookup, calibration, and what ONNX Runtime makes of them."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

import ogive
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.surgery.integer import Grid, TableAct, chosen, grid, tabulate, to_onnx

X = torch.randn(400, 16, generator=torch.Generator().manual_seed(0))


def net(act=nn.GELU):
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(16, 32), act(), nn.Linear(32, 32), nn.SiLU(), nn.Linear(32, 4))


def by_hand(f, into, out, x):
    """Quantise, look up, dequantise in numpy, float64."""
    q = np.clip(np.rint(x / into.scale) + into.zero, into.low, into.high)
    y = f(into.scale * (q - into.zero))
    return out.scale * (np.clip(np.rint(y / out.scale) + out.zero, out.low, out.high) - out.zero)


@pytest.mark.parametrize("name", ["gelu", "golu", "hardswish", "tanh", "sin(x) + x", "relu6", "swish"])
@pytest.mark.parametrize("symmetric", [False, True])
def test_a_table_is_the_function_between_two_grids(name, symmetric):
    act = ogive.get(name)
    into = grid(-3.7, 5.1, symmetric=symmetric)
    table = TableAct(name, into, grid(-2.0, 5.5, symmetric=symmetric))
    x = torch.linspace(-6.0, 6.0, 4001, dtype=torch.float64)
    want = by_hand(lambda v: act(torch.from_numpy(v)).numpy(), table.into, table.out, x.numpy())
    assert np.array_equal(table(x).numpy(), want)
    assert table.levels.numel() == 256


@pytest.mark.parametrize("bits", [2, 5, 8, 16])
def test_the_integer_face_and_the_float_face_agree(bits):
    table = TableAct("gelu", grid(-4.0, 4.0, bits))
    q = torch.arange(table.into.low, table.into.high + 1).to(table.dtype)
    x = table.into.values(q, torch.float64)
    assert table(q).dtype == q.dtype
    assert torch.equal(table.out.values(table(q)), table(x))


@pytest.mark.parametrize("bits", [3, 8])
def test_the_compiled_lookup_is_the_one_of_torch(bits, monkeypatch):
    from ogive.surgery.integer import kernel

    table = TableAct("golu", grid(-3.0, 4.0, bits))
    x = 3.0 * torch.randn(97, 41, generator=torch.Generator().manual_seed(5)).T
    x[0, :6] = torch.tensor([math.nan, math.inf, -math.inf, 1e30, -0.0, 0.5 * table.into.scale])
    q = torch.arange(-128, 128).to(torch.int8).view(16, 16).T
    fast = table(x), table(q)
    monkeypatch.setattr(kernel, "usable", lambda x: False)
    assert torch.equal(table(x), fast[0])
    assert torch.equal(table(q), fast[1])
    assert fast[0].shape == x.shape


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 1000])
def test_bytes_are_looked_up_at_every_length(length):
    table = TableAct("golu", grid(-3.0, 4.0))
    q = torch.randint(-128, 128, (length,), generator=torch.Generator().manual_seed(length), dtype=torch.int8)
    assert torch.equal(table(q), table.levels[q.long() + 128])


def test_16_bits_interpolate_in_integers():
    table = TableAct("gelu", grid(-4.0, 4.0, 16))
    q = torch.arange(-32768, 32768, dtype=torch.int32)
    T, at = table.levels.numpy().astype(np.int64), q.numpy().astype(np.int64) + 32768
    left, right = T[at >> 8], T[(at >> 8) + 1]
    want = left + np.floor((right - left) * (at & 255) / 256 + 0.5).astype(np.int64)
    assert np.array_equal(table(q.to(torch.int16)).numpy(), want)
    x = table.into.values(q)
    error = (table(x) - torch.nn.functional.gelu(x)).abs().max()
    assert error < 2e-4  # h^2/8 max|f''| = (8/256)^2/8 * 0.8 = 1e-4, and half a step of 6e-5
    assert error < 0.01 * (TableAct("gelu", grid(-4.0, 4.0))(x) - torch.nn.functional.gelu(x)).abs().max()


def test_the_grid_holds_zero_and_its_ends():
    for low, high in ((-1.0, 3.0), (0.5, 2.0), (-7.0, -1.0), (0.0, 0.0)):
        g = grid(low, high)
        assert float(g.rounded(torch.zeros(1).double())) == 0.0
        assert g.ends[0] <= min(low, 0.0) + 0.51 * g.scale
        assert g.ends[1] >= max(high, 0.0) - 0.51 * g.scale
    assert grid(-3.0, 1.0, symmetric=True).zero == 0
    for wrong in ((math.nan, 1.0), (2.0, 1.0), (-math.inf, 0.0)):
        with pytest.raises(ParameterError):
            grid(*wrong)
    with pytest.raises(ParameterError, match="bits=1"):
        grid(-1.0, 1.0, 1)


def test_least_squares_ends_beat_the_others_and_every_neighbour():
    g = torch.Generator().manual_seed(2)
    x = torch.randn(20_000, dtype=torch.float64, generator=g)
    x[:20] *= 12.0
    loss = {how: float((chosen(x, how, 4).rounded(x) - x).square().mean()) for how in ("minmax", "percentile", "mse")}
    assert loss["mse"] < 0.8 * min(loss["minmax"], loss["percentile"])
    low, high = float(x.min()), float(x.max())
    brute = min(float((grid(a * low, b * high, 4).rounded(x) - x).square().mean())
                for a in np.linspace(0.05, 1, 20) for b in np.linspace(0.05, 1, 20))  # fmt: skip
    assert loss["mse"] < 1.05 * brute


def test_the_flat_part_of_a_function_costs_nothing():
    x = torch.linspace(-40.0, 4.0, 20_000, dtype=torch.float64)
    blind, seeing = chosen(x, "mse", 8), chosen(x, "mse", 8, of=ogive.get("gelu"))
    assert seeing.ends[0] > 0.5 * blind.ends[0]  # the long flat tail is cut off
    error = [float((ogive.get("gelu")(g.rounded(x)) - ogive.get("gelu")(x)).square().mean()) for g in (blind, seeing)]
    assert error[1] < 0.5 * error[0]


def test_a_model_is_tabulated_and_put_back():
    model = net()
    before = copy.deepcopy(model)
    report = tabulate(model, [X[:150], X[150:]], score=lambda m: m(X).mean(1))
    assert [c.after for c in report.changes] == ["gelu, 8-bit table", "silu, 8-bit table"]
    inner = before[1](before[0](X)).detach()
    want = by_hand(lambda v: torch.nn.functional.gelu(torch.from_numpy(v)).numpy(), model[1].into, model[1].out,
                   before[0](X).detach().double().numpy())  # fmt: skip
    got = model[1](before[0](X)).detach().double().numpy()
    off = np.abs(got - want) > 1e-5  # ties of float32 division
    assert off.mean() < 1e-3
    error = float(
        (torch.from_numpy(want) - inner.double()).square().mean().sqrt() / inner.double().square().mean().sqrt()
    )
    assert report.changes[0].error == pytest.approx(error, rel=0.02)
    assert report["cosine to before"].after > 0.999
    assert report["size of the tables"].after == 0.5
    assert max(map(len, repr(report).splitlines())) <= 80
    report.undo()
    assert torch.equal(model(X), before(X))
    assert isinstance(model[1], nn.GELU)


def test_minmax_sees_every_value():
    x = X.clone()
    x[333, 3] = 60.0  # one of 400 x 32 pre-activations: a sample could miss it
    model = net()
    high = float(model[0](x).detach().max())
    tabulate(model, x, time=False)
    assert model[1].into.ends[1] == pytest.approx(high, rel=1e-2)


def test_more_bits_are_nearer():
    errors = []
    for bits in (3, 5, 8, 16):
        report = tabulate(net(), X, bits=bits, scale="mse", time=False)
        errors.append(report.changes[0].error)
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 100 * errors[3]


def test_rules_put_other_functions_in_tables():
    model = net()
    report = tabulate(model, X, rules={"gelu": "golu", "silu": None}, time=False)
    assert [c.after for c in report.changes] == ["golu, 8-bit table"]
    assert report.left == (("3", "the rule 'silu' leaves it"),)
    refit = tabulate(net(), X, rules={"gelu": "hardswish"}, fit="refit", time=False)
    kept = tabulate(net(), X, rules={"gelu": "hardswish"}, time=False)
    assert refit.changes[0].error < 0.5 * kept.changes[0].error
    assert refit.changes[0].after == "hardswish, fitted, 8-bit table"


def test_functions_in_code_get_tables_and_gates_stay():
    from tests.surgery.models import Functional, SwiGLU

    torch.manual_seed(0)
    model = Functional()
    before = model(X).detach()
    report = tabulate(model, X, time=False)
    assert len(report.changes) >= 6
    assert report["cosine to before"].after > 0.99
    report.undo()
    assert torch.equal(model(X), before)
    assert [c.before for c in tabulate(SwiGLU(), X, time=False).changes] == ["silu"]


def test_state_is_saved_and_loaded():
    model = net()
    tabulate(model, X, time=False)
    other = net()
    tabulate(other, 3.0 * X, time=False)
    assert not torch.equal(model(X), other(X))
    other.load_state_dict(model.state_dict())
    assert torch.equal(model(X), other(X))
    assert torch.equal(copy.deepcopy(model)(X), model(X))
    third = net()
    tabulate(third, 3.0 * X, time=False)
    third[1].load_state_dict(model[1].half().state_dict())
    assert third[1].into == model[1].into
    assert torch.equal(third[1](X), model[1](X))


def test_backward_is_the_slope_at_the_rounded_input():
    table = TableAct("gelu", grid(-2.0, 2.0))
    x = torch.tensor([-3.0, -1.0, 0.3, 1.9, 5.0], dtype=torch.float64, requires_grad=True)
    table(x).sum().backward()
    at = table.into.rounded(x.detach()).requires_grad_()
    torch.nn.functional.gelu(at).sum().backward()
    want = at.grad.clone()
    want[[0, 4]] = 0.0
    torch.testing.assert_close(x.grad, want)


def test_a_half_stays_a_half_and_nan_is_the_zero_point():
    table = TableAct("silu", grid(-2.0, 2.0))
    assert table(torch.zeros(3, dtype=torch.bfloat16)).dtype == torch.bfloat16
    assert float(table(torch.tensor(math.nan))) == float(table(torch.tensor(0.0)))


def test_sites_are_found_again_in_a_tabulated_model():
    model = net()
    tabulate(model, X, time=False)
    assert [s.label for s in ogive.sites(model, X)] == ["gelu", "silu"]


def test_errors_say_what_to_do():
    with pytest.raises(ParameterError, match="bits=9"):
        tabulate(net(), X, bits=9)
    with pytest.raises(ParameterError, match="did you mean 'mse'"):
        tabulate(net(), X, scale="mze")
    with pytest.raises(OgiveError, match="inf"):
        TableAct("1/x", grid(-1.0, 1.0))
    with pytest.raises(InputError, match="swiglu"):
        TableAct("swiglu", grid(-1.0, 1.0))
    with pytest.raises(InputError, match="int64"):
        TableAct("relu", grid(-1.0, 1.0))(torch.arange(3))
    model = net()
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(OgiveError, match="not finite"):
        tabulate(model, torch.full((4, 16), math.nan))
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert isinstance(model[1], nn.GELU)

    def score(m):
        if isinstance(m[1], TableAct):
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        tabulate(model, X, score=score)
    assert isinstance(model[1], nn.GELU)


def test_learned_slopes_by_channel_are_left():
    model = nn.Sequential(nn.Linear(16, 8), nn.PReLU(8), nn.Linear(8, 8), nn.ReLU())
    with torch.no_grad():
        model[1].weight.copy_(torch.linspace(0.0, 0.5, 8))
    report = tabulate(model, X, time=False)
    assert [c.site for c in report.changes] == ["3"]
    assert "a table holds one function" in report.left[0][1]


def run(model, x, weights_stay=True):
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    if weights_stay:  # or a Linear between two tables gets its weights rounded to 8 bits
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


@pytest.mark.parametrize("name", ["gelu", "golu", "x*tanh(x) - 0.1"])
def test_onnx_runtime_gives_the_same_table(name):
    pytest.importorskip("onnx")
    table = TableAct(name, grid(-3.3, 4.1))
    x = torch.linspace(-5.0, 5.0, 10_001)
    assert np.array_equal(run(to_onnx(table), x), table(x).numpy())


def test_onnx_runtime_runs_a_chain(tmp_path):
    onnx = pytest.importorskip("onnx")
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.GELU(), nn.Conv2d(8, 8, 3, groups=8),
                          nn.ReLU(), nn.Flatten(), nn.Linear(32, 16), nn.Tanh(), nn.Linear(16, 3))  # fmt: skip
    x = torch.randn(50, 1, 8, 8)
    tabulate(model, x, time=False)
    made = to_onnx(model, str(tmp_path / "m.onnx"))
    kinds = [n.op_type for n in made.graph.node]
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear") == kinds.count("Gather") == 3
    with torch.no_grad():
        want = model(x).numpy()
    got = run(onnx.load(str(tmp_path / "m.onnx")), x)
    # a value beside a tie may round the other way where the sums are in another order
    assert np.linalg.norm(got - want) < 2e-3 * np.linalg.norm(want)
    rounded = run(made, x, weights_stay=False)
    assert np.linalg.norm(rounded - want) < 5e-2 * np.linalg.norm(want)
    with pytest.raises(InputError, match="LayerNorm"):
        to_onnx(nn.Sequential(nn.LayerNorm(3)))
    with pytest.raises(OgiveError, match="16 entries"):
        to_onnx(TableAct("relu", Grid(0.1, 0, -8, 7)))


@pytest.mark.slow
def test_the_exporter_of_torch_writes_the_same_nodes(tmp_path):
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    model = net().eval()
    tabulate(model, X, time=False)
    torch.onnx.export(model, (X,), str(tmp_path / "m.onnx"), dynamo=True, verbose=False)
    made = onnx.load(str(tmp_path / "m.onnx"))
    assert [n.op_type for n in made.graph.node].count("QuantizeLinear") == 2
    with torch.no_grad():
        want = model(X).numpy()
    assert np.linalg.norm(run(made, X) - want) < 2e-3 * np.linalg.norm(want)
