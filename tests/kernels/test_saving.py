"""Policies: what backward keeps, that gradients are as good as promised, and that nothing else breaks."""

from __future__ import annotations

import copy
import threading
import warnings

import pytest
import torch
import torch.autograd.forward_ad as forward_mode
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import ogive
from ogive.errors import InputError, OgiveError, ParameterError
from ogive.kernels import evaluate, fewbit, kept, native, packing, saving
from ogive.kernels.outputs16 import slopes16
from ogive.kernels.outputs32 import Slopes32, slopes32
from ogive.kernels.recompute import Same
from tests.entries import ONE_INPUT

POLICIES = ["y+bit", "nothing", 8, 4, 2, 1, "s2a"]
LESS = [p for p in POLICIES if p != "nothing"]
each_policy = pytest.mark.parametrize("policy", POLICIES)


@pytest.fixture(autouse=True)
def _quiet():
    saving._told.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        yield
    assert saving.in_use == 0


def _stored(run):
    """The result of ``run`` and the storages autograd kept, as bytes by address."""
    seen = {}

    def pack(t):
        seen[t.untyped_storage()._cdata] = t
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        return run(), {k: t.untyped_storage().nbytes() for k, t in seen.items()}


def _net(**act):
    torch.manual_seed(1)
    return nn.Sequential(
        nn.Linear(16, 64), ogive.Act("gelu", **act), nn.Linear(64, 64), ogive.Act("mish", **act), nn.Linear(64, 4)
    )


def _gradient(net, x, policy=None):
    net.zero_grad()
    if policy is None:
        loss = net(x).float().square().sum()
    else:
        with ogive.saving(policy):
            loss = net(x).float().square().sum()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in net.parameters()])


def _off(a, b):
    return float((a - b).norm() / b.norm())


# How far gradients of the small net may be off: the error of the code, less what averages out.
WORST = {"y+bit": 1e-6, "nothing": 0.0, 8: 2e-3, 4: 0.03, 2: 0.1, 1: 0.3, "s2a": 0.03}

# --- bytes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", range(1, 9))
@pytest.mark.parametrize("dtype", packing.DTYPES)
def test_bytes_of_codes(bits, dtype):
    x = torch.randn(100, 41).to(dtype).requires_grad_()
    with ogive.saving(bits=bits):
        _, stored = _stored(lambda: ogive.get("silu")(x))
    assert list(stored.values()) == [(4100 + 7) // 8 * bits]


@pytest.mark.parametrize(("name", "dtype", "extra"), [
    ("gelu", torch.float32, 513), ("gelu", torch.bfloat16, 513), ("mish", torch.float16, 513),
    ("relu", torch.float32, 0), ("relu", torch.bfloat16, 0), ("tanh", torch.float32, 0), ("softplus", torch.bfloat16, 0),
])  # fmt: skip
def test_bytes_beyond_the_output(name, dtype, extra):
    """The output kept is the tensor that the next layer keeps, and beside it there is one bit or nothing."""
    x = torch.randn(100, 41).to(dtype).requires_grad_()
    weight = torch.randn(5, 41, dtype=dtype)
    with ogive.saving("y+bit"):
        _, stored = _stored(lambda: F.linear(ogive.get(name)(x), weight.requires_grad_()))
    others = sorted(v for k, v in stored.items() if k not in (weight.untyped_storage()._cdata,))
    assert others == sorted([v for v in (extra, 4100 * x.element_size()) if v])
    assert x.untyped_storage()._cdata not in stored


def test_nothing_but_the_input_is_kept():
    x = torch.randn(64, 41).requires_grad_()
    weight = torch.randn(5, 41, requires_grad=True)
    packed = []
    with ogive.saving("nothing"):
        inner, outer = torch._C._autograd._top_saved_tensors_default_hooks(True)
        with torch.autograd.graph.saved_tensors_hooks(lambda t: packed.append(inner(t)) or packed[-1], outer):
            y = ogive.get("gelu")(x)
            z = F.linear(y.view(8, 8, 41), weight)
    tensors = {p.tensor.untyped_storage()._cdata for p in packed if isinstance(p, Same)}
    assert tensors == {x.untyped_storage()._cdata, weight.untyped_storage()._cdata}
    expected = torch.autograd.grad(F.linear(ogive.get("gelu")(x), weight).square().sum(), (x, weight))
    del y
    found = torch.autograd.grad(z.square().sum(), (x, weight))
    assert all(torch.equal(a, b.view_as(a)) for a, b in zip(found, expected))


# --- accuracy --------------------------------------------------------------------------------------------------


@pytest.fixture
def interpreted():
    """Without generated kernels, whose compilation for every entry would take a minute; values are the same to
    the last place or the one before."""
    before = native.enable(False)
    yield
    native.enable(before)


def _held_out(dtype, seed=77):
    return torch.randn(1 << 16, generator=torch.Generator().manual_seed(seed)).to(dtype)


def _enough(eligible: int, share: float):
    """Most functions can be rebuilt from their output (measured over the sample: 68 % in bfloat16, 80 % in float16); a
    run asked to look at a few by name may hold none of them."""
    assert eligible >= share * len(ONE_INPUT) or len(ONE_INPUT) < 80


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_sixteen_bits_within_one_and_a_half_roundings(dtype, interpreted):
    """Every entry of the catalogue: eligible, and then as good as promised on inputs not used to build the
    table; or not, and then with a reason that is a measurement."""
    x = _held_out(dtype)
    eligible = 0
    for entry in ONE_INPUT:
        numbers = tuple(entry.defaults.values())
        table = slopes16(entry.form, numbers, dtype)
        exact = fewbit.at(fewbit.slope_of(entry.form), numbers, x.double())
        y = evaluate(entry.form, dtype, False, (x, *numbers)).expand_as(x).contiguous()
        bits = kept._branch_bits(table, x) if table.bits else None
        rebuilt = kept._rebuild(table, torch.ones_like(x), y, bits)  # rounds once more, to the dtype
        pattern = y.view(torch.int16).long() & 0xFFFF
        at = pattern if bits is None else pattern | (packing.spread(bits, len(x), 1) << 16)
        fits = y.isfinite()  # beyond, the gradient is lost with the value
        error = float((table.slope[at].double() - exact)[fits].norm())
        rounding = float((exact.bfloat16().double() - exact)[fits].norm())
        if table.why_not:
            assert error > 1.3 * rounding or rounding < 1e-5 * float(exact.norm()), entry.name
            assert "cannot be rebuilt" in table.why_not
            continue
        eligible += 1
        assert error <= max(1.52 * rounding, 1e-6 * float(exact.norm())), entry.name
        assert torch.equal(rebuilt, table.slope[at].to(dtype)), entry.name
    _enough(eligible, {torch.bfloat16: 0.6, torch.float16: 0.7}[dtype])


def test_float32_outputs(interpreted):
    """Every entry: rebuilt far better than a 16-bit gradient could say, or refused with a reason."""
    x = _held_out(torch.float32)
    eligible = 0
    for entry in ONE_INPUT:
        numbers = tuple(entry.defaults.values())
        table = slopes32(entry.form, numbers)
        if isinstance(table, str) or table.why_not:
            continue
        eligible += 1
        exact = fewbit.at(fewbit.slope_of(entry.form), numbers, x.double())
        y = evaluate(entry.form, torch.float32, False, (x, *numbers)).expand_as(x).contiguous()
        bits = kept._branch_bits(table, x) if table.bits else None
        rebuilt = kept._rebuild(table, torch.ones_like(x), y, bits).double()
        assert float((rebuilt - exact).norm()) <= 3e-4 * float(exact.norm()), entry.name
    _enough(eligible, 0.7)


@pytest.mark.parametrize("name", ["gelu", "hardswish", "softshrink", "selu", "gaussian"])
def test_the_branch_is_right_everywhere(name):
    """Element by element away from the turning points, in the tails and next to the breaks."""
    entry = ogive.get(name)
    numbers = tuple(entry.defaults.values())
    table = slopes32(entry.form, numbers)
    assert isinstance(table, Slopes32)
    x = torch.cat(
        [torch.linspace(-9, 9, 4001), torch.tensor([-30.0, 30.0, -3.0001, -2.9999, 0.5001, 0.4999, 1e-3, -1e-3])]
    )
    slope = ogive.derivative(name)(x.double())
    y = entry(x)
    bits = kept._branch_bits(table, x) if table.bits else None
    rebuilt = kept._rebuild(table, torch.ones_like(x), y, bits).double()
    steep = slope.abs() > 1e-2  # nearer to a turning point y says less about x: its rounding is half of f''/f'
    torch.testing.assert_close(rebuilt[steep], slope[steep], rtol=2e-4, atol=1e-5)
    torch.testing.assert_close(rebuilt, slope, rtol=0, atol=2e-3)


@pytest.mark.parametrize("name", ["gelu", "relu", "mish", "tanh"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_compiled_and_plain_slopes_agree(name, dtype, monkeypatch):
    table = kept.plan(saving.Policy("y+bit"), ogive.get(name).form, (), dtype)
    x, g = torch.randn(5000).to(dtype), torch.randn(5000).to(dtype)
    y = ogive.get(name)(x)
    bits = kept._branch_bits(table, x) if table.bits else None
    found = kept._rebuild(table, g, y, bits)
    for module in (kept, packing):
        monkeypatch.setattr(module, "native", lambda t: None)
    if bits is not None:
        assert torch.equal(kept._branch_bits(table, x), bits)
    torch.testing.assert_close(
        kept._rebuild(table, g, y, bits),
        found,
        rtol=1e-6 if dtype == torch.float32 else 0,
        atol=1e-6 if dtype == torch.float32 else 0,
    )


def test_surrogates_are_what_is_coded():
    entry = ogive.get("spike_atan")
    x = torch.randn(4000, requires_grad=True)
    (exact,) = torch.autograd.grad(entry(x).sum(), x)
    with ogive.saving(bits=8):
        y = entry(x)
    (found,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(y, entry(x)) and 0 < _off(found, exact) < 0.02


# --- use -------------------------------------------------------------------------------------------------------


@each_policy
def test_gradients_of_a_net(policy):
    x, net = torch.randn(32, 16), _net()
    exact = _gradient(net, x)
    found = _gradient(net, x, policy)
    assert _off(found, exact) <= WORST[policy]
    assert policy in ("nothing",) or not torch.equal(found, exact)  # the policy was in force
    with ogive.saving(policy):
        assert torch.equal(net(x), _net()(x))


@pytest.mark.parametrize("policy", LESS)
def test_per_module(policy):
    x = torch.randn(32, 16)
    net = _net(saving=policy)
    assert torch.equal(_gradient(net, x), _gradient(_net(), x, policy))
    assert torch.equal(_gradient(copy.deepcopy(net), x), _gradient(net, x))
    with ogive.saving("x"):  # the module's own policy is the inner one
        assert torch.equal(_gradient(net, x), _gradient(_net(), x, policy))


def test_one_module_in_several_threads():
    act, wrong = ogive.Act("silu", saving=4), []

    def work():
        try:
            for _ in range(200):
                x = torch.randn(20, requires_grad=True)
                if act(x).grad_fn.name() != "CodedBackward" or saving.current() is not None:
                    wrong.append("policy")
        except Exception as error:  # reported by the assertion below
            wrong.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_innermost_policy_counts_and_ends():
    x = torch.randn(50, requires_grad=True)
    act = ogive.get("silu")

    def kept_by():
        return act(x).grad_fn.name()

    less = ("CodedBackward", "FromOutputBackward")
    assert kept_by() not in less
    with ogive.saving(4):
        assert saving.current() == saving.Policy("bits", 4) and kept_by() == "CodedBackward"
        with ogive.saving("y+bit"):
            assert kept_by() == "FromOutputBackward"
            with ogive.saving("x"):
                assert kept_by() not in less
        assert kept_by() == "CodedBackward"
        with pytest.raises(ZeroDivisionError), ogive.saving(1):
            raise ZeroDivisionError
        assert kept_by() == "CodedBackward"
        found = []
        thread = threading.Thread(target=lambda: found.append(kept_by()))
        thread.start()
        thread.join()
        assert found[0] not in less  # a policy belongs to its thread

    @ogive.saving(bits=3)
    def decorated(again=True):
        return decorated(False) if again else kept_by()

    assert decorated() == "CodedBackward" and kept_by() not in less and saving.current() is None


@each_policy
@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing(policy, reentrant):
    x, net = torch.randn(32, 16, requires_grad=True), _net()
    exact = _gradient(net, x)

    def inside(v):
        with ogive.saving(policy):
            return net(v)

    found = _gradient(_Wrapped(net, lambda v: checkpoint(inside, v, use_reentrant=reentrant)), x)
    assert _off(found, exact) <= WORST[policy]
    # the recomputation runs outside of this scope: what is kept must not depend on it
    outside = _gradient(_Wrapped(net, lambda v: checkpoint(net, v, use_reentrant=reentrant)), x, policy)
    assert torch.equal(outside, exact)


class _Wrapped(nn.Module):
    def __init__(self, net, run):
        super().__init__()
        self.net, self.run = net, run

    def forward(self, x):
        return self.run(x)


@each_policy
def test_autocast(policy):
    x, net = torch.randn(32, 16), _net()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        exact, found = _gradient(net, x), _gradient(net, x, policy)
    assert _off(found, exact) <= max(WORST[policy], 5e-3)


@pytest.mark.parametrize("policy", ["y+bit", 4, "nothing"])
def test_distributed_data_parallel(policy, tmp_path):
    from torch.distributed import destroy_process_group, init_process_group

    x, net = torch.randn(32, 16), _net()
    exact = _gradient(net, x, policy)
    init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        assert torch.equal(_gradient(nn.parallel.DistributedDataParallel(net), x, policy), exact)
    finally:
        destroy_process_group()


def test_under_a_compiler_the_input_is_kept():
    x, net = torch.randn(8, 16), _net()
    exact = _gradient(net, x)
    torch._dynamo.reset()
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = _gradient(compiled, x, "y+bit")
    assert _off(found, exact) < 1e-5
    assert sum("compiler decides" in str(w.message) for w in said) == 1
    torch._dynamo.reset()
    inner = torch.compile(_net(saving=4), backend="aot_eager", fullgraph=True)
    assert _off(_gradient(inner, x), exact) < 1e-5

    def scoped(v):
        with ogive.saving(2):
            return net(v)

    torch._dynamo.reset()
    assert _off(_gradient(_Wrapped(net, torch.compile(scoped, backend="aot_eager")), x), exact) < 1e-5
    torch._dynamo.reset()


@pytest.mark.parametrize("policy", LESS)
def test_second_derivatives_say_what_to_do(policy):
    x = torch.randn(5, requires_grad=True)
    with ogive.saving(policy):
        y = ogive.get("gelu")(x)
    with pytest.raises(OgiveError, match=r"create_graph=True.*Phi.*saving\('x'\)"):
        torch.autograd.grad(y.sum(), x, create_graph=True)


def test_second_derivatives_of_recomputed_outputs():
    x = torch.randn(5, dtype=torch.float64, requires_grad=True)

    def cubed(policy):
        with ogive.saving(policy):
            return ogive.get("gelu")(x) ** 3

    def second(y):
        (g,) = torch.autograd.grad(y.sum(), x, create_graph=True)
        return torch.autograd.grad(g.sum(), x)[0]

    torch.testing.assert_close(second(cubed("nothing")), second(cubed("x")))


@pytest.mark.parametrize("policy", ["y+bit", 4])
def test_transforms_and_forward_mode_keep_the_input(policy):
    x = torch.randn(6)
    act = ogive.get("gelu")
    expected = ogive.derivative("gelu")(x)
    with ogive.saving(policy):
        torch.testing.assert_close(torch.func.vmap(torch.func.grad(act))(x), expected)
        torch.testing.assert_close(torch.func.jvp(act, (x,), (torch.ones(6),))[1], expected)
        with forward_mode.dual_level(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dual = forward_mode.make_dual(x.clone().requires_grad_(), torch.ones(6))
            torch.testing.assert_close(forward_mode.unpack_dual(act(dual)).tangent, expected)
        leaf = x.clone().requires_grad_()
        (batch,) = torch.autograd.grad(act(leaf), leaf, torch.eye(6), is_grads_batched=True)
        (plain,) = torch.autograd.grad(act(leaf).sum(), leaf)
    torch.testing.assert_close(batch, torch.diag(plain))


@pytest.mark.parametrize("policy", ["y+bit", "nothing", 4])
def test_changes_in_place(policy):
    x = torch.randn(6, requires_grad=True)
    with ogive.saving(policy):
        y = ogive.get("gelu")(x)
        y.mul_(2)
    if policy == "y+bit":  # the output is what was kept
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()
    else:
        (g,) = torch.autograd.grad(y.sum(), x)
        assert _off(g / 2, ogive.derivative("gelu")(x.detach())) < 0.1
    with ogive.saving(policy):
        y = ogive.get("gelu")(x)
        z = y * y  # keeps y
        y.add_(1)
    if policy == "nothing":  # what was let go comes back as it was
        (g,) = torch.autograd.grad(z.sum(), x)
        expected = 2 * ogive.get("gelu")(x) * ogive.derivative("gelu")(x.detach())
        torch.testing.assert_close(g, expected.detach())
        return
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_other_tensors_changed_in_place_are_noticed_while_outputs_are_recomputed():
    x = torch.randn(6, requires_grad=True)
    with ogive.saving("nothing"):
        factor = torch.randn(6)
        z = ogive.get("gelu")(x) * factor
        factor.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


def test_an_input_changed_before_recomputing_is_an_error():
    x = torch.randn(6, requires_grad=True)
    with ogive.saving("nothing"):
        inner = x * 1
        z = ogive.get("gelu")(inner) ** 2
        inner.add_(1)
    with pytest.raises((InputError, RuntimeError), match=r"in ?place"):
        z.sum().backward()


def test_outputs_changed_before_they_are_kept_are_kept_as_they_are():
    x = torch.randn(6, requires_grad=True)
    with ogive.saving("nothing"):
        y = ogive.get("relu")(x)
        y.add_(1)
        z = y * y
    (g,) = torch.autograd.grad(z.sum(), x)
    torch.testing.assert_close(g, 2 * (x.detach().clamp_min(0) + 1) * (x.detach() > 0))


@pytest.mark.parametrize("policy", ["y+bit", 8])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_layouts(policy, dtype):
    base = torch.randn(2, 6, 4, 5)
    views = [base, base.to(memory_format=torch.channels_last), base.transpose(1, 2), base[..., ::2],
             base[:, :1].expand(2, 6, 4, 5), torch.randn(()), torch.randn(0, 3), torch.randn(9)[1:]]  # fmt: skip
    for view in views:
        x = view.to(dtype).detach().requires_grad_()
        with ogive.saving(policy):
            y = ogive.get("gelu")(x)
        upstream = torch.randn(y.shape).to(dtype)
        (g,) = torch.autograd.grad(y, x, upstream)
        assert g.shape == x.shape and g.dtype == dtype
        slope = ogive.derivative("gelu")(x.detach().double())
        torch.testing.assert_close(g.double(), slope * upstream.double(), rtol=0.02, atol=0.05)
    channels = base.to(memory_format=torch.channels_last).to(dtype).detach().requires_grad_()
    with ogive.saving(policy):
        ogive.get("gelu")(channels).sum().backward()
    assert channels.grad.is_contiguous(memory_format=torch.channels_last)


# --- where it does not apply -----------------------------------------------------------------------------------


def _said(policy, run):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with ogive.saving(policy):
            result = run()
            run()
    return result, [str(w.message) for w in said]


@pytest.mark.parametrize(("policy", "run", "reason"), [
    ("y+bit", lambda x: ogive.get("sine")(x), "it turns"),
    ("y+bit", lambda x: ogive.get("sine")(x.bfloat16()), "times that of rounding"),
    ("y+bit", lambda x: ogive.get("gelu")(x.double()), "float64"),
    (4, lambda x: ogive.get("swish")(x, beta=torch.tensor(1.5, requires_grad=True)), "tensor"),
    (4, lambda x: ogive.get("swiglu")(x, x), "second input"),
    ("mobiletl", lambda x: ogive.get("gelu")(x), "hardswish and relu6"),
    ("approx-bp", lambda x: ogive.get("mish")(x), "bits=2"),
])  # fmt: skip
def test_what_does_not_suit_keeps_the_input_and_says_so_once(policy, run, reason):
    x = torch.randn(50, requires_grad=True)
    y, said = _said(policy, lambda: run(x))
    assert (
        len(said) == 1
        and reason in said[0]
        and f"saving({saving.Policy('bits', policy) if isinstance(policy, int) else policy})" in said[0]
    )
    (g,) = torch.autograd.grad(y.sum(), x)
    assert torch.equal(g, torch.autograd.grad(run(x).sum(), x)[0])


def test_without_gradients_nothing_happens():
    x = torch.randn(5)
    for policy in POLICIES:
        with ogive.saving(policy):
            assert ogive.get("gelu")(x).grad_fn is None
            with torch.no_grad():
                assert ogive.get("gelu")(x.clone().requires_grad_()).grad_fn is None


@pytest.mark.parametrize("wrong", [
    {"policy": "y"}, {"bits": 0}, {"bits": 9}, {"bits": True}, {"bits": 2.0}, {}, {"policy": "x", "bits": 2},
    {"policy": "y+bit", "sigma": 2.0}, {"bits": 2, "sigma": -1.0},
])  # fmt: skip
def test_bad_policies(wrong):
    with pytest.raises(ParameterError):
        ogive.saving(**wrong)


def test_a_module_cannot_keep_nothing():
    with pytest.raises(ParameterError, match="layers that follow"):
        ogive.Act("gelu", saving="nothing")


def test_details_and_text():
    assert (
        repr(ogive.saving(4)) == "saving(bits=4)"
        and repr(ogive.saving(bits=2, sigma=0.5)) == "saving(bits=2, sigma=0.5)"
    )
    assert repr(ogive.saving("y+bit")) == "saving('y+bit')"
    told = ogive.saving("y+bit").details("gelu", torch.bfloat16)
    assert told["bits"] == 1 and told["error"] <= 1.5 * told["rounding"] and told["why_not"] == ""
    assert "turns" in ogive.saving("y+bit").details("sine")["why_not"]
    assert ogive.saving(3).details("silu")["bits"] == 3
    assert "saving=bits=4" in repr(ogive.Act("silu", saving=4))


def test_a_density_of_ones_own():
    x = (3 * torch.randn(20_000)).requires_grad_()
    exact = ogive.derivative("silu")(x.detach())

    def error(**policy):
        with ogive.saving(**policy):
            y = ogive.get("silu")(x)
        return _off(torch.autograd.grad(y.sum(), x)[0], exact)

    narrow, wide, sampled = error(bits=3), error(bits=3, sigma=3.0), error(bits=3, sample=x[:2000])
    assert wide < 0.95 * narrow and sampled < 0.95 * narrow
