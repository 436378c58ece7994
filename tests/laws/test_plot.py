"""The picture of every entry lies on the function, lifts the pen at jumps, and is one well-formed file."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

import ogive
from ogive.derive.plot import Svg, plot
from ogive.errors import InputError, ParameterError
from tests.entries import ONE_INPUT

NS = "{http://www.w3.org/2000/svg}"

each = pytest.mark.parametrize("act", ONE_INPUT, ids=lambda a: a.name)


def number(text):
    return float(text.replace("−", "-"))


def affine(pixels, values):
    """The line through (pixel, value) pairs of an axis' ticks."""
    (p, u), (q, v) = (pixels[0], values[0]), (pixels[-1], values[-1])
    slope = (v - u) / (q - p)
    return lambda at: u + (at - p) * slope


def axes(root):
    """From pixels to data, read off the numbers printed at the ticks."""
    texts = [t for t in root.iter(f"{NS}text") if re.fullmatch(r"[−\d.e-]+", t.text or "")]
    x = [(float(t.get("x")), number(t.text)) for t in texts if t.get("text-anchor") == "middle"]
    y = [(float(t.get("y")) - 4, number(t.text)) for t in texts if t.get("text-anchor") == "end"]
    return affine(*zip(*x)), affine(*zip(*y))


def strokes(root, look=0):
    """The curve's polylines, in pixels."""
    drawn = [p for g in root.iter(f"{NS}g") for p in g.iter(f"{NS}path") if p.get("class") == f"line c{look}"]
    for stroke in drawn[0].get("d").split("M")[1:]:
        yield [tuple(map(float, point.split())) for point in stroke.split("L")]


@each
def test_lies_on_the_function(act):
    root = ElementTree.fromstring(plot(act, derivatives=0))
    to_x, to_y = axes(root)
    cuts = torch.tensor(act.breakpoints() or [1e9])
    unit = abs(to_y(1.0) - to_y(0.0))
    seen = 0
    for stroke in strokes(root):
        px, py = map(np.array, zip(*stroke))
        at = np.arange(px[0], px[-1], 0.5)
        y = np.interp(at, px, py)
        inside = (y > 38) & (y < 340)
        x = torch.tensor([to_x(p) for p in at[inside]], dtype=torch.float64)
        width = abs(to_x(0.2) - to_x(0.0))  # pixels are printed to a tenth
        around = act(x[:, None] + torch.linspace(-width, width, 9, dtype=torch.float64)).sort(1).values
        clear = ((x[:, None] - cuts).abs() > 2 * width).all(1)  # at a break either side may be meant
        drawn = torch.tensor([to_y(p) for p in y[inside]], dtype=torch.float64)
        off = (~((around[:, 0] - 0.4 * unit <= drawn) & (drawn <= around[:, -1] + 0.4 * unit)) & clear).nonzero()
        assert len(off) <= 0.004 * len(x), (x[off[:3]], drawn[off[:3]], around[off[:3]])
        seen += int(clear.sum())
    assert seen > 50


@each
def test_is_one_well_formed_file(act):
    text = plot(act, derivatives=2)
    root = ElementTree.fromstring(text)
    assert text.count("http") == 1  # the namespace
    assert not re.search(r"nan|inf|e[+]\d", re.sub(r"<(title|desc|style|text).*?</\1>", "", text))
    assert len(text) < 120_000
    named = root.get("aria-labelledby").split()
    assert [root.find(f"{NS}title").get("id"), root.find(f"{NS}desc").get("id")] == named
    ids = [e.get("id") for e in root.iter() if e.get("id")]
    assert len(ids) == len(set(ids))
    assert all(f"url(#{i})" in text for i in ids if i not in named and i != root.get("id"))


@pytest.mark.parametrize("name", ["sign", "heaviside", "thresholded_relu", "hardshrink", "round_ste", "dorefa"])
def test_the_pen_is_lifted_at_jumps(name):
    root = ElementTree.fromstring(plot(name, derivatives=0))
    to_x, _ = axes(root)
    act = ogive.get(name)
    jumps = [b for b in act.breakpoints() if abs(b) < 5 and abs(act(b - 1e-6) - act(b + 1e-6)) > 1e-3]
    assert jumps
    for stroke in strokes(root):
        for (p, _), (q, _) in itertools.pairwise(stroke):
            assert not any(to_x(p) + 0.02 < b < to_x(q) - 0.02 for b in jumps)
    circles = [c.get("class") for c in root.iter(f"{NS}circle")]
    assert sum("open" not in c for c in circles) == len(jumps)  # each jump has its value as a full dot


def test_ties_of_rounding_are_drawn_where_they_are():
    root = ElementTree.fromstring(plot("round(x)", derivatives=0))
    to_x, to_y = axes(root)
    full = {(round(to_x(float(c.get("cx"))), 1), round(to_y(float(c.get("cy"))))) for c in root.iter(f"{NS}circle")
            if "open" not in c.get("class")}  # fmt: skip
    assert full == {(k + 0.5, 2 * round((k + 0.5) / 2)) for k in range(-5, 5)}


def test_poles_are_not_crossed():
    for formula in ("tan(x)", "1/x", "1/(x*x - 2)"):
        root = ElementTree.fromstring(plot(formula, derivatives=0))
        for stroke in strokes(root):
            for (_, y), (_, z) in itertools.pairwise(stroke):
                assert not (min(y, z) < 30 and max(y, z) > 350)


def test_explosions_are_cut_and_ordinary_ranges_are_not():
    def top(spec):
        return axes(ElementTree.fromstring(plot(spec, derivatives=0)))[1](38)

    assert 6 < top("exponential") < 8
    assert 6 < top("exp(exp(x))") < 8
    assert 5 < top("relu") < 6
    assert 120 < top("cube") < 145


def test_what_users_write_is_escaped():
    act = ogive.define("x*tanh(x)", name="<b onload='x'>&\"")
    text = plot([act, "where(x < 1, x, 1)"])
    root = ElementTree.fromstring(text)
    assert "<b" not in text
    labels = [t.text for t in root.iter(f"{NS}text")]
    assert "(<b onload='x'>&\")′" in labels


def test_several_share_panels_and_are_told_apart():
    text = plot(["mish", "gelu", "silu"])
    for look in range(3):
        assert len(re.findall(rf'class="line c{look}" d="M[\d.]+ [\d.]+[LM]', text)) == 2  # f and f'
    twins = plot([ogive.get("swish").with_params(beta=2.0), "x*sigmoid(2*x)"])
    labels = [t.text for t in ElementTree.fromstring(twins).iter(f"{NS}text") if t.get("class") == "key"]
    assert labels[0] == "x*sigmoid(2*x)"
    family = plot([ogive.define("a*x*x", name="parabola", params={"a": a}) for a in (1.0, 0.5)], derivatives=0)
    assert "parabola (a=1)" in family and "parabola (a=0.5)" in family
    surrogate = [t.text for t in ElementTree.fromstring(plot("sign")).iter(f"{NS}text")]
    assert "sign′ (surrogate)" in surrogate


def test_themes():
    assert "prefers-color-scheme" in plot("relu")
    assert "prefers-color-scheme" not in plot("relu", theme="dark")
    assert plot("relu", theme="light") != plot("relu", theme="dark")


def test_is_a_string_that_notebooks_show(tmp_path):
    picture = plot("gelu")
    assert isinstance(picture, Svg) and picture._repr_svg_() == picture == plot("gelu")
    saved = picture.save(tmp_path / "gelu.svg")
    assert saved.read_text(encoding="utf-8") == picture


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"lo": 1, "hi": 1}, "lo < hi"),
        ({"hi": float("inf")}, "finite"),
        ({"derivatives": 4}, "derivatives=4"),
        ({"theme": "blue"}, "'auto'"),
        ({"width": 10}, "240"),
    ],
)
def test_refuses(arguments, said):
    with pytest.raises(ParameterError, match=said):
        plot("relu", **arguments)


def test_refuses_gates_and_crowds():
    with pytest.raises(InputError, match="swiglu"):
        plot("swiglu")
    with pytest.raises(InputError, match="1 to 8"):
        plot(["relu"] * 9)
