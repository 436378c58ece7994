"""What the gallery is built from: MathML, JavaScript, similarity, records, and what its directory may hold."""

from __future__ import annotations

import json
from xml.dom import minidom

import numpy as np
import pytest

from ogive import catalogue
from ogive.activation import Param, define
from ogive.derive.calculus import derivative
from ogive.derive.describe import describe
from ogive.derive.mathml import mathml, of_latex
from ogive.errors import FormulaError, InputError, UnknownName
from ogive.gallery import build, javascript
from ogive.gallery import page as pages
from ogive.gallery.facts import record, shape
from ogive.gallery.index import flags
from ogive.gallery.javascript import function, printable
from ogive.gallery.manifest import NAME, named
from ogive.gallery.picture import picture
from ogive.gallery.similarity import embed, signature
from ogive.gallery.sliders import slider
from ogive.ops import OPS
from ogive.references import bibtex

ENTRIES = sorted(catalogue.entries())
SAMPLE = ("relu", "gelu", "swish", "tanh")


# MathML


@pytest.mark.parametrize("part", range(8))
def test_every_formula_of_the_catalogue_is_well_formed_mathml(part):
    for name in ENTRIES[part::8]:
        dom = minidom.parseString(mathml(name)).documentElement
        assert dom.tagName == "math" and dom.getAttribute("alttext"), name
        for node in dom.getElementsByTagName("mfrac") + dom.getElementsByTagName("msup"):
            assert len(node.childNodes) == 2, name


def test_mathml_keeps_what_the_formula_says():
    made = mathml("elu")
    assert "<mi>α</mi>" in made and "<mtext>otherwise</mtext>" in made and made.count("<mtr>") == 2
    assert "<mi>negative_slope</mi>" in mathml("leaky_relu")
    assert (
        of_latex("a<b", display=False) == '<math alttext="a&lt;b"><mrow><mi>a</mi><mo>&lt;</mo><mi>b</mi></mrow></math>'
    )


@pytest.mark.parametrize("text", [r"\unknown{x}", r"\begin{matrix}x\end{matrix}", "x}", r"\frac{x", r"\text{x"])
def test_latex_that_the_printer_does_not_write_is_refused(text):
    with pytest.raises(FormulaError, match="MathML of"):
        of_latex(text)


# JavaScript


def test_the_script_can_compute_every_primitive():
    assert [op for op in OPS if not printable(op)] == []


def test_no_name_of_a_user_reaches_the_script():
    mine = define("x*exp(alert)", params={"alert": Param(1.0)})
    assert (
        function(mine.expr, mine.inputs, tuple(mine.params)) == "(x,p)=>{const a=Math.exp(p[0]),b=M.mul(x,a);return b}"
    )


def test_a_second_input_is_the_first_parameter():
    act = catalogue.lookup("reglu")
    assert "p[0]" in function(act.expr, act.inputs, tuple(act.params))


def test_a_formula_beyond_the_limit_is_refused(monkeypatch):
    act = catalogue.lookup("mish")
    size = len([n for n in act.expr.walk() if n.args])
    monkeypatch.setattr(javascript, "LONGEST", size)
    assert function(act.expr, act.inputs, ()).startswith("(x,p)=>")
    monkeypatch.setattr(javascript, "LONGEST", size - 1)
    with pytest.raises(FormulaError, match="too long for the page"):
        function(act.expr, act.inputs, ())


# Sliders


@pytest.mark.parametrize("name", ENTRIES)
def test_a_slider_holds_the_default_and_admits_all_it_reaches(name):
    for key, param in catalogue.lookup(name).params.items():
        s = slider(key, param)
        assert s.low <= s.value <= s.high and s.low < s.high and s.step > 0
        assert all(param.admits(v) for v in (s.low, s.high, s.value))


# Similarity


def test_an_affine_map_of_the_output_keeps_the_signature_up_to_its_sign():
    a, b = signature(define("tanh(x)")), signature(define("3 - 2*tanh(x)"))
    np.testing.assert_allclose(a, -b, atol=1e-12)


def test_what_is_constant_or_a_gate_or_not_finite_has_no_place():
    assert signature(define("where(x > 1000, x, 1)")) is None
    assert signature(catalogue.lookup("swiglu")) is None
    assert signature(define("log(x)")) is None


def test_the_map_is_the_same_every_time_and_keeps_the_near_together():
    table = {
        n: signature(catalogue.lookup(n)) for n in ("gelu", "silu", "mish", "tanh", "sigmoid", "square", "absolute")
    }
    one, two = embed(table), embed(dict(reversed(table.items())))
    assert one.names == two.names
    np.testing.assert_array_equal(one.points, two.points)
    at = dict(zip(one.names, one.points))
    assert np.hypot(*(at["gelu"] - at["silu"])) < 0.5 * np.hypot(*(at["gelu"] - at["tanh"]))
    assert one.near["gelu"][0][0] in ("silu", "mish")
    assert np.abs(one.points).max() <= 1.0


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_a_map_of_very_few_is_finite(count):
    table = {n: signature(catalogue.lookup(n)) for n in ("gelu", "tanh", "square")[:count]}
    found = embed(table)
    assert found.points.shape == (count, 2) and np.isfinite(found.points).all()


# Records and pictures


@pytest.mark.parametrize(
    "name, passed, shaped",
    [
        ("relu", {"monotone", "zero", "cheap"}, "one side bounded, monotone"),
        ("gelu", {"smooth", "zero"}, "one side bounded, with a dip"),
        ("tanh", {"monotone", "bounded", "smooth", "zero"}, "from level to level"),
        ("sine", {"bounded", "smooth", "zero"}, "bounded, not monotone"),
        ("gaussian", {"bounded", "smooth"}, "bump or wave, even"),
        ("square", {"smooth", "zero", "cheap"}, "even, unbounded"),
        ("heaviside", {"monotone", "bounded", "cheap"}, "from level to level"),
    ],
)
def test_the_filters_say_what_is_known_of_these(name, passed, shaped):
    facts = record(describe(name))
    assert {k for k, on in flags(facts).items() if on} - {"learnable", "scalar"} == passed
    assert flags(facts)["learnable"] == bool(catalogue.lookup(name).params) and flags(facts)["scalar"]
    assert shape(facts) == shaped
    assert type(facts).from_dict(json.loads(json.dumps(facts.to_dict()))) == facts


def test_the_picture_marks_kinks_jumps_and_flat_stretches():
    d = describe("hardtanh")
    made = picture(d.activation, d.limits, d.kinks)
    assert made.kinks == (-1.0, 1.0) and made.svg.count('class="kink"') == 2
    assert [tuple(round(v, 1) for v in s) for s in made.flat] == [(-5.0, -1.0), (1.0, 5.0)]
    step = describe("heaviside")
    assert picture(step.activation, step.limits, step.kinks).jumps == (0.0,)
    soft = describe("gelu")
    assert picture(soft.activation, soft.limits, soft.kinks).kinks == ()
    minidom.parseString(made.svg)


def test_a_page_holds_no_address_to_load_from_and_no_inline_code():
    for name in SAMPLE:
        made = pages.make(pages.Context(name))
        assert "<style" not in made.html and "style=" not in made.html and "onclick" not in made.html
        for attribute in ('src="http', 'href="http', "url(http", "//cdn"):
            assert attribute not in made.html + made.script


def test_bibtex_is_the_catalogues_own_text():
    text = bibtex("hendrycks2016gaussian")
    assert text.startswith("@") and text.endswith("}") and "Hendrycks" in text and text.count("@") == 1
    assert bibtex("nobody1900nothing") == ""


# The directory


def test_a_second_build_makes_nothing_and_a_lost_page_is_made_again(tmp_path):
    out = tmp_path / "site"
    first = build(out, SAMPLE)
    assert (first.made, first.kept, dict(first.failed)) == (4, 0, {})
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*.html")}
    assert (build(out, SAMPLE).made, {p: p.stat().st_mtime_ns for p in out.rglob("*.html")}) == (0, before)
    (out / "entry" / "gelu.html").unlink()
    again = build(out, SAMPLE)
    assert (again.made, again.kept) == (1, 3) and (out / "entry" / "gelu.html").is_file()


def test_pages_of_others_go_and_other_files_stay(tmp_path):
    out = tmp_path / "site"
    build(out, SAMPLE)
    (out / "entry" / "mine.txt").write_text("mine")
    built = build(out, ("relu", "gelu"))
    assert built.removed > 0 and not (out / "entry" / "tanh.html").exists()
    assert (out / "entry" / "mine.txt").read_text() == "mine"
    assert "tanh" not in (out / "index.html").read_text()


def test_a_directory_with_other_things_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match=r"holds other things \(thesis\.tex\)"):
        build(tmp_path, SAMPLE)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(InputError, match="it is a file"):
        build(tmp_path / "thesis.tex", SAMPLE)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"made_by": "somebody"}', '{"made_by": "ogive gallery"}'])
def test_a_damaged_manifest_is_refused(tmp_path, text):
    (tmp_path / NAME).write_text(text)
    with pytest.raises(InputError, match="damaged or not a gallery's"):
        build(tmp_path, SAMPLE)


def test_a_manifest_cannot_make_the_gallery_delete_elsewhere(tmp_path):
    out, victim = tmp_path / "site", tmp_path / "victim.txt"
    victim.write_text("keep")
    build(out, ("relu",))
    stored = json.loads((out / NAME).read_text())
    stored["files"].append("../victim.txt")
    (out / NAME).write_text(json.dumps(stored))
    build(out, ("relu",))
    assert victim.read_text() == "keep"


def test_an_unknown_entry_is_named_before_anything_is_written(tmp_path):
    with pytest.raises(UnknownName, match="no activation is called 'gleu'"):
        build(tmp_path / "site", ("gleu",))
    assert not (tmp_path / "site").exists()


def test_an_interrupted_build_goes_on_from_what_it_had(tmp_path):
    out = tmp_path / "site"

    def stop(what, done, total):
        if what == "pages" and done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(out, SAMPLE, watch=stop)
    assert not list(out.rglob("*.part"))
    built = build(out, SAMPLE)
    assert (built.made, built.kept) == (2, 2)


def test_several_processes_write_the_same_files_as_one(tmp_path):
    some = ENTRIES[:14]
    build(tmp_path / "one", some)
    build(tmp_path / "two", some, jobs=2)
    one, two = (
        {p.relative_to(tmp_path / n): p.read_bytes() for p in (tmp_path / n).rglob("*.*")} for n in ("one", "two")
    )
    assert one == two


def test_names_that_are_no_file_names():
    assert [named(n) for n in ("gelu", "a/b", "..", ".x", "x y", "")] == [True, False, False, False, False, False]
    assert all(map(named, ENTRIES))


def test_the_command_says_what_is_wrong_in_one_line(tmp_path):
    import typer
    from typer.testing import CliRunner

    from ogive.gallery.command import gallery

    app = typer.Typer()
    app.command()(gallery)
    run = CliRunner().invoke
    (tmp_path / "x").write_text("x")
    wrong = run(app, ["--out", str(tmp_path)])
    assert wrong.exit_code == 2 and "holds other things" in wrong.output and "Traceback" not in wrong.output
    unknown = run(app, ["--out", str(tmp_path / "site"), "--only", "gleu"])
    assert unknown.exit_code == 2 and "no activation is called 'gleu'" in unknown.output
    good = run(app, ["--out", str(tmp_path / "site"), "--only", "gelu, relu", "--jobs", "1"])
    assert good.exit_code == 0 and "2 entries (2 made, 0 unchanged)" in good.output


def test_derivatives_in_the_script_are_the_ones_python_takes():
    act = catalogue.lookup("gelu")
    made = pages.make(pages.Context("gelu"))
    for k in range(3):
        assert function(derivative(act, k).expr, act.inputs, ()) in made.script
