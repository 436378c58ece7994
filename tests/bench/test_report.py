"""The report page: self-contained, escaped, well formed, and true to the analysis."""

from __future__ import annotations

import itertools
import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pytest
from synthetic_results import ACTS, TASKS, make_results

from ogive.bench.report import SECTIONS, render
from ogive.bench.report.markup import Markup, el, join, text
from ogive.bench.report.svg import looks, number, ticks
from ogive.bench.stats import analyse

VOID = {"meta", "input", "br", "path", "line", "rect", "circle"}
EVIL = '<script>alert("x")</script>'


class Page(HTMLParser):
    """Elements, attributes and text of a page; fails on a tag that is not closed where it must be."""

    def __init__(self, html):
        super().__init__()
        self.open, self.elements, self.words = [], [], []
        self.feed(html)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.words).split())


@pytest.fixture(scope="module")
def results():
    return make_results(diverged=[("camera", "tanh", None), ("mnist", "relu", 1)], failed=[("co2", "mish", 2)])


@pytest.fixture(scope="module")
def html(results):
    return render(results, analyse(results))


def test_the_page_is_well_formed_and_has_every_section(html):
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids)), "an id is used twice"
    assert {key for key, _, _ in SECTIONS} <= set(ids)
    for tag, attributes in page.elements:
        if tag == "a":
            assert attributes["href"].startswith("#")
            assert attributes["href"][1:] in ids
    for svg in re.findall(r"<svg.*?</svg>", html, re.S):
        ET.fromstring(svg)  # SVG inside is XML, too


def test_the_page_asks_for_nothing_outside(html):
    page = Page(html)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "link", "img", "iframe", "object", "embed", "use"})
    names = {name for _, attributes in page.elements for name in attributes}
    assert names.isdisjoint({"src", "srcset", "xlink:href", "onload", "onclick", "action"})
    style = re.search(r"<style>(.*?)</style>", html, re.S).group(1)
    assert "url(" not in style
    assert "@import" not in style
    assert "http" not in html.lower().replace("http-equiv", "")
    assert "default-src 'none'" in html


def test_the_page_is_small(html):
    """Six activations, six tasks, five seeds, 16 points a curve."""
    assert len(html.encode()) < 400_000
    long = make_results(points=300)
    assert len(render(long, analyse(long)).encode()) < 400_000


def test_no_user_text_reaches_the_page_unescaped():
    odd = ("relu", EVIL, "a\"b'c&d", "$style ${x}", "line\nbreak\x1b[31m", "]]></style>" + EVIL)
    tasks = (replace(TASKS[0], title=f"Task {EVIL}", description=EVIL, data=EVIL, model=EVIL, metric=EVIL),
             replace(TASKS[4], title="Second & last"))  # fmt: skip
    results = make_results(acts=odd, tasks=tasks, quality={EVIL: 3.0}, diverged=[("camera", EVIL, 1)])
    said = f"ValueError: {EVIL}{'x' * 5000}"
    trials = tuple(
        replace(t, status="failed", score=None, error=said) if (t.act, t.seed) == (EVIL, 2) else t
        for t in results.trials
    )
    config = {
        **results.config,
        "command": f"ogive compare {EVIL}",
        "versions": {EVIL: EVIL},
        "note": {"x": EVIL},
    }
    results = replace(results, config=config, trials=trials)
    html = render(results, analyse(results))
    assert "<script" not in html.lower()
    assert "&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;" in html
    assert "&amp;lt;" not in html, "escaped twice"
    assert "\x1b" not in html
    assert "$style ${x}" in Page(html).text
    assert f"ValueError: {EVIL}" in Page(html).text
    assert "x" * 700 not in html


def test_the_verdict_is_the_headline_and_the_title(results, html):
    verdict = analyse(results).verdict
    headline = re.search(r"<h1>(.*?)</h1>", html, re.S).group(1)
    assert headline.lower() == verdict.lower()
    assert html.count("<h1>") == 1
    assert verdict in html.split("</title>")[0]


def test_the_table_shows_the_numbers_and_marks_that_are_not_colour_alone(results, html):
    analysis = analyse(results)
    table = re.search(r'<table class="scores".*?</table>', html, re.S).group(0)
    assert table.count("★") == len(TASKS)
    tied = sum(cell.standing == "tied" for cell in analysis.cells)
    assert tied > 0
    assert table.count("≈") == tied
    cell = analysis.cell("camera", "golu")
    assert f"{cell.mean:.2f}" in table
    assert f"{cell.low:.2f} – {cell.high:.2f}" in table
    assert "5 diverged" in table
    assert "1 failed" in table


def test_failures_show_their_text_and_the_command_is_there(results, html):
    text_ = Page(html).text
    assert "ValueError: 32 channels do not divide into 5 groups" in text_
    assert "loss is nan at step 37" in text_
    assert results.config["command"] in text_
    assert "torch 2.13.0" in text_
    for task in TASKS:
        assert task.data in text_
        assert task.model in text_


def test_every_chart_has_a_title_and_a_description(html):
    charts = re.findall(r'<svg [^>]*class="chart".*?</svg>', html, re.S)
    assert len(charts) == 1 + len(TASKS) + len(TASKS) + 2  # ranks, differences, curves, two costs
    for chart in charts:
        assert re.search(r"<title [^>]*>[^<]+</title><desc [^>]*>[^<]{10,}</desc>", chart)
        assert "nan" not in chart
        assert "inf" not in chart.lower().replace("info", "")


def test_an_activation_keeps_its_colour_dash_and_marker(html):
    look = looks(ACTS)
    assert len({(one.class_, one.dash, one.marker(0, 0)) for one in look.values()}) == len(ACTS)
    many = looks([f"act{i}" for i in range(24)])
    assert len({(one.class_, one.dash) for one in many.values()}) == 24
    for act, one in look.items():
        swatches = set(re.findall(rf'(<svg [^>]*class="swatch"(?:(?!</svg>).)*</svg>)<span>{act}</span>', html, re.S))
        assert len(swatches) == 1
        assert f'class="line {one.class_}"' in swatches.pop()


def test_curves_are_drawn_inside_their_frame(html):
    for chart in re.findall(r"<svg [^>]*aria-labelledby=\"l\d.*?</svg>", html, re.S):
        lines = re.findall(r'<path d="M([^"]+)" class="line', chart)
        assert len(lines) >= 5
        for line in lines:
            x = [float(point.split()[0]) for point in line.split("L")]
            assert x == sorted(x)
            assert x[-1] <= 360


@pytest.mark.parametrize(
    "case",
    [
        {"acts": ("relu",)},
        {"seeds": 1},
        {"acts": ("relu", "golu"), "tasks": TASKS[:1]},
        {"diverged": [(t.name, a, None) for t in TASKS for a in ACTS]},
        {"failed": [(t.name, a, None) for t in TASKS for a in ACTS]},
        {"complete": False, "missing": [(t.name, a, s) for t in TASKS[1:] for a in ACTS for s in range(5)]},
        {"acts": tuple(f"act{i}" for i in range(10)), "tasks": TASKS[:3]},
        {"points": 1},
    ],
    ids=[
        "one-act",
        "one-seed",
        "one-task",
        "all-diverged",
        "all-failed",
        "unfinished",
        "many-acts",
        "no-curves",
    ],
)
def test_odd_experiments_still_make_a_page(case):
    results = make_results(**case)
    analysis = analyse(results)
    page = Page(render(results, analysis))
    assert analysis.verdict[1:] in page.text
    for caution in analysis.cautions:
        assert caution in page.text
    assert not re.search(r"\bnan\b", page.text.replace("loss is nan at", ""))


def test_an_empty_experiment_still_makes_a_page():
    results = make_results(complete=False)
    for empty in (replace(results, trials=()), replace(results, trials=(), tasks=(), config={})):
        page = Page(render(empty, analyse(empty)))
        assert "no test run has finished yet" in page.text


def test_what_was_not_resolved_is_listed_with_its_price(results, html):
    analysis = analyse(results)
    section = html.split('<section id="unresolved">')[1].split("</section>")[0]
    shown = Page(section).text
    open_duels = [d for d in analysis.contests if not d.resolved]
    assert f"Over all tasks {len(open_duels)} of 15 pairs are not resolved" in shown
    assert section.split("</table>")[0].count("<tr>") == len(open_duels) + 1
    assert "more" in shown


# ---- the small parts -----------------------------------------------------------------------------


def test_markup_escapes_text_and_passes_markup():
    assert el("p", "<b>", el("i", "x")) == "<p>&lt;b&gt;<i>x</i></p>"
    assert el("a", title='"<') == '<a title="&quot;&lt;"></a>'
    assert join(None, ["a", ["<"]], 2, 0.5) == "a&lt;20.5"
    assert isinstance(text("x"), Markup)
    assert not isinstance(text("x") + "<", Markup), "adding text to markup must not stay markup"


def test_ticks_and_numbers():
    for low, high in ((0.0, 1.0), (-0.013, 0.02), (2.35, 2.51), (1.0, 14.0)):
        values = ticks(low, high, 5)
        assert 2 <= len(values) <= 7
        assert all(low - 1e-9 <= v <= high + 1e-9 for v in values)
    assert number(-0.0001, 2) == "0.00"
    assert number(float("nan")) == "–"


# ---- colours -------------------------------------------------------------------------------------


def _palette(name):
    style = (files("ogive.bench.report") / "templates" / f"{name}.css").read_text(encoding="utf-8")
    return dict(re.findall(r"--([\w-]+): (#\w{6});", style))


def _linear(colour):
    c = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)


def _contrast(a, b):
    light, dark = sorted((float(_linear(c) @ [0.2126, 0.7152, 0.0722]) for c in (a, b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _lab(rgb):
    matrix = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    x = matrix @ np.clip(rgb, 0, 1) / [0.9505, 1.0, 1.089]
    f = np.where(x > 0.008856, np.cbrt(x), 7.787 * x + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
VISION = {
    "normal": np.eye(3),
    "protan": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deutan": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritan": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_is_readable_and_colours_are_told_apart(theme):
    colours = _palette(theme)
    assert colours.keys() == _palette("light").keys()
    for ink, paper in (("ink", "paper"), ("muted", "paper"), ("accent", "paper"), ("muted", "tint"),
                       ("accent", "tint"), ("warn-ink", "tint-warn"), ("warn-ink", "paper")):  # fmt: skip
        assert _contrast(colours[ink], colours[paper]) >= 4.5, (ink, paper)
    acts = [f"c{i}" for i in range(8)]
    for act in acts:
        assert _contrast(colours[act], colours["paper"]) >= 3.0, act
    for vision, matrix in VISION.items():
        seen = {act: _lab(np.array(matrix) @ _linear(colours[act])) for act in acts}
        for a, b in itertools.combinations(acts, 2):
            least = 28 if max(a, b) < "c6" else 22
            assert np.linalg.norm(seen[a] - seen[b]) >= least, (vision, a, b)
