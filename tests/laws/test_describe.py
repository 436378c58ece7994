"""The sheet of every entry is complete, fits a terminal, and claims nothing that fresh samples contradict."""

from __future__ import annotations

import json
import math

import pytest
import torch
from typer.testing import CliRunner

import ogive
from ogive import catalogue
from ogive.cli import app
from ogive.derive.describe import describe, saved_bytes
from ogive.derive.drawing.braille import braille
from ogive.derive.observed import observe, parity_of
from ogive.errors import UnknownName
from tests.entries import ENTRIES, ONE_INPUT

each = pytest.mark.parametrize("act", ENTRIES, ids=lambda a: a.name)
each_single = pytest.mark.parametrize("act", ONE_INPUT, ids=lambda a: a.name)


@each
def test_sheet_is_complete_and_fits(act):
    d = describe(act)
    text = str(d)
    assert repr(d) == text
    assert max(map(len, text.splitlines())) <= 80
    flat = " ".join(text.split())
    for part in (act.name, *act.aliases, d.formula.split()[0], *act.params):
        assert part in flat or part in "".join(text.split())
    assert " ".join(act.note.split()) in flat
    assert len(d.citations) == len(act.cite)
    for reference in d.citations:
        assert reference.title and reference.year, reference.key
    for law in act.exceptions:
        assert law in flat
    assert ("declared" in flat) == (act.backward is not None) or act.backward is None
    assert not d.missing
    plain = json.loads(json.dumps(d.to_dict(), allow_nan=False))
    assert plain["name"] == act.name and plain["operations"]["f"] >= 0


@each_single
def test_fresh_samples_agree(act):
    seen = observe(act)
    generator = torch.Generator().manual_seed(1)
    x = (torch.rand(20_000, generator=generator, dtype=torch.float64) * 2 - 1) * 50
    cuts = torch.tensor([b for b in act.breakpoints() if abs(b) < 50], dtype=torch.float64)
    sides = [torch.nextafter(cuts, torch.tensor(s * math.inf, dtype=torch.float64)) for s in (-1, 1)]
    x = torch.cat([x, x / 50, x / 2500, cuts, *sides]).sort().values
    y = act(x)
    slack = 1e-6 * (1 + y.abs().max())
    assert seen.defined and bool(torch.isfinite(y).all())
    assert seen.low - slack <= y.min() and y.max() <= seen.high + slack
    assert [act(seen.low_at), act(seen.high_at)] == pytest.approx([seen.low, seen.high], rel=1e-14)
    if seen.parity == "odd":
        torch.testing.assert_close(act(-x), -y, rtol=1e-11, atol=0)
    if seen.parity == "even":
        torch.testing.assert_close(act(-x), y, rtol=1e-11, atol=0)
    if seen.monotone == "nondecreasing":
        assert bool((y.diff() >= -1e-14 * y.abs()[1:]).all())
    if seen.monotone is None:
        assert bool((y.diff() > 0).any()) and bool((y.diff() < 0).any())
    # What composition proves, sampling must see.
    proved = parity_of(act.fixed().expr, act.inputs[0])
    assert proved in (None, seen.parity)


@each
def test_backward_keeps_at_most_the_input(act):
    assert saved_bytes(act) <= 4 * len(act.inputs)


FACTS = {
    "tanh": ("odd", True, "nondecreasing"),
    "gaussian": ("even", True, None),
    "softsign": ("odd", True, "nondecreasing"),
    "hardshrink": ("odd", False, "nondecreasing"),
    "gelu": (None, False, None),
    "relu": (None, False, "nondecreasing"),
    "sinc": ("even", True, None),
    "sign": (None, False, "nondecreasing"),  # sign(0) = 1
}


@pytest.mark.parametrize("name", FACTS)
def test_known_shapes(name):
    seen = describe(name).observed
    assert (seen.parity, seen.parity_proved, seen.monotone) == FACTS[name]


def test_known_extremes():
    seen = describe("gelu").observed
    assert seen.low == pytest.approx(-0.16997120747990369, abs=1e-12)  # x Phi(x) where Phi(x) = -x phi(x)
    assert seen.low_at == pytest.approx(-0.7517915247, abs=1e-5)
    assert (seen.high, seen.high_at) == (50.0, 50.0)


@pytest.mark.parametrize(
    ("name", "kinks", "jumps"),
    [
        ("relu", (0.0,), ()),
        ("relu2", (), ()),  # the slope is continuous
        ("elu", (), ()),
        ("hardtanh", (-1.0, 1.0), ()),
        ("hardshrink", (), (-0.5, 0.5)),
        ("heaviside", (), (0.0,)),
        ("gelu", (), ()),
    ],
)
def test_kinks_and_jumps(name, kinks, jumps):
    d = describe(name)
    assert (d.kinks, d.jumps) == (kinks, jumps)


def test_surrogates_are_said_to_be_declared():
    d = describe("sign")
    assert d.surrogate == "where(1 >= abs(x), 1, 0)" and "declared" in str(d)
    assert d.derivatives[0][0] == "0"
    assert describe("relu").surrogate is None


def test_relations_go_both_ways():
    assert "swish" in describe("silu").equals
    assert "same as    silu" in str(describe("swish"))


def test_a_formula_of_ones_own():
    d = describe("x*tanh(log(1 + exp(x)))")
    assert d.published_as.name == "mish"
    assert "published as mish" in str(d) and "a formula of one's own" in str(d)
    assert describe(ogive.Act("gelu")).activation.name == "gelu"
    with pytest.raises(UnknownName, match="closest"):
        describe("gleu")


def test_poles_and_overflow_are_survived():
    d = describe("exp(exp(x))")
    assert "gain" in d.missing or math.isfinite(d.gain.forward)
    for formula in ("1/x", "tan(x)", "log(x)", "sqrt(x)"):
        text = str(describe(formula))
        assert max(map(len, text.splitlines())) <= 80


def test_braille_puts_dots_where_the_curve_is():
    x = torch.linspace(-1, 1, 81, dtype=torch.float64).numpy()
    lines = braille(x, x, -1.0, 1.0, 4, 2)
    assert [len(line) for line in lines] == [4, 4]
    # the identity: its two ends are the corner dots 7 (lower left) and 4 (upper right)
    assert ord(lines[1][0]) & 0x40 and ord(lines[0][3]) & 0x08
    assert not ord(lines[0][0]) & 0x01


# The command line

runner = CliRunner()


def test_command_describe(tmp_path):
    shown = runner.invoke(app, ["describe", "golu"])
    assert shown.exit_code == 0 and "Gompertz" in shown.output
    drawn = tmp_path / "golu.svg"
    told = runner.invoke(app, ["describe", "golu", "--json", "--plot", str(drawn)])
    assert json.loads(told.output)["aliases"] == ["expexpish"]
    assert drawn.read_text(encoding="utf-8").startswith("<svg")


def test_command_find():
    shown = runner.invoke(app, ["find", "x*tanh(log(1+exp(x)))"])
    assert shown.exit_code == 0 and "published as mish" in shown.output


def test_command_names():
    everything = runner.invoke(app, ["names"]).output.split()
    assert sorted(everything) == ogive.names()
    assert runner.invoke(app, ["names", "--family", "shrink"]).output.split() == sorted(
        a.name for a in catalogue.entries().values() if a.family == "shrink"
    )


def test_command_plot(tmp_path):
    out = tmp_path / "trio.svg"
    shown = runner.invoke(app, ["plot", "gelu", "mish", "x*tanh(x)", "-o", str(out), "--theme", "dark"])
    assert shown.exit_code == 0 and "mish′" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["describe", "gleu"], "gelu"),
        (["describe", "x*foo(x)"], "unknown function 'foo'"),
        (["find", "no_such_name"], "closest"),
        (["names", "--family", "gate"], "gates"),
        (["plot", "swiglu"], "inputs x and y"),
        (["plot", "gelu", "-o", "/no/such/folder/a.svg"], "cannot write /no/such/folder/a.svg"),
        (["plot", "gelu", "--lo", "3", "--hi", "1"], "lo < hi"),
    ],
)
def test_command_errors_are_short(arguments, said):
    shown = runner.invoke(app, arguments)
    assert shown.exit_code == 2
    assert said in shown.output and "Traceback" not in shown.output
    assert len(shown.output.splitlines()) <= 3
