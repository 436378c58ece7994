"""The sections of an entry's page: what is derived, what it costs, code, relatives, sources."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from ogive.bench.report.markup import Child, Markup, el, join
from ogive.derive.describe import Description
from ogive.derive.drawing.axes import number
from ogive.derive.latex import latex
from ogive.derive.limits import Side
from ogive.derive.observed import REACH
from ogive.derive.recognition.constants import decimal
from ogive.gallery.facts import SMOOTHNESS, Record
from ogive.gallery.picture import Picture, thumbnail
from ogive.references import bibtex

_KINDS = {"same as": "is the same function as", "contains": "contains", "contained in": "is contained in",
          "near": "is close to"}  # fmt: skip


def value(v: float | None) -> str:
    """A number for a reader: six digits, a true minus, the signs of infinity.

    >>> value(-0.17), value(float("inf")), value(None)
    ('−0.17', '∞', 'none')
    """
    if v is None or math.isnan(v):
        return "none"
    if math.isinf(v):
        return "∞" if v > 0 else "−∞"
    mantissa, exponent = decimal(v)
    return number(float(f"{mantissa}e{exponent}"))


def table(rows: Iterable[tuple[str, Child]]) -> Markup:
    """Terms and what is said of them."""
    return el("dl", ((el("dt", term), el("dd", said)) for term, said in rows))


def short(facts: Record) -> list[str]:
    """A few words for each thing the filters know."""
    lines = []
    if facts.inputs > 1:
        lines.append(f"a gate of {facts.inputs} inputs")
    if facts.monotone:
        lines.append(facts.monotone)
    elif facts.smooth is not None:
        lines.append("not monotone")
    if facts.parity:
        lines.append(f"{facts.parity} symmetry")
    if facts.smooth is not None:
        lines.append(SMOOTHNESS[facts.smooth])
        lines.append("bounded" if facts.bounded else "unbounded")
        lines.append("keeps zero: f(0) = 0" if facts.zero else "does not keep zero")
    lines.append(f"{len(facts.params)} parameter{'s' * (len(facts.params) != 1)} to learn" if facts.params else
                 "no parameters")  # fmt: skip
    lines.append(f"costs {facts.cost:g} exponentials, keeps {facts.saved:g} bytes")
    return lines


def properties(d: Description, facts: Record, drawn: Picture | None) -> Markup | None:
    """Limits, range, shape; what could not be derived, with the reason."""
    return join(_ends(d), table(_shape(d, facts, drawn)))


def _ends(d: Description) -> Markup | None:
    lim = d.limits
    if lim is None:
        return None

    def row(where: str, side: Side) -> Markup:
        line = "none" if side.asymptote is None else _line(*side.asymptote)
        return el("tr", el("th", where, scope="row"), el("td", value(side.value)), el("td", value(side.slope)),
                  el("td", line))  # fmt: skip

    at = value(lim.value)
    if not lim.continuous:
        at = f"{value(lim.left.value)} | {at} | {value(lim.right.value)}"
    slope = f"{value(lim.left.slope)} | {value(lim.right.slope)}" if lim.kink else value(lim.slope)
    head = el("tr", (el("th", h, scope="col") for h in ("x", "f(x)", "f′(x)", "asymptote")))
    middle = el("tr", el("th", "0", scope="row"), el("td", at), el("td", slope), el("td", ""))
    body = el("tbody", row("−∞", lim.minus), middle, row("+∞", lim.plus))
    return el("div", el("table", el("thead", head), body), class_="scroll", tabindex=0, role="group",
              aria_label="Limits")  # fmt: skip


def _line(slope: float, offset: float) -> str:
    head = {0.0: "", 1.0: "x", -1.0: "−x"}.get(slope, f"{value(slope)} x")
    if not head:
        return f"y = {value(offset)}"
    if abs(offset) < 1e-12:
        return f"y = {head}"
    return f"y = {head} {'+' if offset > 0 else '−'} {value(abs(offset))}"


def _shape(d: Description, facts: Record, drawn: Picture | None) -> Iterator[tuple[str, Child]]:
    o = d.observed
    if o is not None:
        yield "least value", _extreme(d, o.low, o.low_at, -math.inf)
        yield "greatest value", _extreme(d, o.high, o.high_at, math.inf)
        yield "monotone", o.monotone or "no"
        proof = "" if not o.parity else " (follows from the formula)" if o.parity_proved else " (as sampled)"
        yield "symmetry", f"{o.parity}{proof}" if o.parity else "none"
    if facts.smooth is not None:
        yield "smoothness", SMOOTHNESS[facts.smooth]
        yield "kinks", _listed(d.kinks)
        yield "jumps", _listed(d.jumps)
    if drawn is not None and len(d.activation.inputs) == 1:
        flat = [f"{value(a)} to {value(b)}" for a, b in drawn.flat]
        yield "flat within ±5", "; ".join(flat[:6]) + ("; …" if len(flat) > 6 else "") if flat else "nowhere"
    if o is not None:
        yield "sampled on", f"[{value(-REACH)}, {value(REACH)}]" + ("" if o.defined else "; undefined at some inputs")
    for law, reason in d.activation.exceptions.items():
        yield f"exception ({law})", reason
    for what, reason in d.missing.items():
        yield f"no {what}", reason


def _extreme(d: Description, seen: float, at: float, end: float) -> str:
    """The extreme value and where; or that there is none; or that it is a limit only."""
    ends = {"−∞": d.limits.minus.value, "∞": d.limits.plus.value} if d.limits else {}
    if end in ends.values() or math.isinf(seen):
        return "none: unbounded"
    for where, limit in ends.items():
        if limit is not None and abs(seen - limit) <= 1e-9 * max(1.0, abs(limit)) and abs(at) == REACH:
            return f"{value(limit)} as x → {where}"
    return f"{value(seen)} at x = {value(at)}"


def _listed(points: tuple[float, ...]) -> str:
    if not points:
        return "none"
    shown = ", ".join(value(p) for p in points[:6])
    return shown if len(points) <= 6 else f"{len(points)} in [−64, 64]: {shown}, …"


def cost(d: Description, facts: Record) -> Markup:
    """Initialisation gains and what a call costs."""
    rows: list[tuple[str, Child]] = []
    if d.gain is not None:
        g = d.gain
        of = " (of the declared backward)" if g.surrogate else ""
        rows.append(("forward gain", join(value(g.forward), el("small", " 1/√E f(z)², z standard normal"))))
        rows.append(("backward gain", join(value(g.backward), el("small", f" 1/√E f′(z)²{of}"))))
    f, slope = d.operations
    rows.append(("operations", f"{f} for f, {slope} for f′"))
    rows.append(("estimated cost", f"{facts.cost:g} exponentials in its cheapest accurate form"))
    rows.append(("memory", f"backward keeps {d.saved_bytes:g} bytes of a float32 element"))
    return table(rows)


def parameters(d: Description) -> Markup | None:
    """Parameters with their intervals and advice."""
    if not d.parameters:
        return None
    head = el("tr", (el("th", h, scope="col") for h in ("parameter", "default", "in", "shared by", "weight decay", "")))
    rows = (
        el("tr", el("th", p.name, scope="row"), el("td", value(p.default)),
           el("td", p.interval or "any", class_="interval"), el("td", p.share), el("td", "yes" if p.decay else "no"),
           el("td", p.note, class_="advice" if p.note else None))
        for p in d.parameters
    )  # fmt: skip
    return el("div", el("table", el("thead", head), el("tbody", rows)), class_="scroll", tabindex=0, role="group",
              aria_label="Parameters")  # fmt: skip


def code(d: Description, emitted: Iterable[tuple[str, str]]) -> Markup:
    """How to use it in PyTorch, and its text for other languages."""
    act = d.activation
    inputs = ", ".join(act.inputs)
    lines = ["import ogive", "", f"y = ogive.catalogue.{act.name}({inputs})  # a function of tensors"]
    if len(act.inputs) == 1:
        lines.append(f'act = ogive.Act("{act.name}")  # an nn.Module')
        if act.params:
            learned = next(iter(act.params))
            lines.append(f'act = ogive.Act("{act.name}", {learned}=ogive.learn())  # {learned} is trained')
    blocks: list[tuple[str, str]] = [("PyTorch", "\n".join(lines)), ("Formula", d.formula)]
    blocks.append(("LaTeX", latex(act)))
    blocks += [(language, text.rstrip()) for language, text in emitted]
    return join(*(block(title, text, opened=i == 0) for i, (title, text) in enumerate(blocks)))


def block(title: str, text: str, opened: bool = False) -> Markup:
    """Code to unfold and to copy."""
    return el("details", el("summary", title), el("div", el("pre", el("code", text), tabindex=0), class_="copyable"),
              open=opened)  # fmt: skip


def neighbours(d: Description, near: Sequence[tuple[str, float, str]], known: Sequence[Any]) -> Markup | None:
    """Relations that are proved or stored, then the entries most alike to a normal input."""
    act = d.activation
    rows: list[Child] = []
    for r in known:
        at = ", ".join(f"{k} = {value(v)}" for k, v in dict(r.parameters or {}).items())
        gap = f", gap {value(r.gap)}" if r.gap else ""
        rows.append(el("li", f"{_KINDS.get(r.kind, r.kind)} ", _to(r.other), f" at {at}" if at else "", gap))
    named = {r.other for r in known}
    if act.same_as and act.same_as not in named:
        rows.append(el("li", "is ", _to(act.same_as), " at its defaults" if act.params else ""))
    equal = [e for e in d.equals if e not in named]
    if equal:
        links = [join(", " if i else None, _to(e)) for i, e in enumerate(equal)]
        rows.append(el("li", "forward, and at their defaults, the same: ", *links))
    tiles = [
        el("a", thumbnail(spark), el("b", name), el("small", _alike(c)), href=f"{name}.html", class_="tile")
        for name, c, spark in near
    ]
    if not rows and not tiles:
        return None
    return join(
        el("ul", rows, class_="relations") if rows else None,
        el("p", "Most alike to a standard normal input, up to a factor and a shift of the output:",
           class_="note") if tiles else None,
        el("div", tiles, class_="tiles small") if tiles else None,
    )  # fmt: skip


def _to(name: str) -> Markup:
    return el("a", name, href=f"{name}.html")


def _alike(correlation: float) -> str:
    """A correlation; its distance from one where it rounds to one.

    >>> _alike(0.5), _alike(-1.0), _alike(1 - 3e-6)
    ('correlation 0.5000', 'correlation −1', 'correlation 1 − 3e−6')
    """
    sign, size = ("−" if correlation < 0 else ""), abs(correlation)
    if 1.0 - size < 1e-9:
        return f"correlation {sign}1"
    if size < 0.9999:
        return f"correlation {sign}{size:.4f}"
    off = f"{1 - size:.0e}".replace("e-0", "e−")
    return f"correlation {sign}1 {'+' if sign else '−'} {off}"


def certificate(d: Description, found: Any) -> Markup | None:
    """What every 16-bit input and the exact reference said."""
    if found is None:
        return None
    state = "passes" if found.passed else "fails"
    return join(
        el("p", el("strong", f"{d.activation.label} {state}", class_=state), f" its laws against {found.reference}."),
        el("pre", el("code", str(found)), tabindex=0),
        el("p", f"digest {found.digest}", class_="note") if found.digest else None,
    )


def sources(d: Description) -> Markup | None:
    """Citations, each with its BibTeX."""
    if not d.citations:
        return None
    items = []
    for r in d.citations:
        text = bibtex(r.key)
        items.append(el("li", str(r), block("BibTeX", text) if text else None))
    return el("ol", items, class_="sources")
