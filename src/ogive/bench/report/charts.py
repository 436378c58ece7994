"""The report's charts of comparisons: ranks with critical difference, paired differences, cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from ogive.bench.report.markup import Markup, el, join
from ogive.bench.report.svg import Look, Scale, decimals, figure, label, number, span, ticks, tidy, x_axis, y_axis
from ogive.bench.stats.analysis import Analysis
from ogive.bench.stats.ranks import Ranking
from ogive.bench.store import TaskInfo

__all__ = ["cost_chart", "interval_chart", "rank_chart"]


def rank_chart(ranking: Ranking, groups: Sequence[Sequence[str]], look: Mapping[str, Look]) -> Markup:
    """The critical-difference diagram, turned so that names are rows and fit a phone.

    Args:
        ranking: mean ranks with intervals and Nemenyi's critical difference.
        groups: runs of activations that the experiment could not separate on these tasks.
        look: colours and markers.
    """
    k = len(ranking.acts)
    row, top = 26.0, 62.0
    lanes = len(groups) + len(ranking.cliques)
    width = 420
    gap = min(9.0, 72.0 / max(lanes, 1))
    scale = Scale(1.0, float(max(k, 2)), 116.0, width - 22.0 - gap * lanes)
    bottom = top + row * k
    at = {act: top + row * (i + 0.5) for i, act in enumerate(ranking.acts)}
    marks = ticks(1.0, float(k), 8)
    parts = [x_axis(scale, bottom, top - 6, [v for v in marks if v == round(v)], lambda v: number(v))]
    reach = min(ranking.critical_difference, float(k) - 1.0)
    more = "" if reach == ranking.critical_difference else " (wider than this axis)"
    x1, x2 = scale(1.0), scale(1.0 + reach)
    shown = f"critical difference {ranking.critical_difference:.2f}{more}"
    parts.append(el("text", shown, x=x1, y=20, class_="tick"))
    parts.append(el("path", d=f"M{x1:.1f} 28v8m0 -4H{x2:.1f}m0 -4v8", class_="ruler"))
    for act, mean, low, high in zip(ranking.acts, ranking.mean_ranks, ranking.low, ranking.high):
        y = at[act]
        parts.append(label(act, 108, y + 4, text_anchor="end", class_="name"))
        parts.append(el("line", x1=scale(low), x2=scale(high), y1=y, y2=y, class_=f"whisker {look[act].class_}"))
        parts.append(look[act].marker(scale(mean), y, 5.2))
        beyond = scale(mean) > (scale.start + scale.end) / 2
        side = scale(low) - 7 if beyond else scale(high) + 7
        parts.append(
            el(
                "text",
                f"{mean:.2f}",
                x=side,
                y=y + 4,
                class_="tick",
                text_anchor="end" if beyond else "start",
            )
        )
    lane = scale.end + 14
    for kind, sets in (("group", groups), ("clique", ranking.cliques)):
        for members in sets:
            y1, y2 = at[members[0]] - 7, at[members[-1]] + 7
            parts.append(el("line", x1=lane, x2=lane, y1=y1, y2=y2, class_=kind))
            lane += gap
    parts.append(
        el("text", "mean rank (1 is best)", x=(scale.start + scale.end) / 2, y=bottom + 31,
           class_="tick", text_anchor="middle")
    )  # fmt: skip
    told = "; ".join(f"{act} {mean:.2f}" for act, mean in zip(ranking.acts, ranking.mean_ranks))
    joined = "; ".join(", ".join(group) for group in groups) or "none"
    return figure(
        f"Mean ranks over {ranking.n_blocks} {ranking.blocks}",
        f"Best first: {told}. Not separable on these tasks: {joined}. {shown}.",
        width, bottom + 40, *parts, key="ranks",
    )  # fmt: skip


def interval_chart(task: TaskInfo, analysis: Analysis, look: Mapping[str, Look], key: str) -> Markup | None:
    """Paired differences to the reference on one task, right of zero is better; None without a pair."""
    reference = analysis.reference or ""
    rows = []
    for act in analysis.acts:
        pair = analysis.pair(task.name, act, reference) if act != reference else None
        if pair is not None:
            turn = 1.0 if pair.a == act else -1.0
            ends = () if pair.low is None or pair.high is None else (turn * pair.low, turn * pair.high)
            rows.append((act, pair, None if pair.advantage is None else turn * pair.advantage, ends))
    if not rows:
        return None
    # A pair of two seeds has an interval of 12.7 sd: it may leave the picture rather than flatten it.
    halves = sorted((max(ends) - min(ends)) / 2 for _, _, _, ends in rows if ends)
    widest = 4.0 * halves[len(halves) // 2] if halves else math.inf
    seen = [0.0]
    for _, _, mean, ends in rows:
        if mean is not None:
            seen += [mean, *(max(mean - widest, min(mean + widest, end)) for end in ends)]
    width, row, top = 360, 25.0, 10.0
    scale = Scale(*span(seen), 104.0, width - 14.0)
    bottom = top + row * len(rows)
    marks = ticks(scale.low, scale.high, 4)
    places = decimals(marks[1] - marks[0]) if len(marks) > 1 else 2
    parts = [x_axis(scale, bottom, top, marks, lambda v: number(v, places))]
    parts.append(el("line", x1=scale(0.0), x2=scale(0.0), y1=top, y2=bottom, class_="zero"))
    told = []
    for i, (act, pair, mean, ends) in enumerate(rows):
        y = top + row * (i + 0.5)
        cell = analysis.cell(task.name, act)
        lift = 6 if cell is not None and cell.diverged else 0
        parts.append(label(act, 96, y + 4 - lift, text_anchor="end", class_="name"))
        if ends:
            low, high = sorted(max(scale.start, min(scale.end, scale(end))) for end in ends)
            parts.append(el("line", x1=low, x2=high, y1=y, y2=y, class_=f"whisker {look[act].class_}"))
        if mean is not None:
            parts.append(look[act].marker(scale(mean), y, 5.0, hollow=not pair.resolved))
            outcome = "resolved" if pair.resolved else "not resolved"
            interval = f" ({number(min(ends))} to {number(max(ends))})" if ends else ""
            told.append(f"{act} {number(mean)}{interval}, {outcome}")
        if cell is not None and cell.diverged:
            note = f"{cell.diverged} diverged"
            parts.append(el("text", note, x=96, y=y + 13, class_="flag", text_anchor="end"))
            told.append(f"{act}: {note}")
    unit = f"advantage over {tidy(reference)}, {task.metric}"
    parts.append(el("text", unit, x=(scale.start + scale.end) / 2, y=bottom + 31, class_="tick", text_anchor="middle"))
    title = f"{task.title}: paired difference to {reference}"
    return figure(title, "; ".join(told) + ".", width, bottom + 40, *parts, key=key)


def cost_chart(
    points: Sequence[tuple[str, float, float]], look: Mapping[str, Look], unit: str, k: int, key: str
) -> Markup:
    """Cost against quality: x is a ratio to the reference, y the mean rank with the best on top.

    Args:
        points: (activation, cost ratio, mean rank).
        look: colours and markers.
        unit: what the ratio is of.
        k: number of activations, the last rank.
        key: unique in the page.
    """
    width, height = 360, 250.0
    low, high = span([x for _, x, _ in points], 0.12)
    longest = max(min(len(act), 14) for act, _, _ in points)
    x, y = (
        Scale(low, high, 40.0, width - 12.0 - 7.4 * longest),
        Scale(1.0 - 0.3, k + 0.3, 12.0, height - 46.0),
    )
    marks = ticks(low, high, 4)
    places = decimals(marks[1] - marks[0]) if len(marks) > 1 else 2
    ranks = [v for v in ticks(1.0, float(k), 6) if v == round(v)]
    front, best = [], math.inf
    for _, cost, rank in sorted(points, key=lambda point: (point[1], point[2])):
        if rank < best:
            front.append((x(cost), y(rank)))
            best = rank
    parts = [
        x_axis(x, y.end, y.start, marks, lambda v: f"{number(v, places)}×"),
        y_axis(y, x.start, x.end, ranks, lambda v: number(v)),
        el("path", d="M" + "L".join(f"{a:.1f} {b:.1f}" for a, b in front), class_="front") if len(front) > 1 else None,
    ]
    taken: list[tuple[float, float, float]] = []
    for act, cost, rank in sorted(points, key=lambda point: point[2]):
        place = y(rank) + 4
        wide = 10.0 + 7.4 * min(len(act), 14)
        while any(
            abs(place - other) < 12.5 and x(cost) < right and left < x(cost) + wide for left, right, other in taken
        ):
            place += 3.0
        taken.append((x(cost), x(cost) + wide, place))
        if place - y(rank) > 12:
            leader = f"M{x(cost):.1f} {y(rank):.1f}L{x(cost) + 8:.1f} {place - 4:.1f}"
            parts.append(el("path", d=leader, class_="leader"))
        parts.append(look[act].marker(x(cost), y(rank), 5.4))
        parts.append(label(act, x(cost) + 10, place, class_="name"))
    parts.append(el("text", unit, x=(x.start + x.end) / 2, y=height - 14, class_="tick", text_anchor="middle"))
    parts.append(
        el("text", "mean rank", x=0, y=0, class_="tick", text_anchor="middle",
           transform=f"translate(13 {(y.start + y.end) / 2:.0f}) rotate(-90)")
    )  # fmt: skip
    told = "; ".join(f"{act} {cost:.2f} times, rank {rank:.2f}" for act, cost, rank in points)
    return figure(f"{unit} against mean rank", told + ".", width, height, join(*parts), key=key)
