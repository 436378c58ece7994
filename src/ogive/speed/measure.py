"""Interleaved timing that notices when the machine did something else.

All contenders of a group are timed in turn, in a new random order every round, so that a slow minute of the
machine is shared by all of them and cancels in their ratios. A time is the 10th percentile of its rounds:
interference only ever adds time. A sample that an interruption lengthened is discarded and replaced by
further rounds; a group whose thirds disagree is measured again, and what stays doubtful is marked.
"""

from __future__ import annotations

import gc
import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import torch

from ogive.errors import InputError

Run: TypeAlias = Callable[[], object]

PERCENTILE = 0.10
SLOW = 1.5  # times the best: what an interrupted sample takes at least
STALL = 1e-3  # seconds; a preempted thread waits for its turn, and a barrier waits for the thread: 1 to 6 ms
NOISE = 0.10  # disagreement between the thirds of a run that is still called quiet
SHORTEST = 1e-4  # seconds of one sample: a shorter call is repeated inside it
PASSES = 3  # how often a group is measured before its doubts are printed


@dataclass(frozen=True)
class Sample:
    """Seconds of one call, and how often the system took a processor from this process meanwhile."""

    seconds: float
    preemptions: int = 0


Sampler: TypeAlias = Callable[[Run, int], Sample]


@dataclass(frozen=True)
class Timing:
    """The time of one contender.

    ``seconds`` is the 10th percentile of the undisturbed samples. ``noise`` is the largest over the smallest
    of the three thirds of the run, less one: of the ratio to the group's floor, or of the floor itself.
    ``trouble`` is "", "noisy" (noise above 0.1 after three passes) or "preempted" (more samples were
    disturbed than not).
    """

    name: str
    seconds: float
    noise: float
    rounds: int
    discarded: int
    calls: int
    trouble: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def percentile(values: Sequence[float], q: float = PERCENTILE) -> float:
    """The ``q``-quantile of ``values``, linear between the two nearest.

    >>> percentile([3.0, 1.0, 2.0], 0.25)
    1.5
    """
    ranked = sorted(values)
    at = q * (len(ranked) - 1)
    low = math.floor(at)
    high = min(low + 1, len(ranked) - 1)
    return ranked[low] + (at - low) * (ranked[high] - ranked[low])


def disturbed(samples: Sequence[Sample]) -> list[bool]:
    """Which samples were interrupted: 1.5 times as long as the best one and either preempted or a whole
    millisecond longer.

    A preempted worker thread stalls the barrier that the others wait at for milliseconds, and on a shared
    machine that can be most samples: the best one, not the middle one, tells what is undisturbed. A virtual
    machine that loses its processor cannot count it, hence the rule by length.

    >>> disturbed([Sample(2.4e-5), Sample(6.2e-3), Sample(2.5e-5), Sample(4e-5, 1)])
    [False, True, False, True]
    """
    best = min(s.seconds for s in samples)
    return [s.seconds > SLOW * best and (s.preemptions > 0 or s.seconds - best > STALL) for s in samples]


def spread(samples: Sequence[float], floor: Sequence[float] | None = None) -> float:
    """The disagreement of the thirds of a run: the largest 10th percentile over the smallest, less one; with
    ``floor``, of the ratio to the floor in the same third. Zero when a third would be empty.

    >>> spread([1.0] * 6), round(spread([1.0, 1.0, 1.0, 1.0, 1.5, 1.5]), 3)
    (0.0, 0.5)
    """
    n, m = len(samples), len(samples if floor is None else floor)
    if min(n, m) < 3:
        return 0.0
    levels = []
    for i in range(3):
        level = percentile(samples[i * n // 3 : (i + 1) * n // 3])
        levels.append(level / percentile(floor[i * m // 3 : (i + 1) * m // 3]) if floor is not None else level)
    return max(levels) / min(levels) - 1.0


def judge(name: str, samples: Sequence[Sample], floor: Sequence[Sample] | None, calls: int) -> Timing:
    """The timing of ``name`` from its samples, with ``floor`` those of the group's floor (None: it is the floor)."""
    bad = disturbed(samples)
    good = [s.seconds for s, b in zip(samples, bad) if not b]
    of_floor = None if floor is None else [s.seconds for s, b in zip(floor, disturbed(floor)) if not b]
    noise = spread(good, of_floor)
    trouble = "preempted" if 2 * sum(bad) > len(bad) else "noisy" if noise > NOISE else ""
    return Timing(name, percentile(good), noise, len(samples), sum(bad), calls, trouble)


def interleaved(
    runs: Mapping[str, Run],
    sampler: Sampler,
    seconds: float = 0.5,
    rounds: int = 9,
    seed: int = 0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Timing]:
    """Time all of ``runs`` in turn; the first is the floor that the noise of the others is judged against.

    Args:
        runs: what to call, by name.
        sampler: times some calls of one of them (:func:`sampler_for`).
        seconds: of measuring in one pass. A slow group takes longer: ``rounds`` of it are always done, half
            as many when one round takes more than ``seconds``.
        rounds: the fewest rounds of a pass, at least 6 (two in each third).
        seed: of the order within a round.
        clock: seconds, for ``seconds``.

    A group in which something is noisy or preempted gets up to two more passes, whose samples are added.
    """
    if rounds < 6:
        raise InputError(f"rounds={rounds}: noise is judged from thirds of the rounds, so it takes at least 6")
    order, dice = list(runs), random.Random(seed)
    calls: dict[str, int] = {}
    for name, run in runs.items():
        run()  # a first call may compile
        once = sampler(run, 1).seconds
        calls[name] = max(1, min(10_000, math.ceil(SHORTEST / max(once, 1e-9))))
    samples: dict[str, list[Sample]] = {name: [] for name in runs}
    timings: dict[str, Timing] = {}
    floor = order[0]
    collecting = gc.isenabled()
    gc.disable()  # a collection inside a sample is not the contender's
    try:
        for _ in range(PASSES):
            start, done = clock(), 0
            while True:
                dice.shuffle(order)
                for name in order:
                    samples[name].append(sampler(runs[name], calls[name]))
                done += 1
                spent = clock() - start
                least = rounds if spent <= seconds * done else max(6, rounds // 2)
                if spent >= seconds and done >= least:
                    break
            timings = {
                name: judge(name, got, None if name == floor else samples[floor], calls[name])
                for name, got in samples.items()
            }
            if not any(t.trouble for t in timings.values()):
                break
            gc.collect()
    finally:
        if collecting:
            gc.enable()
    return timings


def preemptions() -> int:
    """How often a thread of this process lost its processor against its will; 0 where nobody counts."""
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def on_cpu(run: Run, calls: int) -> Sample:
    """Seconds of one of ``calls`` calls, after one that is not timed where calls are short (caches, branches)."""
    if calls > 1:
        run()
    before, start = preemptions(), time.perf_counter()
    for _ in range(calls):
        run()
    seconds = time.perf_counter() - start
    return Sample(seconds / calls, preemptions() - before)


def on_cuda(run: Run, calls: int) -> Sample:
    """Seconds of one of ``calls`` calls between two events on the current stream."""
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    run()
    start.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    return Sample(start.elapsed_time(end) * 1e-3 / calls)


def sampler_for(device: torch.device) -> Sampler:
    """The clock of ``device``."""
    return on_cuda if device.type == "cuda" else on_cpu
