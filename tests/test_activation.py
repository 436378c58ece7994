import copy
import math
import pickle

import pytest
import torch

import ogive
from ogive import FormulaError, InputError, Param, ParameterError, define
from ogive.ops import maximum, sigmoid, tanh, where

X = torch.linspace(-4, 4, 81, dtype=torch.float64)


def test_define_as_decorator_and_as_call():
    @define(params={"beta": Param(low=0.0, share="channel")})
    def gate(x, beta=1.5):
        """A note."""
        return x * sigmoid(beta * x)

    assert gate.name == "gate" and gate.note == "A note." and gate.defaults == {"beta": 1.5}
    assert gate.params["beta"].low == 0.0 and gate.params["beta"].share == "channel"
    by_text = define("x*sigmoid(beta*x)", params={"beta": 1.5})
    assert by_text.written is gate.written and by_text.name is None
    assert define(lambda x: maximum(x, 0)).name is None


def test_tensors_numbers_and_trees():
    silu = ogive.get("silu")
    assert silu(1.0) == pytest.approx(1 / (1 + math.exp(-1)), abs=1e-16)
    assert str(silu(ogive.expr.var("t"))) == "t*sigmoid(t)"
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        assert silu(X.to(dtype)).dtype == dtype


def test_arithmetic_and_composition():
    silu, relu, swish = ogive.get("silu"), ogive.get("relu"), ogive.get("swish")
    mix = 0.3 * silu + 0.7 * relu - 1
    assert torch.allclose(mix(X), 0.3 * silu(X) + 0.7 * X.clamp(min=0) - 1)
    assert torch.allclose((silu * relu / 2)(X), silu(X) * relu(X) / 2)
    assert torch.allclose((-silu)(X), -silu(X)) and torch.allclose((1 - silu)(X), 1 - silu(X))
    assert torch.allclose((2.0 / (silu + 3))(X), 2 / (silu(X) + 3))
    inner = ogive.get("softplus")
    assert torch.allclose(ogive.get("tanh")(inner)(X), torch.tanh(inner(X)))
    both = swish + swish(ogive.get("tanh"))
    assert list(both.params) == ["beta", "beta_2"]
    assert torch.allclose(both(X, beta=2.0, beta_2=3.0), swish(X, beta=2.0) + swish(torch.tanh(X), beta=3.0))


def test_parameters_are_checked_by_name():
    swish, elu = ogive.get("swish"), ogive.get("elu")
    for bad in (math.nan, math.inf, "2", None, True, [1.0]):
        with pytest.raises(ParameterError, match=r"swish: parameter beta="):
            swish(X, beta=bad)
    with pytest.raises(ParameterError, match=r"no parameter 'bta'.*did you mean 'beta'"):
        swish(X, bta=1.0)
    positive = define("x/a", params={"a": Param(1.0, low=0.0)})
    with pytest.raises(ParameterError, match=r"a=-1.*\(0, inf\)"):
        positive(X, a=-1.0)
    with pytest.raises(ParameterError, match="floating point"):
        swish(X, beta=torch.tensor(1))
    with pytest.raises(ParameterError, match="default"):
        define("a*x", params={"a": Param(-1.0, low=0.0)})
    assert elu.with_params(alpha=0.5)(-1.0) == pytest.approx(0.5 * math.expm1(-1))


def test_inputs_are_checked():
    relu = ogive.get("relu")
    with pytest.raises(InputError, match=r"int64.*x\.float\(\)"):
        relu(torch.arange(3))
    with pytest.raises(InputError, match="complex"):
        relu(torch.zeros(2, dtype=torch.complex64))
    with pytest.raises(InputError, match="takes tensors; got list"):
        relu([1.0, 2.0])
    with pytest.raises(InputError, match="takes 1 input"):
        relu(X, X)


def test_bad_formulas_say_what_is_wrong():
    with pytest.raises(FormulaError, match="where"):
        define(lambda x: x if x > 0 else 0 * x)
    with pytest.raises(FormulaError, match=r"ogive\.ops"):
        define(lambda x: torch.tanh(x))
    with pytest.raises(FormulaError, match="does not depend on x"):
        define("1 + 2")
    with pytest.raises(FormulaError, match="does not use the parameter 'b'"):
        define("x", params={"b": 1.0})
    with pytest.raises(FormulaError, match="one input or two"):
        define(lambda a, b, c: a + b + c)
    with pytest.raises(FormulaError, match="named arguments"):
        define(lambda *xs: xs[0])


def test_learned_parameters_get_their_gradient_in_one_pass():
    swish = ogive.get("swish")
    x = torch.randn(8, 5, 3, dtype=torch.float64)
    for shape in ((), (5, 1), (8, 5, 3)):
        beta = torch.rand(shape, dtype=torch.float64).add_(0.5).requires_grad_()
        swish(x, beta=beta).sum().backward()
        reference = beta.detach().clone().requires_grad_()
        (x * torch.sigmoid(reference * x)).sum().backward()
        assert beta.grad.shape == reference.grad.shape and torch.allclose(beta.grad, reference.grad)


def test_narrow_inputs_do_not_narrow_the_parameter_gradient():
    swish = ogive.get("swish")
    x = torch.randn(4096, generator=torch.Generator().manual_seed(0)).bfloat16()
    beta = torch.ones((), requires_grad=True)
    y = swish(x, beta=beta)
    assert y.dtype == torch.bfloat16
    y.float().sum().backward()
    wide = torch.ones((), dtype=torch.float64, requires_grad=True)
    swish(x.double(), beta=wide).sum().backward()
    assert (
        beta.grad.dtype == torch.float32
        and abs(beta.grad.item() - wide.grad.item()) < 1e-6 * abs(wide.grad.item()) + 1e-6
    )


def test_surrogates_are_used_and_not_composed():
    step = define(lambda x: where(x > 0, 1.0, 0.0), backward=lambda x: 1 / (1 + abs(x)) ** 2)
    x = X.clone().requires_grad_()
    (g,) = torch.autograd.grad(step(x).sum(), x, create_graph=True)
    assert torch.allclose(g, 1 / (1 + X.abs()) ** 2)
    (h,) = torch.autograd.grad(g.sum(), x)
    assert torch.allclose(h, -2 * X.sign() / (1 + X.abs()) ** 3)
    assert torch.equal(ogive.derivative(step)(X), g.detach())
    for use in (lambda: step + 1, lambda: step * ogive.get("relu"), lambda: ogive.get("tanh")(step)):
        with pytest.raises(FormulaError, match="surrogate"):
            use()


@pytest.mark.parametrize(
    "formula, points",
    [
        ("max(x, 0)", [0.0]), ("clip(x + 3, 0, 6)*x/6", [-3.0, 3.0]), ("abs(2*x - 1)", [0.5]), ("x*sigmoid(x)", []),
        ("where(x > 1.5, x, where(x > -2, 0, -1))", [-2.0, 1.5]), ("max(x*x - 2, 0)", [-math.sqrt(2), math.sqrt(2)]),
        ("round(clip(x, -1, 1))", [-1.0, -0.5, 0.5, 1.0]), ("max(tanh(x), 0.5)", [math.atanh(0.5)]),
    ],
)  # fmt: skip
def test_breakpoints(formula, points):
    assert define(formula).breakpoints() == pytest.approx(points, abs=1e-15)


def test_breakpoints_follow_parameters():
    shrink = define("where(abs(x) > lam, x, 0)", params={"lam": 0.5})
    assert shrink.breakpoints() == pytest.approx([-0.5, 0.0, 0.5], abs=1e-15)
    assert shrink.breakpoints(lam=2.0) == pytest.approx([-2.0, 0.0, 2.0], abs=1e-15)


def test_copies_and_pickles():
    for act in (ogive.get("swish"), define("x*tanh(a*x)", params={"a": 2.0})):
        back = pickle.loads(pickle.dumps(act))
        assert back.written is act.written and back.defaults == act.defaults and copy.deepcopy(act) is act
        assert torch.equal(back(X), act(X))


def test_gates_take_two_tensors():
    gate = define(lambda x, y: x * sigmoid(y))
    a, b = torch.randn(2, 6, dtype=torch.float64).requires_grad_().unbind()
    assert torch.autograd.gradcheck(gate, (a, b)) and torch.autograd.gradgradcheck(gate, (a, b))
    c = torch.randn(3, 1, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(gate, (a, c))
    assert define("x*tanh(y)").inputs == ("x", "y")


def test_derivative_of_any_order():
    d5 = ogive.derivative(ogive.get("tanh"), 5)
    for at in (-1.3, 0.0, 0.4):
        assert d5(at) == pytest.approx(float(ogive.exact("tanh(x)", at, 5)[5]), rel=1e-12, abs=1e-12)
    with pytest.raises(ParameterError, match="order"):
        ogive.derivative("tanh", -1)


def test_large_tensors_go_in_pieces_and_agree():
    silu = ogive.get("silu")
    x = torch.randn(3, 7, 101, 103)  # above the piece size, not a multiple of it
    pieces = torch.cat([silu(p) for p in x.flatten().split(1000)]).view_as(x)
    assert torch.equal(silu(x), pieces)
    last = x.contiguous(memory_format=torch.channels_last)
    y = silu(last)
    assert y.is_contiguous(memory_format=torch.channels_last) and torch.equal(y, pieces)
    assert torch.equal(silu(x.transpose(1, 3)), pieces.transpose(1, 3))


def test_the_repr_shows_formula_and_parameters():
    assert repr(ogive.get("swish")) == "<Activation swish: x*sigmoid(beta*x), beta=1>"
    assert tanh is ogive.ops.tanh


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "hardtanh", "threshold"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_choices_on_large_tensors_equal_those_on_small_ones(name, dtype):
    act = ogive.get(name)
    x = torch.randn(300, 400).to(dtype)
    x[0, :3] = torch.tensor([math.nan, math.inf, -math.inf])
    large, small = x.clone().requires_grad_(), x[:5].clone().requires_grad_()
    y, z = act(large), act(small)
    y.backward(3 * torch.ones_like(y))
    z.backward(3 * torch.ones_like(z))
    assert torch.equal(y[:5].nan_to_num(), z.nan_to_num())
    assert torch.equal(large.grad[:5].nan_to_num(), small.grad.nan_to_num())
