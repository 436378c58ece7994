"""The map of all entries by similarity, and the frame of the comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from ogive.bench.report.markup import Child, Markup, el, join
from ogive.gallery.facts import SHAPES, Record, shape
from ogive.gallery.shell import page
from ogive.gallery.similarity import Map
from ogive.gallery.tiles import place

WIDTH, HEIGHT, MARGIN = 1000, 700, 34
_LABELS = 46
_KNOWN = (
    "relu", "gelu", "silu", "tanh", "sigmoid", "softplus", "elu", "mish", "leaky_relu", "sine", "gaussian", "square",
    "identity", "hardtanh", "softsign", "abs", "swish", "selu", "snake", "relu6", "golu", "cosine", "exp", "hard_swish",
)  # fmt: skip


def map_page(found: Map, records: Mapping[str, Record]) -> str:
    """Every entry as a point, coloured by shape."""
    placed = [n for n in found.names if n in records]
    kinds = {n: shape(records[n]) for n in placed}
    families = Counter(records[n].family for n in placed)
    shapes = Counter(kinds.values())

    def button(kind: str, key: str, size: int, spot: Markup | None) -> Markup:
        return el("li", el("button", spot, key.replace("_", " "), el("small", f" {size}"), type="button",
                           data_kind=kind, data_value=key, aria_pressed="false"))  # fmt: skip

    legend = (
        button("shape", s, shapes[s], el("span", class_=f"spot g{i}")) for i, s in enumerate(SHAPES) if s in shapes
    )
    listed = (button("family", f, families[f], None) for f in sorted(families))
    left = [el("a", n, href=place(records[n])) for n in found.left_out if n in records]
    body = join(
        el("header", el("h1", "Map"),
           el("p", "Near on the map: alike to a standard normal input, up to a factor and a shift of the output, "
              "which the next layer undoes.", class_="lead"), class_="head"),
        el("div",
           el("div", el("div", el("button", "+", type="button", data_zoom="1.5", aria_label="Zoom in"),
                        el("button", "−", type="button", data_zoom="0.667", aria_label="Zoom out"),
                        el("button", "Reset", type="button", data_zoom="0"), class_="zoom", hidden=True),
              _drawing(found, kinds, records), class_="chart"),
           el("aside", el("input", type="search", name="q", placeholder="Find on the map", autocomplete="off",
                          aria_label="Find on the map"),
              el("div", el("p", "Point at a function.", class_="none"), class_="preview", aria_live="polite"),
              el("h2", "Shapes"), el("ul", legend, class_="legend"),
              el("h2", "Families"), el("ul", listed, class_="legend long")),
           class_="mapped"),
        el("p", f"{len(placed)} functions, sampled at Gauss-Hermite nodes, centred and scaled; the distance wanted is "
           f"the fourth root of 1 − r², r their correlation. Kruskal's stress is {found.stress:.2f}. Points that would "
           "cover one another are moved apart a little; the axes have no meaning of their own.", class_="note"),
        el("p", "Without a place, because they are gates, constant or not finite: ",
           *_joined(left), ".", class_="note") if left else None,
    )  # fmt: skip
    return page("Map of activation functions", body, kind="map", scripts=("assets/catalogue.js", "assets/map.js"),
                description="All activation functions by similarity")  # fmt: skip


def _joined(links: Sequence[Markup]) -> list[Child]:
    out: list[Child] = []
    for i, link in enumerate(links):
        out += [", " if i else None, link]
    return out


def _at(x: float, y: float) -> tuple[float, float]:
    return (MARGIN + 0.5 * (x + 1) * (WIDTH - 2 * MARGIN), MARGIN + 0.5 * (1 - y) * (HEIGHT - 2 * MARGIN))


def _drawing(found: Map, kinds: Mapping[str, str], records: Mapping[str, Record]) -> Markup:
    at = {n: _at(float(x), float(y)) for n, (x, y) in zip(found.names, found.points) if n in kinds}
    labelled = _labels(at)
    points, words = [], []  # words over all points, or a point would cover them
    for name in at:
        x, y = at[name]
        if name in labelled:
            dx, anchor = labelled[name]
            words.append(el("text", name, x=x + dx, y=y + 4, text_anchor=anchor))
        points.append(
            el("a", el("circle", cx=x, cy=y, r=5), href=place(records[name]), data_name=name,
               class_=f"g{SHAPES.index(kinds[name])}", data_family=records[name].family, data_shape=kinds[name],
               data_spark=records[name].spark,
               aria_label=name)
        )  # fmt: skip
    return el("svg", *points, *words, viewBox=f"0 0 {WIDTH} {HEIGHT}", class_="map", role="group",
              aria_label="Activation functions by similarity")  # fmt: skip


def _labels(at: Mapping[str, tuple[float, float]]) -> dict[str, tuple[float, str]]:
    """Names that fit beside their points without touching a label or many points: the known ones first."""
    order = [n for n in _KNOWN if n in at] + sorted((n for n in at if n not in _KNOWN), key=lambda n: (len(n), n))
    boxes: list[tuple[float, float, float, float]] = []
    chosen: dict[str, tuple[float, str]] = {}
    for name in order:
        x, y = at[name]
        width = 7.2 * len(name) + 4
        for dx, anchor, left in ((9.0, "start", x + 7), (-9.0, "end", x - 7 - width)):
            box = (left, y - 8, left + width, y + 8)
            apart = all(box[2] < b[0] or b[2] < box[0] or box[3] < b[1] or b[3] < box[1] for b in boxes)
            covered = sum(box[0] < px < box[2] and box[1] < py < box[3] for px, py in at.values())
            inside = box[0] > 4 and box[2] < WIDTH - 4
            if apart and inside and covered <= (2 if name in _KNOWN else 0):
                boxes.append(box)
                chosen[name] = (dx, anchor)
                break
        if len(chosen) >= _LABELS:
            break
    return chosen


def compare_page() -> str:
    """The frame that assets/compare.js fills: up to four entries over one another and side by side."""
    slots = (
        el("li", el("span", class_=f"spot s{i}"),
           el("input", type="text", list="names", name=f"slot{i}", placeholder="name", autocomplete="off",
              spellcheck="false", aria_label=f"Function {i + 1}"),
           el("button", "×", type="button", class_="drop", aria_label=f"Remove function {i + 1}"))
        for i in range(4)
    )  # fmt: skip
    ranges = (
        el("button", f"±{r:g}", type="button", data_reach=r, aria_pressed="true" if r == 5 else "false")
        for r in (2, 5, 10, 50)
    )
    body = join(
        el("header", el("h1", "Compare"),
           el("p", "Up to four functions over one another. The address of this page keeps the choice.", class_="lead"),
           class_="head"),
        el("noscript", el("p", "The comparison draws with a script; the entries' own pages do not need one.")),
        el("ol", slots, class_="slots"),
        el("datalist", id="names"),
        el("p", class_="trouble", role="status"),
        el("figure", el("div", el("div", *ranges, class_="ranges", role="group", aria_label="Range of x"),
                        el("output", class_="reading"), class_="bar"),
           el("svg", viewBox="0 0 640 572", class_="plot", role="img", aria_label="The chosen functions"),
           class_="plotted"),
        el("div", el("table", class_="facts"), class_="scroll", tabindex=0, role="group", aria_label="Facts"),
    )  # fmt: skip
    scripts = ("assets/catalogue.js", "assets/math.js", "assets/plot.js", "assets/compare.js")
    return page("Compare activation functions", body, kind="compare", scripts=scripts)
