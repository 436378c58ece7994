"""The report of `ogive compare`: one HTML page that needs nothing else.

No script, no font, no image from anywhere: the page's own content security policy forbids it, so
even a mistake in escaping could not run code. Light and dark follow the system; the switch is CSS.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from string import Template

from ogive.bench.report import findings, record
from ogive.bench.report.listings import seeds_text
from ogive.bench.report.markup import Child, Markup, el, join, text
from ogive.bench.report.page import Page
from ogive.bench.report.svg import looks
from ogive.bench.stats.analysis import Analysis
from ogive.bench.stats.verdict import count
from ogive.bench.store import Results

__all__ = ["render"]

SECTIONS: tuple[tuple[str, str, Callable[[Page], Markup | None]], ...] = (
    ("scores", "Scores", findings.scores),
    ("ranks", "Overall", findings.ranks),
    ("differences", "Paired differences", findings.differences),
    ("curves", "Learning curves", findings.curves),
    ("cost", "Cost against quality", findings.cost),
    ("health", "Dead units and gradients", findings.health),
    ("unresolved", "What was not resolved", record.unresolved),
    ("problems", "Failures and divergences", record.problems),
    ("tasks", "Tasks, data and models", record.tasks),
    ("method", "How this was decided", record.method),
    ("reproduce", "How to reproduce", record.reproduce),
)


def render(results: Results, analysis: Analysis) -> str:
    """The report as one self-contained HTML page.

    Args:
        results: the experiment, finished or not.
        analysis: what `ogive.bench.stats.analyse` says of it.

    Returns:
        The page; write it with UTF-8.
    """
    ranked = analysis.ranking.acts if analysis.ranking else ()
    order = (*ranked, *(act for act in analysis.acts if act not in ranked))
    page = Page(results, analysis, order, looks(analysis.acts))
    contents: list[Child] = []
    sections: list[Markup] = []
    for key, title, build in SECTIONS:
        body = build(page)
        if body is not None:
            contents.append(el("a", title, href=f"#{key}"))
            sections.append(el("section", el("h2", title), body, id=key))
    sentence = analysis.verdict
    return _template("report.html").substitute(
        title=text(f"ogive compare: {sentence}"),
        style=_style(),
        verdict=text(sentence[:1].upper() + sentence[1:] if _starts_plain(sentence, analysis) else sentence),
        lead=_lead(analysis),
        facts=_facts(page),
        cautions=el("ul", (el("li", line) for line in analysis.cautions), class_="cautions")
        if analysis.cautions
        else "",
        contents=join(*contents),
        sections=join(*sections),
        footer=text(f"Made by Ogive {_version(results)}. This page loads nothing from anywhere."),
    )


def _starts_plain(sentence: str, analysis: Analysis) -> bool:
    """Whether the first word is English: the name of an activation keeps its case."""
    return not any(sentence.startswith(act) for act in analysis.acts)


def _version(results: Results) -> str:
    versions = results.config.get("versions")
    return str(versions.get("ogive", "")) if isinstance(versions, dict) else ""


def _lead(analysis: Analysis) -> Markup:
    """What it would take to tell the leader from those it is not separable from."""
    if len(analysis.leaders) < 2:
        return join()
    first, tied = analysis.leaders[0], analysis.leaders[1:]
    needed = []
    for act in tied[:5]:
        duel = next(d for d in analysis.contests if {d.a, d.b} == {first, act})
        needed.append(f"{act} {seeds_text(duel.seeds_needed, analysis.seeds)}")
    return el("p", f"Seeds per task it would take to tell {first} apart: {', '.join(needed)}.", class_="lead")


def _facts(page: Page) -> Markup:
    tests = sum(trial.phase == "test" for trial in page.results.trials)
    tunes = sum(trial.phase == "tune" for trial in page.results.trials)
    parts = [
        count(len(page.analysis.acts), "activation"),
        count(len(page.results.tasks), "task"),
        count(page.analysis.seeds, "paired seed"),
        f"{count(tests, 'test run')} after {tunes} to tune the learning rate",
    ]
    when = page.results.config.get("finished") or page.results.config.get("started")
    if when:
        parts.append(str(when)[:16].replace("T", " "))
    return join(" · ".join(parts))


def _template(name: str) -> Template:
    return Template((files("ogive.bench.report") / "templates" / name).read_text(encoding="utf-8"))


def _style() -> str:
    """The style sheet; each palette is put in where the system asks for it and where the switch does."""
    palettes = {name: _template(f"{name}.css").template.strip() for name in ("light", "dark")}
    return _template("report.css").substitute(palettes)
