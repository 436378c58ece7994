"""The sentence at the top of a report.

Only the overall comparison (`Contest`, Holm-corrected over all pairs) may name a winner, so that in
an experiment without any difference the sentence says "no difference resolved" 19 times in 20.
"""

from __future__ import annotations

from collections.abc import Sequence

from ogive.bench.stats.comparisons import Contest, Pair
from ogive.bench.stats.ranks import Ranking
from ogive.bench.store import Results

__all__ = ["count", "leading_group", "listed", "verdict"]


def listed(names: Sequence[str], most: int = 5) -> str:
    """Names in a sentence.

    >>> listed(["gelu", "mish", "silu"])
    'gelu, mish and silu'
    >>> listed(["a", "b", "c", "d"], most=2)
    'a, b and 2 others'
    """
    if len(names) > most:
        rest = len(names) - most
        return ", ".join(names[:most]) + f" and {rest} other" + ("s" if rest > 1 else "")
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def between(names: Sequence[str]) -> str:
    """The compared activations: by name up to four, else by number.

    >>> between(["relu", "gelu"]), between(list("abcdef"))
    ('relu and gelu', 'the 6 activations')
    """
    return listed(names) if len(names) <= 4 else f"the {len(names)} activations"


def count(n: int, noun: str) -> str:
    """A number and its noun.

    >>> count(1, "task"), count(6, "task")
    ('1 task', '6 tasks')
    """
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def leading_group(order: Sequence[str], duels: Sequence[Contest]) -> tuple[str, ...]:
    """The best-ranked activation that nobody beats, then those not separable from it, in order of rank."""
    beaten = {loser for duel in duels if (loser := _loser(duel))}
    compared = {act for duel in duels for act in (duel.a, duel.b)}
    first = next((act for act in order if act in compared and act not in beaten), None)
    if first is None:
        return ()
    tied = {duel.a if duel.b == first else duel.b for duel in duels if first in (duel.a, duel.b) and not duel.resolved}
    return (first, *(act for act in order if act in tied))


def _loser(duel: Contest) -> str | None:
    if duel.winner is None:
        return None
    return duel.b if duel.winner == duel.a else duel.a


def verdict(
    results: Results,
    order: Sequence[str],
    leaders: Sequence[str],
    ranking: Ranking | None,
    duels: Sequence[Contest],
    pairs: Sequence[Pair],
) -> str:
    """One sentence: which activation, or that no difference was resolved."""
    opening = "" if results.config.get("complete", False) else "So far, in a run that is not complete: "
    if not order:
        return opening + "no difference resolved, because no test run has finished yet."
    if len(order) == 1:
        return opening + f"no difference resolved, because only {order[0]} has test runs."
    if not duels:
        return (
            opening + f"no difference resolved between {between(order)}, because no two of them share two seeds "
            "on a task and one run shows a score but not its noise."
        )
    tasks = sorted({pair.task for pair in pairs if pair.n >= 2})
    over = f"over {count(len(tasks), 'task')}" if len(tasks) > 1 else f"on {tasks[0]}"
    rank = (
        f" (mean rank {ranking.mean_ranks[ranking.acts.index(leaders[0])]:.1f} of {len(order)})"
        if ranking and leaders
        else ""
    )
    if not any(duel.resolved for duel in duels):
        seeds = max(pair.n for pair in pairs)
        sentence = f"No difference resolved between {between(order)} {over} with {count(seeds, 'seed')}"
        if opening:
            sentence = sentence[0].lower() + sentence[1:]
        single = sorted({pair.task for pair in pairs if pair.resolved})
        if single and len(tasks) > 1:
            sentence += f", although differences show on {listed(single)} alone"
        return opening + sentence + "."
    first, tied = leaders[0], leaders[1:]
    lost = sum((t.act, t.phase, t.status) == (first, "test", "diverged") for t in results.trials)
    note = f", although {lost} of its test runs diverged" if lost else ""
    behind = [act for act in order if act not in leaders and any({duel.a, duel.b} == {act, first} for duel in duels)]
    if not tied:
        against = f"better than {listed(behind)}" if len(behind) == 1 else f"better than each of {listed(behind)}"
        return opening + f"{first} is best {over}{rank}: {against}{note}."
    shown = f"{first} leads {over}{rank} but cannot be separated from {listed(tied)}"
    if behind:
        return opening + f"{shown}; it is better than {listed(behind)}{note}."
    beaten = next(duel for duel in duels if duel.resolved)
    only = f"{beaten.winner} is better than {_loser(beaten)}"
    return opening + f"{shown}; resolved so far is only that {only}{note}."
