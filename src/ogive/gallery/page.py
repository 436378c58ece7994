"""The page of one entry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from json import dumps
from typing import Any

from ogive import catalogue
from ogive.activation import Activation
from ogive.bench.report.markup import Child, Markup, el, join
from ogive.certify.store import certificate
from ogive.derive.calculus import derivative
from ogive.derive.describe import Description, describe
from ogive.derive.mathml import mathml, of_latex
from ogive.derive.notation import symbol
from ogive.derive.relations import relations
from ogive.errors import OgiveError
from ogive.expr import const
from ogive.gallery import languages, sections
from ogive.gallery.facts import Record, record
from ogive.gallery.javascript import function
from ogive.gallery.picture import FLAT, Picture, picture
from ogive.gallery.shell import page
from ogive.gallery.sliders import Slider, slider

LONGEST_FORMULA = 6000  # characters of MathML; a longer derivative is shown as text to unfold
HELD = 1.0  # the second input of a gate, while its picture is one of x


@dataclass(frozen=True)
class Context:
    """What a page shows of its surroundings: the entries before and after it, its nearest ones, the year."""

    name: str
    before: str = ""
    after: str = ""
    near: tuple[tuple[str, float, str], ...] = ()


@dataclass(frozen=True)
class Made:
    """A page, its script, and what the index needs."""

    html: str
    script: str
    record: Record


def make(context: Context) -> Made:
    """Everything of one entry. Raises OgiveError with the entry's name where it cannot be described."""
    act = catalogue.lookup(context.name)
    d = describe(act)
    facts = record(d)
    shown = _sliced(act)
    try:
        drawn: Picture | None = picture(shown, d.limits, d.kinks)
        why = ""
    except OgiveError as error:
        drawn, why = None, str(error)
    script, sliders, silent = _script(act)
    body = join(
        _head(d, facts),
        el("div", _plot(act, drawn, why), _aside(facts, sliders, silent), class_="stage"),
        el("div", *_sections(d, facts, drawn, context), class_="sections"),
        _around(context),
    )
    html = page(
        f"{act.label}: formula, derivatives, code", body, kind="entry", root="../",
        scripts=(*(f"../assets/{s}" for s in ("math.js", "plot.js", "entry.js")), f"{act.name}.js"),
        description=f"{act.label}({', '.join(act.inputs)}) = {d.formula}. {act.note}".replace("\n", " ")[:300],
    )  # fmt: skip
    return Made(html, script, facts)


def _sliced(act: Activation) -> Activation:
    """A gate as a function of its first input; anything else as it is."""
    if len(act.inputs) == 1:
        return act
    held = {name: const(HELD) for name in act.inputs[1:]}
    return Activation(act.written.substitute(held), act.inputs[:1], act.params, act.name)


def _script(act: Activation) -> tuple[str, tuple[Slider, ...], str]:
    """The page's functions as a script, its sliders, and why there are none."""
    gates = tuple(Slider(name, HELD, -3.0, 3.0, 0.01, "") for name in act.inputs[1:])
    sliders = gates + tuple(slider(k, p) for k, p in act.params.items())
    try:
        made = [function(derivative(act, k).expr, act.inputs, tuple(act.params)) for k in range(3)]
    except OgiveError as error:
        return f"OGIVE.define({dumps({'name': act.name})});\n", (), str(error)
    about = {"name": act.name, "params": [s.to_dict() for s in sliders], "surrogate": act.backward is not None}
    functions = ",\n".join(made)
    return f"OGIVE.define({dumps(about)},\n{functions});\n", sliders, ""


def _head(d: Description, facts: Record) -> Markup:
    act = d.activation
    also = el("p", "also ", join(*_commas(el("span", a) for a in act.aliases)), class_="aliases")
    inputs = ", ".join(act.inputs)
    return el(
        "header",
        el("p", el("a", "Index", href="../index.html"), " / ",
           el("a", facts.family.replace("_", " "), href=f"../family/{facts.family}.html"), class_="crumbs"),
        el("div", el("h1", act.label), el("button", "Add to comparison", type="button", class_="pick",
                                          data_name=act.name), class_="named"),
        also if act.aliases else None,
        el("p", facts.source or "a formula of one's own", class_="source"),
        el("p", act.note, class_="lead") if act.note else None,
        el("div", el("span", f"f({inputs}) =", class_="lhs"), Markup(mathml(act)), class_="formula", tabindex=0,
           role="group", aria_label="Formula"),
        class_="head",
    )  # fmt: skip


def _commas(items: Iterator[Markup]) -> Iterator[Child]:
    for i, item in enumerate(items):
        yield ", " if i else None
        yield item


def _plot(act: Activation, drawn: Picture | None, why: str) -> Markup:
    if drawn is None:
        return el("figure", el("p", f"No picture: {why}.", class_="none"))
    held = f" with {' and '.join(act.inputs[1:])} = {HELD:g}" if len(act.inputs) > 1 else ""
    ranges = (
        el("button", f"±{r:g}", type="button", data_reach=r, aria_pressed="true" if r == 5 else "false")
        for r in (2, 5, 10, 50)
    )
    return el(
        "figure",
        el("div", el("div", *ranges, class_="ranges", role="group", aria_label="Range of x", hidden=True),
           el("output", class_="reading", aria_live="off"), class_="bar"),
        drawn.svg,
        el("figcaption", f"{act.label}{held} and its derivatives. ",
           el("span", "Shaded", class_="swatch-flat"), f": flat, |f′| below {100 * FLAT:g} % of its largest here. ",
           el("span", "Ring", class_="swatch-kink"), ": a kink. ", "Dashes: an asymptote."),
        class_="plotted",
    )  # fmt: skip


def _aside(facts: Record, sliders: Sequence[Slider], silent: str) -> Markup:
    controls: list[Child] = []
    for i, s in enumerate(sliders):
        key = f"p{i}"
        controls.append(
            el(
                "div",
                el("label", Markup(of_latex(symbol(s.name), display=False)), _spelled(s.name), for_=key),
                el("input", type="range", id=key, min=repr(s.low), max=repr(s.high), step=repr(s.step),
                   value=repr(s.value), data_index=i),
                el("input", type="number", value=f"{s.value:g}", step="any", data_index=i,
                   aria_label=f"{s.name}, exact value"),
                el("small", s.note) if s.note else None,
                class_="control",
            )
        )  # fmt: skip
    moving = el("form", el("h2", "Parameters"), *controls, el("p", class_="trouble", role="status"),
                el("button", "Back to the defaults", type="reset"), class_="sliders", hidden=True)  # fmt: skip
    return el(
        "aside",
        moving if sliders else None,
        el("p", silent, class_="none") if silent else None,
        el("h2", "In short"),
        el("ul", (el("li", line) for line in sections.short(facts)), class_="short"),
    )


def _spelled(name: str) -> Child:
    """The name of a parameter in letters, where its symbol does not show it."""
    shown = symbol(name)
    return None if name in shown and "_" not in shown and not shown.startswith("\\") else el("small", name)


def _sections(d: Description, facts: Record, drawn: Picture | None, context: Context) -> Iterator[Markup]:
    for key, title, body in (
        ("derivatives", "Derivatives", _derivatives(d)),
        ("properties", "Properties", sections.properties(d, facts, drawn)),
        ("cost", "Gain and cost", sections.cost(d, facts)),
        ("parameters", "Parameters", sections.parameters(d)),
        ("code", "Code", sections.code(d, languages.emitted(d.activation))),
        ("sources", "Sources", sections.sources(d)),
        ("neighbours", "Neighbours", sections.neighbours(d, context.near, relations(context.name))),
        ("certificate", "Certificate", sections.certificate(d, certificate(context.name))),
    ):
        if body is not None:
            yield el("section", el("h2", title), body, id=key)


def _derivatives(d: Description) -> Markup:
    act = d.activation
    true = replace(act, backward=None)
    rows: list[Child] = []
    for order, mark in ((1, "f′"), (2, "f″")):
        try:
            shown = mathml(derivative(true, order))
        except OgiveError as error:
            rows.append(el("p", f"{mark}: {error}", class_="none"))
            continue
        text = d.derivatives[order - 1][0]
        if len(shown) <= LONGEST_FORMULA:
            inner: Child = el("div", el("span", f"{mark} =", class_="lhs"), Markup(shown), class_="formula", tabindex=0,
                              role="group", aria_label=mark)  # fmt: skip
        else:
            inner = el("details", el("summary", f"{mark} is long ({len(text)} characters): show it as text"),
                       el("pre", text))  # fmt: skip
        rows.append(inner)
    if d.surrogate is not None:
        rows.append(el("p", "Declared backward, which training uses for f′: ", el("code", d.surrogate)))
    return join(*rows)


def _around(context: Context) -> Markup:
    def link(name: str, rel: str, arrow: str) -> Child:
        if not name:
            return el("span")
        shown = f"{arrow} {name}" if rel == "prev" else f"{name} {arrow}"
        return el("a", shown, href=f"{name}.html", rel=rel)

    return el("nav", link(context.before, "prev", "←"), link(context.after, "next", "→"), class_="around",
              aria_label="Entries before and after")  # fmt: skip


def context_key(context: Context) -> dict[str, Any]:
    """What of the context a page depends on, for its content hash."""
    return {"before": context.before, "after": context.after, "near": [list(n) for n in context.near]}
