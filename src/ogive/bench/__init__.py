"""The experiment: which activation to use, on real data, with error bars.

The parts, in the order in which a run uses them: `spec` (what a task is), `tasks` (the tasks that
come with Ogive), `protocol` (what is held equal between activations), `train` (one trial),
`engines` (where trials run), `store` (where finished trials are kept), `run` (the whole
experiment), `stats` and `report` (what it says).
"""

from __future__ import annotations

from ogive.bench.spec import Data, TaskSpec
from ogive.bench.store import Results, TaskInfo, Trial

__all__ = ["Data", "Results", "TaskInfo", "TaskSpec", "Trial"]
