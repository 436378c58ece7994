"""Tables, JSON, targets and picture of reports made up for them."""

import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from ogive.errors import InputError
from ogive.speed.allocator import TIMED, WAYS, Fresh
from ogive.speed.formulas import TWELVE
from ogive.speed.results import Machine, Report, Row, Saved, short, worst_trouble
from ogive.speed.roofline import bandwidth, points, roofline
from ogive.speed.table import allocator_table, remarks, show
from ogive.speed.targets import geometric_mean, shares

MACHINE = Machine("cpu", "A Processor With a Rather Long Name @ 2.70GHz", 1, "AVX512", "2.13.0+cpu", "0.1.0", 1e11)
SVG = "{http://www.w3.org/2000/svg}"


def row(function="silu", dtype="float32", size=1_000_000, direction="forward", contender="ogive",
        output="preallocated", multiple=1.2, **more):  # fmt: skip
    floor = {"forward": "copy_", "backward": "add", "both": "copy_ + add"}[direction]
    values = {"seconds": 1e-4 * multiple, "floor_seconds": 1e-4, "primitives": 4, "noise": 0.01, "rounds": 20,
              "discarded": 0, "timed": "act(x)", "floor": floor}  # fmt: skip
    return Row(function, dtype, size, direction, contender, output, multiple=multiple, **{**values, **more})


def full(functions=TWELVE, dtypes=("float32", "bfloat16"), sizes=(100, 1_000_000, 20_000_000), contenders=None):
    rows = [
        row(
            f,
            d,
            n,
            w,
            c,
            o,
            multiple=1.0 + 37.77 * i,
            trouble=("", "noisy", "preempted")[i % 3],
            primitives=2 + i,
            seconds=(1e-6 if n < 1000 else 1e-4) * (1.0 + 37.77 * i),
        )
        for i, f in enumerate(functions)
        for d in dtypes
        for n in sizes
        for w in ("forward", "backward", "both")
        for c in contenders or ("ogive", "native", "compiled", "eager")
        for o in ("preallocated", "fresh")
        if (w, o) != ("both", "preallocated") and (n > 1000 or o == "fresh")
    ]
    saved = [Saved(f, d, "ogive", 0.0, False) for f in functions for d in dtypes]
    return Report(MACHINE, tuple(rows), tuple(saved), ("golu, float32, forward, compiled: " + "x" * 120,), True)


def printed(report):
    console = Console(width=80, record=True, file=open("/dev/null", "w"), highlight=False)  # noqa: SIM115, PTH123
    show(report, console)
    return console.export_text()


def test_the_table_fits_80_columns_and_cuts_nothing_but_names():
    names = ("maximum(x, 0.1*x) + a_long_formula", *TWELVE)
    text = printed(full(names))
    assert max(map(len, text.splitlines())) <= 80
    for line in text.splitlines():
        assert "…" not in line or line.strip().startswith("maximum(x"), line
    for word in ("native", "compiled", "eager", "fresh", "out=", "gelu_tanh", "stopped early", "targets"):
        assert word in text


def test_doubts_are_marked_and_counted():
    text = printed(full(("relu", "silu", "gelu")))
    assert re.search(r"silu .*38\.8~", text)
    assert re.search(r"gelu .*76\.5!", text)
    assert "left out: golu, float32, forward, compiled" in text
    quiet = Report(MACHINE, (row(),))
    assert remarks(quiet) == []
    one = Report(MACHINE, (row(trouble="noisy", discarded=3), row("mish")))
    assert remarks(one)[0].startswith("~ 1 of 2 times")
    assert remarks(one)[1].startswith("3 of 40 samples")


def test_ratios_compare_like_with_like():
    rows = (row(multiple=2.0), row(output="fresh", multiple=8.0), row(contender="eager", output="fresh", multiple=24.0),
            row(contender="native", multiple=3.0))  # fmt: skip
    report = Report(MACHINE, rows)
    at = ("silu", "float32", 1_000_000, "forward")
    assert report.faster(*at, "eager") == pytest.approx(3.0)  # fresh against fresh
    assert report.faster(*at, "native") == pytest.approx(1.5)
    assert report.faster(*at, "compiled") is None
    assert report.best(*at).output == "preallocated"


def test_targets_count_functions_and_name_the_worst():
    rows = (row("a", multiple=1.4), row("b", multiple=2.0), row("c", multiple=9.0), row("d", multiple=2.6))
    (share,) = [s for s in shares(Report(MACHINE, rows)) if s.title == "float32 forward, 1e6"]
    assert (share.of, share.within, share.aimed) == (4, 2, 1)
    assert [label for label, _ in share.worst] == ["c", "d", "b"]


def test_a_function_is_inside_only_when_all_its_measurements_are():
    rows = (row("a", "bfloat16", multiple=1.0), row("a", "float16", multiple=9.0))
    (share,) = shares(Report(MACHINE, rows))
    assert (share.of, share.within) == (1, 0)
    assert share.worst[0] == ("a float16", 9.0)


def test_gates_are_not_held_against_the_floors_of_scalar_functions():
    assert shares(Report(MACHINE, (row("swiglu", multiple=2.0, floor="add"),))) == []


def test_targets_against_others():
    rows = (row(), row(contender="native", multiple=1.1), row("mish"), row("mish", contender="native", multiple=14.4),
            row("mish", contender="compiled", multiple=4.8), row(contender="compiled", multiple=0.3))  # fmt: skip
    report = Report(MACHINE, rows)
    found = {s.title: s for s in shares(report)}
    native = found["against torch native"]
    assert (native.of, native.within) == (2, 1)
    assert found["mish against native"].aimed == 1
    assert geometric_mean(report, "compiled") == pytest.approx((4.0 * 0.25) ** 0.5)
    assert geometric_mean(report, "eager") is None


def test_a_gpu_has_its_own_targets():
    rows = tuple(row(dtype="bfloat16", size=2**25, direction=d, multiple=1.1) for d in ("forward", "backward"))
    found = shares(Report(replace(MACHINE, device="cuda"), rows))
    assert [(s.title, s.within, s.aimed) for s in found] == [("bfloat16 forward", 1, 0), ("bfloat16 backward", 1, 0)]


def test_json_holds_everything(tmp_path):
    report = full()
    data = json.loads(report.save(tmp_path / "out.json").read_text())
    assert set(data) == {"schema", "command", "machine", "rows", "saved", "skipped", "stopped", "targets"}
    assert data["schema"] == 1
    assert data["stopped"] is True
    assert set(data["machine"]) == {"device", "name", "threads", "capability", "torch", "ogive", "peak"}
    assert [Row(**r) for r in data["rows"]] == list(report.rows)
    assert [Saved(**s) for s in data["saved"]] == list(report.saved)
    expected = {"title", "unit", "most", "least", "aim", "of", "within", "aimed", "worst"}
    assert all(set(t) == expected for t in data["targets"])


@pytest.mark.parametrize("size, text", [(100, "100"), (1000, "1000"), (1_000_000, "1e6"), (20_000_000, "2e7"),
                                        (33_554_432, "33554432"), (1_500_000, "1.5e6"), (4096, "4096")])  # fmt: skip
def test_sizes_are_short_where_that_loses_nothing(size, text):
    assert short(size) == text
    assert float(text) == size


def test_preempted_is_worse_than_noisy():
    assert worst_trouble("noisy", "preempted") == "preempted"
    assert worst_trouble("", "noisy") == "noisy"
    assert worst_trouble("", "") == ""


@pytest.mark.parametrize("functions", [("relu",), TWELVE, tuple(f"f{i}" for i in range(120))], ids=len)
def test_the_roofline_parses_and_fits(functions):
    report = full(functions, contenders=("ogive", "native"))
    root = ElementTree.fromstring(roofline(report))
    width, height = (float(v) for v in root.get("viewBox").split()[2:])
    assert (float(root.get("width")), float(root.get("height"))) == (width, height)
    panels = [g for g in root.findall(f"{SVG}g") if g.find(f"{SVG}text[@class='head']") is not None]
    assert [g.find(f"{SVG}text").text for g in panels] == [
        f"{d}, {n} elements" for n in ("1e6", "2e7") for d in ("float32", "bfloat16")
    ]
    for g in panels:
        dx, dy = map(float, re.findall(r"[-\d.]+", g.get("transform")))
        for circle in g.iter(f"{SVG}circle"):
            assert 0 <= float(circle.get("cx")) <= 430
            assert 34 <= float(circle.get("cy")) <= 330 - 42
        for text in g.findall(f"{SVG}text[@class='ink']"):
            assert dx + float(text.get("x") or 0) + 6.2 * len(text.text) <= width
            assert 0 <= dy + float(text.get("y")) <= height
        assert len(list(g.iter(f"{SVG}circle"))) == 2 * len(functions)


def test_labels_do_not_lie_on_each_other():
    root = ElementTree.fromstring(roofline(full()))
    for g in root.findall(f"{SVG}g")[-4:]:
        boxes = [(float(t.get("x")), float(t.get("y")), len(t.text)) for t in g.findall(f"{SVG}text[@class='ink']")]
        for i, (x, y, n) in enumerate(boxes):
            for u, v, m in boxes[:i]:
                assert abs(y - v) >= 9 or x + 6 * n < u or u + 6 * m < x


def test_names_are_escaped():
    svg = roofline(Report(MACHINE, (row("where(x > 0, x, 0) & <b>"),)))
    assert "<b>" not in svg
    ElementTree.fromstring(svg)


def test_the_distance_to_the_roof_is_the_multiple_of_the_floor():
    report = Report(MACHINE, (row(multiple=2.5),))
    (point,) = points(report, "float32", 1_000_000)
    assert bandwidth(report, "float32", 1_000_000) * point.intensity / point.ogive == pytest.approx(2.5)


def test_nothing_to_draw_is_said():
    with pytest.raises(InputError, match="at 1000 elements or more"):
        roofline(Report(MACHINE, (row(size=100),)))


def test_the_allocator_table_fits():
    times = {"1000000": dict.fromkeys(TIMED, 1.23e-4), "20000000": dict.fromkeys(TIMED, 0.0378)}
    trouble = {size: dict.fromkeys(TIMED, "noisy") for size in times}
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(allocator_table([Fresh(way, text, times, trouble, 480 << 20) for way, text in WAYS.items()]))
    text = console.export_text()
    assert "…" not in text
    assert "37.8~" in text
    assert max(map(len, text.splitlines())) <= 80
