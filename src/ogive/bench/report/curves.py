"""Learning curves as small multiples: the mean of the seeds, and a band from the worst to the best seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ogive.bench.report.markup import Markup, el
from ogive.bench.report.svg import Look, Scale, decimals, figure, number, span, ticks, x_axis, y_axis
from ogive.bench.store import Results, TaskInfo, Trial

__all__ = ["curve_chart"]

MOST_POINTS = 40  # a curve is 250 pixels wide; more points only make the page heavier
Curve = tuple[list[int], list[float], list[float], list[float]]


def _curve(trials: Sequence[Trial]) -> Curve | None:
    """Steps, and mean, lowest, highest score of the seeds that have a point there."""
    at: dict[int, list[float]] = {}
    for trial in trials:
        for step, _, score in trial.curve:
            if math.isfinite(score):
                at.setdefault(step, []).append(score)
    steps = sorted(at)
    if len(steps) < 2:
        return None
    if len(steps) > MOST_POINTS:
        kept = np.unique(np.linspace(0, len(steps) - 1, MOST_POINTS).round().astype(int))
        steps = [steps[i] for i in kept]
    means = [sum(at[s]) / len(at[s]) for s in steps]
    return steps, means, [min(at[s]) for s in steps], [max(at[s]) for s in steps]


def curve_chart(results: Results, task: TaskInfo, look: Mapping[str, Look], key: str) -> Markup | None:
    """Score on the test split against the training step, finished runs only; None without curves."""
    curves: dict[str, Curve] = {}
    for act in look:
        runs = [t for t in results.trials if (t.task, t.act, t.phase, t.status) == (task.name, act, "test", "ok")]
        curve = _curve(runs)
        if curve is not None:
            curves[act] = curve
    if not curves:
        return None
    last = max(steps[-1] for steps, *_ in curves.values())
    # The first steps are far off and alike for everybody: the picture starts after a quarter of the
    # training, and its height fits the second half.
    late = [
        value
        for steps, _, low, high in curves.values()
        for step, *pair in zip(steps, low, high)
        if step >= 0.5 * last
        for value in pair
    ]
    width, height = 360, 214.0
    first = 0.25 * last
    x, y = Scale(first, float(last), 50.0, width - 12.0), Scale(*span(late), height - 40.0, 10.0)
    y_marks = ticks(y.low, y.high, 5)
    places = decimals(y_marks[1] - y_marks[0]) if len(y_marks) > 1 else 2
    clip = f"{key}-c"
    parts = [
        el(
            "clipPath",
            el("rect", x=x.start, y=y.end - 2, width=x.end - x.start + 8, height=y.start - y.end + 4),
            id=clip,
        ),
        y_axis(y, x.start, x.end, y_marks, lambda v: number(v, places)),
        x_axis(x, y.start, y.start, ticks(first, float(last), 4), lambda v: number(v)),
    ]
    bands, lines, told = [], [], []
    for act, (steps, means, low, high) in curves.items():
        forth = [f"{x(s):.0f} {y(v):.1f}" for s, v in zip(steps, high)]
        back = [f"{x(s):.0f} {y(v):.1f}" for s, v in zip(reversed(steps), reversed(low))]
        bands.append(el("path", d="M" + "L".join(forth + back) + "Z", class_=f"band {look[act].class_}"))
        lines.append(look[act].line([(x(s), y(v)) for s, v in zip(steps, means)]))
        lines.append(look[act].marker(x(steps[-1]), y(means[-1]), 3.6))
        told.append(f"{act} ends at {number(means[-1])}")
    parts.append(el("g", *bands, *lines, clip_path=f"url(#{clip})"))
    arrow = "higher" if task.higher_is_better else "lower"
    parts.append(
        el("text", f"training step; {task.metric}, {arrow} is better", x=(x.start + x.end) / 2, y=height - 8,
           class_="tick", text_anchor="middle")
    )  # fmt: skip
    return figure(f"{task.title}: learning curves", "; ".join(told) + ".", width, height, *parts, key=key)
