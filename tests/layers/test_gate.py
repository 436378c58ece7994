"""GLU: any activation on either branch, which half is the gate, what backward keeps, what errors say."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch.nn import functional as F

import ogive
from ogive import learn
from ogive.kernels import native
from ogive.layers import GLU, SimpleGate, gated, parameter_groups
from tests.conftest import smooth_points
from tests.entries import ONE_INPUT, name_of

# The published gates by the activations of their branches, and which half torch or the paper's code gates by.
PUBLISHED = {
    "reglu": (GLU("relu"), lambda a, b: F.relu(a) * b),
    "geglu": (GLU("gelu"), lambda a, b: F.gelu(a) * b),
    "swiglu": (GLU("silu"), lambda a, b: F.silu(a) * b),
    "bilinear": (GLU("identity"), lambda a, b: a * b),
    "drelu": (GLU("relu", "relu"), lambda a, b: F.relu(a) * F.relu(b)),
    "glu": (GLU(), lambda a, b: a * torch.sigmoid(b)),
    "gtu": (GLU("sigmoid", "tanh"), lambda a, b: torch.tanh(a) * torch.sigmoid(b)),
}
ON_THE_GATE = [entry for entry in ONE_INPUT if entry.backward is None]


def run(f, *inputs):
    """The value of ``f`` and its gradients by ``inputs`` for a fixed upstream gradient."""
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = f(*leaves)
    y.backward(torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape))
    return [y.detach(), *(x.grad for x in leaves)]


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_gates_value_gradient_and_order(name):
    """Built from branches, named in the catalogue and written in torch: the same function of the same halves."""
    ours, torchs = PUBLISHED[name]
    x = torch.randn(5, 12) * 3
    expected = run(lambda t: torchs(*t.chunk(2, -1)), x)
    torch.testing.assert_close(run(ours, x), expected)
    torch.testing.assert_close(run(GLU(name), x), expected)
    torch.testing.assert_close(run(ogive.Act(name, dim=-1), x), expected)


def test_default_side_is_that_of_the_source():
    x = torch.randn(3, 8)
    torch.testing.assert_close(GLU()(x), F.glu(x))
    assert GLU().gate == "second" and GLU("silu").gate == "first"
    assert GLU("sigmoid", expand=0.0).gate == "first"
    assert GLU("swiglu").gate is None


@pytest.mark.parametrize("dim", [0, 1, -1, -2])
@pytest.mark.parametrize("interleaved", [False, True])
def test_sides_and_layouts(dim, interleaved):
    """``second`` is the other half; two tensors come gate first whatever the side."""
    x = torch.randn(4, 6, 8)
    n = x.shape[dim] // 2
    index = torch.arange(2 * n)
    rows = (index[::2], index[1::2]) if interleaved else (index[:n], index[n:])
    a, b = (x.index_select(dim, r) for r in rows)
    first = GLU("silu", "tanh", gate="first", dim=dim, interleaved=interleaved)
    second = GLU("silu", "tanh", gate="second", dim=dim, interleaved=interleaved)
    torch.testing.assert_close(first(x), F.silu(a) * torch.tanh(b))
    torch.testing.assert_close(second(x), F.silu(b) * torch.tanh(a))
    assert torch.equal(first(a, b), second(a, b))
    assert torch.equal(first(a, b), first(x))


@pytest.fixture
def uncompiled():
    """Hundreds of formulas that are evaluated once are not worth a compiler's start each."""
    before = native.enable(False)
    yield
    native.enable(before)


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("entry", ON_THE_GATE, ids=name_of)
def test_every_activation_on_either_branch(entry):
    """The product rule, against the activation itself: value and both gradients to two roundings of float64."""
    x = smooth_points(entry)
    other = smooth_points(ogive.get("silu"))[: len(x)].flip(0)
    f, df = _jet(entry, x)
    g, dg = _jet(ogive.get("silu"), other)
    up = torch.linspace(-1, 2, len(x), dtype=x.dtype)
    close = {"rtol": 1e-13, "atol": 1e-15}
    torch.testing.assert_close(run(GLU(entry, "silu"), x, other), [f * g, up * df * g, up * f * dg], **close)
    torch.testing.assert_close(run(GLU("silu", entry), other, x), [f * g, up * f * dg, up * df * g], **close)


def _jet(entry, x):
    leaf = x.clone().requires_grad_()
    y = entry(leaf)
    (slope,) = torch.autograd.grad(y.sum(), leaf) if y.requires_grad else (torch.zeros_like(x),)
    return y.detach(), slope


def test_gradients_of_second_order_and_forward_mode():
    x, y = (torch.randn(6, dtype=torch.float64, requires_grad=True) for _ in range(2))
    gate = GLU("gelu", "softplus")
    assert torch.autograd.gradcheck(gate, (x, y), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(gate, (x, y))
    whole = torch.randn(2, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(GLU("mish", interleaved=True), (whole,))


class TestWhatBackwardKeeps:
    @staticmethod
    def saved(f):
        kept: list[torch.Tensor] = []

        def pack(t: torch.Tensor) -> torch.Tensor:
            kept.append(t)
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            f().sum()
        return kept

    @pytest.mark.parametrize("gate", [GLU("silu"), GLU("mish", "tanh"), GLU("gelu", expand=0.1)], ids=str)
    def test_two_inputs_and_nothing_else(self, gate):
        """Against three tensors of torch's composite of silu and a product."""
        x, y = (torch.randn(64, 32, requires_grad=True) for _ in range(2))
        kept = self.saved(lambda: gate(x, y))
        assert [t.data_ptr() for t in kept] == [x.data_ptr(), y.data_ptr()]
        assert sum(t.nbytes for t in kept) == 2 * x.nbytes
        assert sum(t.nbytes for t in self.saved(lambda: F.silu(x) * y)) == 3 * x.nbytes

    @pytest.mark.parametrize("interleaved", [False, True])
    def test_views_of_the_one_tensor(self, interleaved):
        whole = torch.randn(64, 32, requires_grad=True)
        gate = GLU("silu", interleaved=interleaved, gate="second")
        kept = self.saved(lambda: gate(whole))
        assert {t.untyped_storage().data_ptr() for t in kept} == {whole.untyped_storage().data_ptr()}
        assert sum(t.nbytes for t in kept) == whole.nbytes

    def test_learned_parameters_add_themselves(self):
        gate = GLU("swish", beta=learn("layer"))
        x, y = (torch.randn(64, 32, requires_grad=True) for _ in range(2))
        kept = self.saved(lambda: gate(x, y))
        assert sum(t.nbytes for t in kept) == 2 * x.nbytes + 4


class TestExpandedGate:
    """Huang 2024: the gate's range stretched to (-alpha, 1 + alpha)."""

    @pytest.mark.parametrize("plain,expanded", [("silu", "xsilu"), ("gelu", "xgelu"), ("atlu", "xatlu")])
    def test_of_self_gated_functions_is_the_catalogues(self, plain, expanded):
        x, y = torch.randn(200, dtype=torch.float64) * 5, torch.randn(200, dtype=torch.float64)
        for alpha in (0.0, 0.3, -0.2):
            ours = run(GLU(plain, expand=alpha), x, y)
            torch.testing.assert_close(ours, run(GLU(expanded, alpha=alpha), x, y), rtol=1e-12, atol=1e-13)
        ends = torch.tensor([float("inf"), float("-inf"), 1e30, -1e30])
        assert GLU(plain, expand=0.3)(ends, torch.ones(4)).tolist() == pytest.approx(
            [float("inf"), float("inf"), 1.3e30, 3e29], rel=1e-6
        )

    @pytest.mark.parametrize("gate", ["sigmoid", "Phi(x)", "atan(x)/pi + 0.5"])
    def test_of_a_gate_stretches_its_range(self, gate):
        x = torch.tensor([-1e6, 0.0, 1e6], dtype=torch.float64)
        stretched = GLU(gate, expand=0.25)(x, torch.ones(3, dtype=torch.float64))
        assert stretched.tolist() == pytest.approx([-0.25, 0.5, 1.25], abs=1e-6)
        same = GLU(gate, expand=0.0)(x, torch.ones(3, dtype=torch.float64))
        assert same.tolist() == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)

    def test_is_learned_from_zero_without_decay(self):
        gate = GLU("silu", expand=learn("channel"), channels=4)
        assert gate.expand.tolist() == [0.0] * 4
        gate(torch.randn(9, 8)).square().sum().backward()
        assert (gate.raw_expand.grad != 0).all()
        assert parameter_groups(gate, 0.1) == [{"params": [gate.raw_expand], "weight_decay": 0.0}]

    @pytest.mark.parametrize("act", ["tanh", "sin", "softplus(-x)"])
    def test_refuses_what_is_not_gated(self, act):
        with pytest.raises(ogive.ParameterError, match=r"expand: .* goes from .* gate from 0 to 1"):
            GLU(act, expand=0.1)


class TestParameters:
    def test_of_both_branches(self):
        gate = GLU("swish", "swish", beta=learn("channel", init=1.5), beta_2=0.5, channels=3)
        x = torch.randn(4, 6)
        a, b = x.chunk(2, -1)
        torch.testing.assert_close(gate(x), a * torch.sigmoid(1.5 * a) * b * torch.sigmoid(0.5 * b))
        assert list(gate.state_dict()) == ["raw_beta"] and gate.beta_2 == 0.5
        gate.beta_2 = 2.0
        torch.testing.assert_close(gate(x), a * torch.sigmoid(1.5 * a) * b * torch.sigmoid(2 * b))

    def test_along_dim(self):
        slopes = torch.tensor([0.1, 0.2, 0.3])
        gate = GLU("prelu", a=learn("channel", init=slopes), channels=3, dim=1)
        y = gate(torch.cat([-torch.ones(2, 3, 4, 4), torch.full((2, 3, 4, 4), 2.0)], 1))
        torch.testing.assert_close(y, (-2 * slopes)[:, None, None].expand(2, 3, 4, 4))

    def test_names_that_are_inputs_or_the_modules_own(self):
        odd = ogive.define(lambda z, y=2.0, gate=0.5: ogive.ops.tanh(y * z) + gate)
        gate = GLU(odd, gate_2=learn(), y_2=3.0)
        torch.testing.assert_close(gate(torch.ones(2), torch.ones(2)), torch.full((2,), 3.0).tanh() + 0.5)
        assert gate.gate == "first" and gate.gate_2.item() == 0.5

    def test_state_survives_copy_and_pickle(self):
        gate = GLU("swish", "tanh", beta=learn("layer", init=1.7), gate="second", interleaved=True)
        x = torch.randn(3, 8)
        for twin in (copy.deepcopy(gate), pickle.loads(pickle.dumps(gate))):
            assert torch.equal(twin(x), gate(x)) and repr(twin) == repr(gate)
            assert twin.raw_beta is not gate.raw_beta


def test_equal_gates_share_their_formula():
    assert GLU("silu").entry is GLU("silu", gate="second").entry
    assert GLU("silu", expand=0.1).entry is not GLU("silu").entry
    assert gated(ogive.get("silu"), ogive.get("identity")).written is ogive.get("swiglu").written
    assert gated(ogive.get("relu"), ogive.get("identity")).written is ogive.get("reglu").written


def test_surrogate_derivative_on_the_gate():
    """A step with a surrogate slope: its value gates, the surrogate times the other branch is the gradient."""
    step = ogive.define(lambda x: ogive.ops.where(x > 0, 1.0, 0.0), backward=lambda x: ogive.ops.sech2(x))
    x, y = torch.randn(9, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    up = torch.linspace(-1, 2, 9, dtype=torch.float64)
    slope = 1 - x.tanh().square()
    torch.testing.assert_close(run(GLU(step), x, y), [(x > 0) * y, up * slope * y, up * (x > 0)])
    stretched = run(GLU(step, expand=0.5), x, y)
    torch.testing.assert_close(stretched, [(2.0 * (x > 0) - 0.5) * y, up * 2 * slope * y, up * (2.0 * (x > 0) - 0.5)])
    with pytest.raises(ogive.FormulaError, match=r"surrogate derivative, which works on the gate only; give it as act"):
        GLU("silu", step)


def test_simple_gate_is_the_product_of_the_channel_halves():
    x = torch.randn(2, 6, 5, 5)
    assert torch.equal(SimpleGate()(x), x[:, :3] * x[:, 3:])
    assert torch.equal(SimpleGate()(x), GLU("identity", dim=1)(x))
    assert torch.equal(SimpleGate(-1)(x[..., :4]), x[..., :2] * x[..., 2:4])
    assert list(SimpleGate().parameters()) == []


def test_density_of_drelu_at_a_random_start_is_a_quarter():
    """Two independent signs against one: 25 % and 50 % of Gaussian hidden units are not zero."""
    weights = torch.randn(2 * 512, 64)
    hidden = torch.randn(400, 64) @ weights.T
    share = {up: (GLU("relu", up)(hidden) != 0).double().mean().item() for up in ("relu", "identity")}
    # 512 independent units, each with a share of variance 1/16 or less over random signs
    assert share["relu"] == pytest.approx(0.25, abs=0.01)
    assert share["identity"] == pytest.approx(0.50, abs=0.01)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_dtype_is_kept_within_one_unit(dtype):
    x = (torch.randn(64, 32) * 3).to(dtype)
    y = GLU("silu")(x)
    assert y.dtype == dtype
    if dtype != torch.float64:
        a, b = x.double().chunk(2, -1)
        exact = a * torch.sigmoid(a) * b
        unit = torch.finfo(dtype).eps * 2.0 ** torch.floor(torch.log2(exact.abs())).clamp_min(-14)
        assert ((y.double() - exact).abs() <= unit).all()


def test_broadcast_of_the_second_tensor():
    x, y = torch.randn(4, 5, 6), torch.randn(4, 1, 6)
    value, dx, dy = run(GLU("silu"), x, y)
    expected = run(lambda a, b: F.silu(a) * b, x, y)
    torch.testing.assert_close([value, dx, dy], expected)


def test_one_graph_under_the_compiler():
    gate = GLU("swish", "tanh", beta=learn("layer", init=1.5), gate="second")
    x = torch.randn(3, 8)
    torch.testing.assert_close(run(torch.compile(gate, backend="aot_eager", fullgraph=True), x), run(gate, x))


def test_function_transforms():
    gate = GLU("silu")
    x = torch.randn(5, 8)
    torch.testing.assert_close(torch.func.vmap(gate)(x), gate(x))
    torch.testing.assert_close(
        torch.func.vmap(torch.func.grad(lambda t: gate(t).sum()))(x), torch.func.grad(lambda t: gate(t).sum())(x)
    )


@pytest.mark.parametrize("shape", [(0, 4), (3, 0), (2, 0, 6)])
def test_empty(shape):
    y = GLU("silu")(torch.zeros(shape, requires_grad=True))
    assert y.shape == (*shape[:-1], shape[-1] // 2)
    y.sum().backward()


@pytest.mark.parametrize(
    "make,says",
    [
        (lambda: GLU("silu", gate="frist"), r"GLU: gate='frist'; it is 'first' or 'second' \(did you mean 'first'"),
        (lambda: GLU("silu", gate=1), r"GLU: gate=1; it is 'first'"),
        (lambda: GLU("swiglu", gate="second"), r"GLU\(swiglu\): gate='second', but .* first half is x; .*GLU\('silu'"),
        (lambda: GLU("swiglu", "tanh"), r"GLU\(swiglu\): it is a whole gate of two inputs, which act_up='tanh'"),
        (lambda: GLU("swiglu", expand=0.1), r"GLU\(swiglu\): it is a whole gate.*expand=0.1"),
        (lambda: GLU("swish", bta=1.0), r"GLU\(swish, identity\) has no parameter 'bta'.*did you mean 'beta'"),
        (lambda: GLU("swish", beta=learn("channel")), r"GLU\(swish, identity\): parameter beta is learned per channel"),
        (lambda: GLU("silu", dim="last"), r"GLU\(silu, identity\): dim='last'"),
        (lambda: GLU("silu", expand=True), r"parameter expand=True"),
    ],
)
def test_errors_of_the_constructor(make, says):
    with pytest.raises(ogive.ParameterError, match=says):
        make()


def test_a_branch_takes_one_input():
    with pytest.raises(ogive.FormulaError, match=r"GLU\(silu, swiglu\): swiglu takes two inputs; a branch is"):
        GLU("silu", "swiglu")
    with pytest.raises(ogive.UnknownName, match=r"closest are.*silu"):
        GLU("siluu")


@pytest.mark.parametrize(
    "inputs,says",
    [
        ((torch.zeros(2, 5),), r"GLU\(silu, identity\) is a gate .* even size along dim=-1; got \(2, 5\)"),
        ((torch.tensor(1.0),), r"even size along dim=-1; got \(\)"),
        ((torch.zeros(2, 4), torch.zeros(2, 3)), r"shapes \(2, 4\) and \(2, 3\), which do not fit together"),
        ((torch.zeros(2, 4, dtype=torch.int64),), r"takes floating-point tensors; got torch.int64"),
        ((torch.zeros(2, 4), 3), r"takes tensors; got int 3"),
        (([1.0, 2.0],), r"got list"),
    ],
)
def test_errors_of_the_call(inputs, says):
    for gate in (GLU("silu"), GLU("silu", interleaved=True)):
        with pytest.raises(ogive.InputError, match=says):
            gate(*inputs)
