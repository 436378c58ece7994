"""What the scores allow to say: paired differences, ranks, groups that cannot be told apart."""

from ogive.bench.stats.analysis import Analysis, Cell, analyse

__all__ = ["Analysis", "Cell", "analyse"]
