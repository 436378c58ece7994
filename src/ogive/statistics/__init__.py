"""Intervals, tests and the distributions behind them, on plain arrays."""
