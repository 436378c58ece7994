"""What a text says and how it is spelled: names, parameters, comments, helper functions, refusals."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

import ogive
from ogive.derive.emit import TARGETS, emit
from ogive.derive.emit.command import emit as command
from ogive.derive.emit.fixed import Fixed
from ogive.derive.emit.names import Names
from ogive.errors import InputError, ParameterError, UnknownName
from tests.emit.toolchain import imported

CALLED = [t for t in TARGETS if t != "latex"]
app = Typer()
app.command()(command)


@pytest.mark.parametrize("target", CALLED)
def test_a_name_of_ones_own(target: str) -> None:
    assert re.search(r"\bmy_silu\b", emit("silu", target, name="my_silu"))


@pytest.mark.parametrize("target", CALLED)
@pytest.mark.parametrize("name", ["", "2x", "a b", "x;y", "__a", "a__b", "_a", "x" * 49, "é", "f(x)", "a\n"])
def test_what_is_no_identifier_is_refused(target: str, name: str) -> None:
    with pytest.raises(InputError, match="is called by a letter"):
        emit("silu", target, name=name)


@pytest.mark.parametrize(
    "target, word",
    [("numpy", "lambda"), ("jax", "class"), ("pytorch", "def"), ("c", "register"), ("c", "tanh"), ("c-fixed", "int"),
     ("triton", "tl"), ("onnx", "float"), ("matlab", "end"), ("julia", "function"), ("glsl", "sample")],
)  # fmt: skip
def test_reserved_words_are_refused(target: str, word: str) -> None:
    with pytest.raises(InputError, match="has that word already"):
        emit("silu", target, name=word)


def test_an_entry_called_like_a_function_of_the_language_gets_another_name() -> None:
    assert "double act_tanh(double x)" in emit("tanh", "c")
    assert "float act_tanh(float x)" in emit("tanh", "glsl")


def test_parameters_called_like_words_are_spelled_another_way() -> None:
    act = ogive.define("x*signed + half", params={"signed": 2.0, "half": 1.0})
    assert "double signed_" in emit(act, "c") and "float half_" in emit(act, "glsl")
    names = Names({"end"})
    assert [names.of(n) for n in ("end", "x", "x", "_y", "β")] == ["end_", "x", "x2", "y", "v"]


def test_a_name_that_an_author_gave_reaches_no_code() -> None:
    act = ogive.define("x*0.5", name='evil" */ \n system("rm"); """ %{')
    for target in CALLED:
        text = emit(act, target)
        code = [line for line in text.splitlines() if not line.lstrip().startswith(("//", "#", "%"))]
        assert not any("system(" in line or '"rm' in line or "%{" in line for line in code), target
        assert "*/" not in text.split("\n", 1)[0] and '"""' not in text


def test_parameters_are_arguments_or_numbers(tmp_path: Path) -> None:
    assert "def swish(x, beta=1.0):" in emit("swish", "numpy")
    assert "def swish(x, beta=2.5):" in emit("swish", "numpy", beta=2.5)
    module = imported(emit("swish", "numpy", numbers=True, beta=2.5, name="f"), tmp_path, "written_in")
    assert "beta" not in emit("swish", "numpy", numbers=True, beta=2.5).split("import", 1)[1]
    assert module.f(1.0) == pytest.approx(float(ogive.get("swish")(1.0, beta=2.5)), rel=1e-15)


@pytest.mark.parametrize("target", [t for t in CALLED if t not in ("triton", "onnx", "c-fixed")])
def test_a_helper_function_is_written_once_and_only_when_used(target: str) -> None:
    text = emit("gelu", target, derivative=2)
    defined = re.findall(r"^(?:static \w+|def|function(?: \w+ =)?|float) (\w+)\(", text, re.M)
    assert len(defined) == len(set(defined))
    for name in defined:
        assert len(re.findall(rf"\b{name}\(", text)) > 1 or name.startswith("gelu_d2"), name
    assert "softplus" not in text


@pytest.mark.parametrize("target", TARGETS)
def test_a_declared_surrogate_is_said_to_be_one(target: str) -> None:
    options = {"fixed": Fixed(fraction=8)} if target == "c-fixed" else {}
    assert "declared with the activation" in emit("sugar", target, derivative=1, **options)
    assert "declared with the activation" not in emit("silu", target, derivative=1)


def test_the_surrogate_trains(tmp_path: Path) -> None:
    module = imported(emit("sugar", "pytorch", name="f"), tmp_path, "surrogate")
    x = torch.tensor([-1.0, 2.0], dtype=torch.float64, requires_grad=True)
    y = x.detach().clone().requires_grad_()
    module.f(x).sum().backward()
    ogive.get("sugar")(y).sum().backward()
    torch.testing.assert_close(x.grad, y.grad, rtol=1e-14, atol=0.0)


def test_parameters_learn_in_pytorch(tmp_path: Path) -> None:
    module = imported(emit("prelu", "pytorch", name="f"), tmp_path, "learns")
    x = torch.linspace(-2.0, 2.0, 12, dtype=torch.float64).reshape(3, 4).requires_grad_()
    slope = torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module.f, (x + 0.01, slope))


def test_pytorch_keeps_dtype_and_shape(tmp_path: Path) -> None:
    module = imported(emit("mish", "pytorch", name="f"), tmp_path, "shapes")
    for dtype in (torch.bfloat16, torch.float16, torch.float32):
        x = torch.randn(2, 3, 4).to(dtype)
        torch.testing.assert_close(module.f(x), ogive.get("mish")(x), rtol=torch.finfo(dtype).eps, atol=0.0)


def test_latex_is_that_of_the_library() -> None:
    assert emit("silu", "latex") == f"f(x) = {ogive.latex('silu')}\n"
    with pytest.raises(InputError, match="not called"):
        emit("silu", "latex", name="f")


def test_refusals() -> None:
    with pytest.raises(UnknownName, match="'numpi'; did you mean 'numpy'"):
        emit("silu", "numpi")
    with pytest.raises(InputError, match="dtype='float64'; it takes 'float32'"):
        emit("silu", "glsl", dtype="float64")
    with pytest.raises(InputError, match="dtype='float32'; it takes no dtype"):
        emit("silu", "latex", dtype="float32")
    with pytest.raises(InputError, match="an order from 0 to 4"):
        emit("silu", "c", derivative=5)
    with pytest.raises(InputError, match="belongs to the target 'c-fixed'"):
        emit("silu", "c", fixed=Fixed())
    with pytest.raises(ParameterError, match="no parameter 'bta'"):
        emit("swish", "c", bta=1.0)
    with pytest.raises(ParameterError, match="takes a number"):
        emit("swish", "c", beta=torch.ones(3))
    with pytest.raises(UnknownName):
        emit("no_such_thing", "c")


def test_every_target_writes_every_kind_of_formula() -> None:
    for target in TARGETS:
        for spec in ("x", "x*0 + x", "round(x)", "sinc(x)", "max(x, 0)*min(x, 6)/6", "where(x > 1, x, -1)", "glu"):
            if not (target == "c-fixed" and spec == "glu"):
                fixed = {"fixed": Fixed(word=16, fraction=8, low=-4.0, high=4.0)} if target == "c-fixed" else {}
                assert emit(spec, target, **fixed).endswith("\n")


def test_the_command(tmp_path: Path) -> None:
    run = CliRunner().invoke
    shown = run(app, ["swish", "numpy", "--param", "beta=2", "--function", "mine"])
    assert shown.exit_code == 0 and shown.output == emit("swish", "numpy", name="mine", beta=2.0)
    out = tmp_path / "f.c"
    assert run(app, ["x*tanh(x)", "c", "--derivative", "1", "--out", str(out)]).exit_code == 0
    assert out.read_text() == emit("x*tanh(x)", "c", derivative=1)
    fixed = run(app, ["tanh", "c-fixed", "--word", "8", "--fraction", "4", "--low", "-2"])
    assert fixed.output == emit("tanh", "c-fixed", fixed=Fixed(word=8, fraction=4, low=-2.0))
    for bad in (["silu", "cobol"], ["silu", "c", "--param", "beta"], ["silu", "c", "--word", "8"],
                ["silu", "c", "--out", "x.onnx"], ["silu", "c", "--out", str(tmp_path / "no" / "f.c")]):  # fmt: skip
        failed = run(app, bad)
        assert failed.exit_code == 2 and "error:" in failed.output + (failed.stderr if failed.stderr_bytes else ""), bad


def test_the_command_writes_an_onnx_model(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    out = tmp_path / "f.onnx"
    assert CliRunner().invoke(app, ["mish", "onnx", "--out", str(out)]).exit_code == 0
    model = onnx.load(str(out))
    assert [f.name for f in model.functions] == ["mish"]
