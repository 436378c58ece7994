"""The page: one self-contained HTML file."""

from ogive.bench.report.render import SECTIONS, render

__all__ = ["SECTIONS", "render"]
