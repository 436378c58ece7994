"""One trial: from a job to a finished record, whatever happens on the way."""

from __future__ import annotations

import math
import random
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from ogive.bench.candidate import candidate
from ogive.bench.jobs import Job, loaded
from ogive.bench.measure import cost, dead_share, grad_norm
from ogive.bench.protocol import build
from ogive.bench.spec import Pair, TaskSpec
from ogive.bench.store import Trial

WARMUP, WEIGHT_DECAY, EVAL_BATCH, PROBE = 0.05, 0.01, 256, 8


def run_trial(job: Job) -> Trial:
    """Train and score one network.

    Never raises for what the task, the model or the activation does: an exception becomes a trial of
    status "failed" with its last line, a loss that leaves the finite numbers one of status "diverged".
    """
    start, start_cpu = time.perf_counter(), time.thread_time()
    figures: dict[str, float] = {}
    curve: list[tuple[int, float, float]] = []
    score, error, status = None, None, "ok"
    try:
        with one_thread(), seeded(job.seed):
            score, error = _train(job, curve, figures)
        status = "ok" if error is None else "diverged"
    except Exception as problem:  # user code runs in here: whatever it raises is this trial's result
        status, error = "failed", traceback.format_exception_only(problem)[-1].strip()
    figures.update(seconds=time.perf_counter() - start, cpu_seconds=time.thread_time() - start_cpu)
    return Trial(
        *job.key, status=status, score=score, curve=tuple(curve), figures=figures, error=error
    )  # fmt: skip


def _train(
    job: Job, curve: list[tuple[int, float, float]], figures: dict[str, float]
) -> tuple[float | None, str | None]:
    task, data = loaded(job.task)
    act = candidate(job.act, with_gain=job.gain_correction)
    held_out = data.validation if job.phase == "tune" else data.test
    x, y = data.train
    model, acts = build(task, act, job.seed, x[:PROBE])
    figures.update(cost(model, x[: task.batch]))
    optimiser = torch.optim.AdamW(_decayed(model, acts), lr=job.lr, fused=True)
    parameters = [p for p in model.parameters() if p.requires_grad]
    marks = {round(task.steps * (i + 1) / job.points) for i in range(job.points)}
    norms, times, losses = [], [], []
    lost: str | None = None
    torch.manual_seed(job.seed)  # dropout and its like: the same stream whatever the model drew before
    model.train()
    for step, rows in enumerate(batches(len(x), task.batch, task.steps, job.seed), start=1):
        # CPU time of this one thread: what other processes do does not enter the figure
        began = time.thread_time()
        for group in optimiser.param_groups:
            group["lr"] = job.lr * schedule(step, task.steps)
        optimiser.zero_grad()
        loss = task.loss(model(x[rows]), y[rows])
        losses.append(float(loss.detach()))
        if not math.isfinite(losses[-1]):
            lost = f"the loss was {losses[-1]} at step {step} of {task.steps}"
            break
        loss.backward()
        norms.append(grad_norm(parameters))
        optimiser.step()
        times.append(time.thread_time() - began)
        if step in marks:
            score = evaluate(model, task, held_out)
            if not math.isfinite(score):
                lost = f"the score was {score} at step {step} of {task.steps}"
                break
            curve.append((step, sum(losses) / len(losses), score))
            losses = []
    figures["steps"] = float(len(times))
    if times:
        figures["ms_per_step"] = 1e3 * median(times)
        finite = [norm for norm in norms if math.isfinite(norm)] or [0.0]
        figures.update(grad_norm=median(finite), grad_norm_first=finite[0], grad_norm_last=finite[-1])
    if lost is not None:
        return None, lost
    dead = dead_share(model, acts, held_out[0][:EVAL_BATCH])
    if dead is not None:
        figures["dead_share"] = dead
    return curve[-1][2], None


def _decayed(model: nn.Module, acts: list[nn.Module]) -> list[dict[str, object]]:
    """Weight decay on matrices and kernels, none on biases, norms and what an activation learns."""
    own = {id(p) for act in acts for p in act.parameters()}
    trained = [p for p in model.parameters() if p.requires_grad]
    decayed = [p for p in trained if p.dim() >= 2 and id(p) not in own]
    chosen = {id(p) for p in decayed}
    rest = [p for p in trained if id(p) not in chosen]
    groups = ((decayed, WEIGHT_DECAY), (rest, 0.0))
    return [{"params": params, "weight_decay": decay} for params, decay in groups if params]


def schedule(step: int, steps: int) -> float:
    """Factor on the learning rate: linear over the first twentieth, then a cosine to zero.

    >>> schedule(5, 100), round(schedule(52, 100), 2), round(schedule(100, 100), 2)
    (1.0, 0.52, 0.0)
    """
    warm = max(1, round(WARMUP * steps))
    if step <= warm:
        return step / warm
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm + 1)))


def batches(n: int, batch: int, steps: int, seed: int) -> Iterator[Tensor]:
    """Row numbers of each step: shuffled passes over the data, a function of the seed alone."""
    order = torch.Generator().manual_seed(seed)
    size, left = min(batch, n), torch.empty(0, dtype=torch.long)
    for _ in range(steps):
        if len(left) < size:
            left = torch.randperm(n, generator=order)
        yield left[:size]
        left = left[size:]


def evaluate(model: nn.Module, task: TaskSpec, pair: Pair) -> float:
    """The task's score over a whole split, the model in evaluation mode."""
    model.eval()
    with torch.no_grad():
        out = torch.cat([model(x) for x in pair[0].split(EVAL_BATCH)])
        score = float(task.score(out, pair[1]))
    model.train()
    return score


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread inside torch: sums keep their order, so an identical run gives identical numbers."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Every global generator at the seed inside, as it was afterwards."""
    python, array = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed % 2**32)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(array)
