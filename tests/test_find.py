"""Recognition: published functions under other spellings, parameters, scalings; and functions that are new."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.fx
import torch.nn.functional as F
from torch import nn

import ogive
from ogive.derive.find import find
from ogive.derive.kept import digest, kept, text, value
from ogive.derive.recognition.candidates import table
from ogive.derive.recognition.fit import Transform
from ogive.derive.recognition.looks import nearest, signature
from ogive.derive.recognition.structure import layout
from ogive.derive.recognition.target import CHECK, FIT, Target, mismatch
from tests.disguises import disguises, novel, recognised


def label(value: object) -> str:
    """A name without an address, so that every worker collects the same tests."""
    return value if isinstance(value, str) else str(getattr(value, "__name__", type(value).__name__))


@pytest.mark.parametrize(
    ("spec", "name"),
    [
        ("x*tanh(log(1+exp(x)))", "mish"),
        ("x/(1+exp(-x))", "silu"),
        ("0.5*x*(1+erf(x/sqrt(2)))", "gelu"),
        ("(exp(x)-exp(-x))/(exp(x)+exp(-x))", "tanh"),
        ("max(x, 0)", "relu"),
        ("x*min(max(x+3, 0), 6)/6", "hardswish"),
        ("2*sigmoid(2*x) - 1", "tanh"),
        ("x*exp(-exp(-x))", "golu"),
        (nn.GELU(), "gelu"),
        (nn.GELU(approximate="tanh"), "gelu_tanh"),
        (nn.Mish(), "mish"),
        (nn.Softshrink(), "softshrink"),
        (nn.LogSigmoid(), "log_sigmoid"),
        (F.silu, "silu"),
        (F.softsign, "softsign"),
        (torch.tanh, "tanh"),
        (lambda x: x.clamp(-1, 1), "hardtanh"),
        (lambda x: x * torch.erf(F.softplus(x)), "serf"),
        ("gelu", "gelu"),
        ("sugar", "sugar"),
    ],
    ids=label,
)
def test_identical(spec, name):
    got = find(spec)
    assert got.best is not None, got
    assert (got.best.name, got.best.kind) == (name, "identical")
    assert got.best.gap < 1e-8
    assert got.best.cited in repr(got)


@pytest.mark.parametrize(
    ("spec", "name", "params"),
    [
        ("x * sigmoid(1.5*x)", "swish", {"beta": 1.5}),
        (lambda x: x * torch.sigmoid(1.5 * x), "swish", {"beta": 1.5}),
        (nn.ELU(0.3), "elu", {"alpha": 0.3}),
        (nn.LeakyReLU(0.2), "leaky_relu", {"negative_slope": 0.2}),
        (nn.Softplus(beta=2.5), "softplus", {"beta": 2.5}),
        (lambda x: F.softshrink(x, 0.8), "softshrink", {"lambd": 0.8}),
        ("x + sin(2.5*x)**2/2.5", "snake", {"a": 2.5}),
        ("(x + sqrt(x*x + 7))/2", "squareplus", {"b": 7.0}),
    ],
    ids=label,
)
def test_other_parameters(spec, name, params):
    got = find(spec)
    assert got.best is not None, got
    assert (got.best.name, got.best.kind) == (name, "same formula with other parameters")
    assert got.best.parameters == pytest.approx(params, rel=1e-8)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("tanh(x)", "2*sigmoid(2*x) - 1"), ("max(x, 0)", "0.5*(x + abs(x))"), ("log(1 + 1/exp(-x))", "softplus(x)"),
        ("1/(1 + 1/exp(x))", "sigmoid(x)"), ("sin(x)**2", "0.5 - 0.5*cos(2*x)"), ("exp(x)*exp(-x*x)", "exp(x - x*x)"),
        ("max(min(x, 1), -1)", "where(x > 1, 1, where(x < -1, -1, x))"), ("x/sqrt(1 + x*x)", "x*(1 + x**2)**-0.5"),
        ("sqrt((x - 1)*(x - 1))", "max(x - 1, 1 - x)"), ("erf(-x)", "1 - 2*Phi(sqrt(2)*x)"),
    ],
)  # fmt: skip
def test_two_ways_to_write_a_function_have_one_normal_form(one, other):
    first, second = (layout(ogive.get(f).written, {}, "x") for f in (one, other))
    assert first.shape == second.shape
    places = sorted({*first.coefficients, *second.coefficients})
    assert np.allclose(first.row(places, 1), second.row(places, 1), atol=1e-12)
    assert layout(ogive.get("tanh(x) + x").written, {}, "x").coefficients.keys() != first.coefficients.keys()


def test_tables_of_earlier_versions_are_removed(tmp_path, monkeypatch):
    monkeypatch.setenv("OGIVE_CACHE", str(tmp_path))
    for key in "abcd":
        kept("trial", key, lambda: {"a": np.arange(3.0)})
        kept("other", "a", lambda: {"a": np.arange(3.0)})
    assert sorted(f.name for f in tmp_path.iterdir()) == ["other-a.tables", "trial-c.tables", "trial-d.tables"]


def test_tables_are_kept_and_damaged_ones_made_again(tmp_path, monkeypatch):
    monkeypatch.setenv("OGIVE_CACHE", str(tmp_path))
    made = []

    def make():
        made.append(1)
        return {"a": np.arange(7.0), "b": np.ones((2, 3), np.float16), "said": text({"k": [1, 2]})}

    first, second = kept("trial", "0", make), kept("trial", "0", make)
    assert len(made) == 1
    assert all(np.array_equal(first[k], second[k]) and first[k].dtype == second[k].dtype for k in first)
    assert value(second["said"]) == {"k": [1, 2]}
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for damaged in (whole[:100], whole[:-5] + b"spoil", b"", b"\0" * 64):
        file.unlink()
        file.write_bytes(damaged)
        assert np.array_equal(kept("trial", "0", make)["a"], np.arange(7.0))
        assert file.read_bytes() == whole
    assert len(made) == 5
    assert digest(["a", "b"]) != digest(["ab"])


def test_it_says_published_as():
    assert repr(find("x*sigmoid(1.5*x)")).startswith(
        "x*sigmoid(1.5*x): published as swish with beta = 1.5 (Ramachandran et al. 2017)"
    )
    assert repr(find("3*tanh(2*x)")).splitlines()[0].startswith("3*tanh(2*x): published as ")


# c f(a x + b) + e of twenty entries; what is found must be the function, and name the entry among the answers.
DISGUISES = [
    ("tanh", 0.7, 0.3, -1.4, 0.2), ("sigmoid", -1.3, 0.5, 2.0, -1.0), ("relu", -1.89, -0.02, 1.7, -0.6),
    ("elu", 1.2, -0.8, 0.6, 1.0), ("gelu", 0.8, 0.4, -2.0, 0.1), ("silu", 1.4, -0.3, 1.1, 0.9),
    ("mish", -0.6, 0.2, 1.5, -0.3), ("softplus", 1.7, 1.0, 0.4, -2.0), ("softsign", 0.9, -0.7, 3.0, 0.5),
    ("hardswish", 1.5, 0.6, -0.8, 0.0), ("golu", 0.75, -0.4, 1.25, 0.3), ("erf", -1.1, 0.9, 0.5, 0.5),
    ("gaussian", 0.6, -0.5, 2.2, -1.1), ("arctan", 2.1, 0.35, 0.9, 0.4), ("hardshrink", -1.44, 0.48, 1.7, -0.6),
    ("heaviside", -1.13, -0.49, 1.7, -0.6), ("mexican_hat", 0.65, 0.25, -1.6, 0.8), ("selu", 0.9, 0.5, 1.3, -0.2),
    ("logish", 1.25, -0.6, 0.7, 0.4), ("asinh", -0.8, 1.1, 1.9, 0.6),
]  # fmt: skip


@pytest.mark.parametrize(("name", "a", "b", "c", "e"), DISGUISES, ids=[d[0] for d in DISGUISES])
def test_disguises(name, a, b, c, e):
    f = ogive.get(name)
    got = find(lambda x: c * f(a * x + b) + e, k=20)
    best = got.best  # the entry, or a scaled copy of it that needs fewer numbers
    assert best is not None, got
    rebuilt = ogive.get(best.name).with_params(**best.parameters)
    how = best.transform
    x = torch.from_numpy(CHECK)
    y = how.c * rebuilt(how.a * x + how.b) + how.d * x + how.e
    assert mismatch((c * f(a * x + b) + e).numpy(), y.numpy()) < 1e-8


def test_a_slope_added_is_seen():
    got = find("x*Phi(x) - 0.3*x")
    assert got.best is not None
    assert (got.best.name, got.best.transform) == ("gelu", Transform(d=-0.3))


NOVEL = [
    "x*sin(exp(-x*x))*cos(x)",
    "x*sigmoid(x)*cos(x)",
    "tanh(x) + 0.1*sin(3*x)",
    "x*sigmoid(x**3)",
    "log(1 + exp(x))*exp(-x*x)",
    "where(x > 0, sqrt(x), tanh(x**3))",
    "x/(1 + abs(x)**3)",
    "x*tanh(exp(x))*sigmoid(-x)",
    "relu(x)*sin(x) + 0.2*atan(x)",
    "erf(x)*softplus(x + sin(x))",
]


@pytest.mark.parametrize("spec", NOVEL)
def test_a_new_function_is_not_claimed(spec):
    got = find(spec)
    assert got.best is None, got
    assert not got
    assert "not in the catalogue" in repr(got)
    assert got.near
    assert all(m.gap > 1e-6 for m in got.near)
    assert [m.gap for m in got.near] == sorted(m.gap for m in got.near)


def test_a_constant_is_nothing_published():
    assert find(lambda x: 0 * x + 3).best is None


def test_a_line_is_the_identity_rescaled():
    got = find(lambda x: 3 * x + 1)
    assert got.best is not None
    assert (got.best.name, got.best.transform) == ("identity", Transform(c=3.0, e=1.0))


def test_gates_are_compared_as_they_are():
    assert find("x*sigmoid(x)*y").best.name == "swiglu"
    assert find("x*y*y").best is None


def test_k_and_dict():
    got = find("x*sigmoid(x)", k=2)
    assert len(got.matches) == 2
    told = json.loads(json.dumps(got.to_dict()))
    assert told["found"] is True
    assert told["matches"][0]["name"] == "silu"


def test_an_act_module_with_learned_parameters():
    act = ogive.Act("swish", beta=1.25)
    got = find(act)
    assert got.best.name == "swish"
    assert got.best.parameters == pytest.approx({"beta": 1.25}, rel=1e-6)


def test_two_hundred_disguised_functions_are_recognised():
    hidden = disguises(200, seed=0)
    assert len(hidden) == 200
    found = [(d, find(d.target)) for d in hidden]
    missed = [(d.entry, d.done) for d, got in found if not recognised(d, got)]
    # seeds 0 to 4 miss 5, 3, 4, 2, 2 of 200: 1.6 %. Every rewritten entry makes another sample of it.
    assert len(missed) <= 6, missed
    renamed = [d.entry for d, got in found if not recognised(d, got, by_name=True)]
    assert len(renamed) <= 30, renamed  # scaled copies of entries that need fewer numbers


def far_from_all(formula):
    """By the index of looks alone: no entry, scaled and shifted, explains 99.999 % of it."""
    y = signature(Target(formula).fit)
    return y is not None and all(start.left > 1e-5 for start in nearest(y, False))


def test_a_hundred_novel_functions_are_not_claimed():
    new = [f for f in novel(130, seed=0) if far_from_all(f)][:100]
    assert len(set(new)) == 100
    for formula in new:
        got = find(formula)
        assert got.best is None, got
        assert len(got.near) == 5


class Counting(nn.Module):
    """Keeps state: a buffer counts the calls."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return torch.tanh(x)


def drifting():
    state = [1.0]

    def f(x):
        state[0] += 0.1
        return state[0] * torch.tanh(x)

    return f


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (Counting(), "stateful.*calls"),
        (drifting(), "random or stateful"),
        (nn.BatchNorm1d(3), "failed"),
        (lambda x: x * torch.arange(len(x)), "not elementwise"),
        (lambda x: torch.cumsum(x, 0), "not elementwise"),
        (lambda x: x - x.mean(), "not elementwise"),
        (lambda x: x[:3], "another shape"),
        (lambda x: x.reshape(-1, 1), "another shape"),
        (lambda x: x + 0j, "complex"),
        (lambda x: 1 / 0, "ZeroDivisionError"),
    ],
    ids=range(10),
)
def test_the_diagnosis_says_which(spec, said):
    with pytest.raises(ogive.InputError, match=said):
        find(spec)


class Attribute:
    """An ONNX AttributeProto, as far as it is read."""

    def __init__(self, name, value):
        self.name = name
        self.type = {float: 1, int: 2, bytes: 3}[type(value)]
        self.f, self.i, self.s = (value if isinstance(value, t) else None for t in (float, int, bytes))


class Node:
    """An ONNX NodeProto, as far as it is read."""

    def __init__(self, op_type, *inputs, **attributes):
        self.op_type, self.input = op_type, list(inputs or ("x",))
        self.attribute = [Attribute(k, v) for k, v in attributes.items()]


def onnx_node(op_type, *inputs, **attributes):
    """A node made by the onnx package where it is installed."""
    try:
        from onnx import helper
    except ModuleNotFoundError:
        return Node(op_type, *inputs, **attributes)
    return helper.make_node(op_type, list(inputs or ("x",)), ["y"], **attributes)


@pytest.mark.parametrize(
    ("node", "name", "params"),
    [
        (("Relu", {}), "relu", {}),
        (("Gelu", {}), "gelu", {}),
        (("Gelu", {"approximate": b"tanh"}), "gelu_tanh", {}),
        (("Elu", {"alpha": 0.3}), "elu", {"alpha": 0.3}),
        (("LeakyRelu", {"alpha": 0.2}), "leaky_relu", {"negative_slope": 0.2}),
        (("Mish", {}), "mish", {}),
        (("HardSwish", {}), "hardswish", {}),
    ],
    ids=lambda v: v[0] if isinstance(v, tuple) else "",
)
def test_onnx_nodes(node, name, params):
    got = find(onnx_node(node[0], **node[1]))
    assert name in [m.name for m in got.matches if m.exact], got
    match = next(m for m in got.matches if m.name == name)
    assert match.parameters == pytest.approx(params, rel=1e-6)  # attributes are float32
    assert node[0] in got.target


def test_what_an_onnx_node_does_not_say():
    with pytest.raises(ogive.InputError, match="LeakyRelu"):
        find(onnx_node("LeakyReLU"))
    with pytest.raises(ogive.InputError, match="further inputs"):
        find(onnx_node("Clip", "x", "low", "high"))
    with pytest.raises(ogive.InputError, match="'axis'"):
        find(onnx_node("Relu", axis=1))


class Traced(nn.Module):
    def __init__(self):
        super().__init__()
        self.act = nn.ELU(0.4)
        self.register_buffer("slope", torch.tensor(0.2))

    def forward(self, x):
        a = self.act(x)
        b = torch.nn.functional.gelu(a, approximate="tanh")
        c = b.tanh()
        d = torch.nn.functional.leaky_relu(c, negative_slope=0.3)
        return torch.prelu(d + a, self.slope.reshape(1))


def test_torch_fx_nodes():
    graph = torch.fx.symbolic_trace(Traced()).graph
    found = {}
    for node in graph.nodes:
        if node.op in ("call_module", "call_function", "call_method") and len(node.all_input_nodes) == 1:
            try:
                best = find(node).best
            except ogive.InputError:
                continue
            found[str(getattr(node.target, "__name__", node.target))] = best and (best.name, dict(best.parameters))
    assert found["act"] == ("elu", {"alpha": 0.4})
    assert found["gelu"] == ("gelu_tanh", {})
    assert found["tanh"] == ("tanh", {})
    assert found["leaky_relu"] == ("leaky_relu", {"negative_slope": 0.3})
    placeholder = next(iter(graph.nodes))
    with pytest.raises(ogive.InputError, match="computes nothing"):
        find(placeholder)
    addition = next(n for n in graph.nodes if len(n.all_input_nodes) == 2)
    with pytest.raises(ogive.InputError, match="takes 2 tensors"):
        find(addition)


def test_exact_and_near_are_told_apart():
    got = find("x*sigmoid(1.702*x) + 1e-4*atan(x)*cos(3*x)")
    assert got.best is None
    assert not got.matches[0].exact
    assert got.matches[0].gap < 1e-3  # quick_gelu and its like, and it says how far away they are
    assert got.to_dict()["matches"][0]["exact"] is False
    assert find("x*sigmoid(x)").matches[0].exact


def test_every_entry_is_found_as_itself():
    for row in table().rows:
        got = find(row.act)
        assert (got.best.name, got.best.kind) == (row.name, "identical"), row.name
        assert np.isfinite(row.model.at(FIT, {})).all(), row.name


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (3, "int: '3'"),
        (lambda x: x.sum(), "shape"),
        (lambda x: torch.softmax(x, 0), "softmax"),
        (lambda x: torch.rand_like(x), "random"),
        (lambda x: "text", "str"),
        (lambda x: x @ torch.ones(7), "failed"),
        (nn.Linear(4, 4), "Linear"),
    ],
    ids=range(7),
)
def test_what_is_not_a_function_of_one_number_is_refused(spec, said):
    with pytest.raises(ogive.InputError, match=said):
        find(spec)


@pytest.mark.parametrize("formula", ["log(x)", "sqrt(x)", "exp(exp(x))", "1/x"])
def test_a_function_without_values_everywhere_is_not_in_the_catalogue(formula):
    assert find(formula).best is None and "not in the catalogue" in repr(find(formula))


def test_bad_options():
    with pytest.raises(ogive.ParameterError, match="k=0"):
        find("relu", k=0)
    with pytest.raises(ogive.ParameterError, match="tol"):
        find("relu", tol="small")
    with pytest.raises(ogive.UnknownName, match="gelu"):
        find("gleu")


def test_transform_text():
    assert Transform(a=-1.0, b=-0.5, c=2.0, d=-0.25, e=1.0).text("f") == "2*f(-x - 0.5) - 0.25*x + 1"
    assert Transform().changed == 0


def test_a_threshold_between_two_grid_points_is_not_overlooked():
    moved = find("where(x > 0.0804, x, 0)").best
    assert moved is not None and moved.kind != "identical"
    assert find("where(x > 0.1, x, 0)").best.kind == "identical"
