"""The noise and interruption detectors, on timings made up for them: no test here looks at a clock."""

import random

import pytest

from ogive.errors import InputError
from ogive.speed.measure import Sample, disturbed, interleaved, judge, percentile, spread


class Machine:
    """A machine whose every call takes what it was told; ``trouble(i)`` changes sample i of all contenders."""

    def __init__(self, trouble=lambda i, s: s):
        self.calls, self.trouble, self.order, self.now = 0, trouble, [], 0.0

    def __call__(self, run, calls):
        seconds = run()
        self.order.append(seconds)
        self.calls += 1
        sample = self.trouble(self.calls, Sample(seconds))
        self.now += calls * sample.seconds
        return sample

    def time(self, rounds, **contenders):
        """:func:`interleaved` on this machine, by its own clock: ``rounds`` in a pass when nothing disturbs it."""
        once = sum(s * max(1, round(1e-4 / s)) for s in contenders.values())
        seconds = 0.999 * rounds * once
        return interleaved(runs(**contenders), self, seconds, rounds, clock=self.clock)

    def clock(self):
        return self.now


def runs(**seconds):
    return {name: lambda s=s: s for name, s in seconds.items()}


def test_percentile_is_linear_between_ranks():
    assert percentile([4.0]) == 4.0
    assert percentile(list(range(11)), 0.1) == 1.0
    assert percentile([0.0, 10.0], 0.1) == pytest.approx(1.0)


def test_a_quiet_machine_gives_its_times_without_doubt():
    got = Machine().time(9, floor=0.01, slow=0.03)
    assert got["slow"].seconds / got["floor"].seconds == pytest.approx(3.0)
    assert [t.trouble for t in got.values()] == ["", ""]
    assert [t.discarded for t in got.values()] == [0, 0]
    assert [t.noise for t in got.values()] == [0.0, 0.0]
    assert got["floor"].rounds == 9


def test_every_round_times_every_contender():
    machine = Machine()
    machine.time(9, a=1.0, b=2.0, c=3.0)
    rounds = machine.order[3:]  # the first three are the estimates
    for i in range(0, len(rounds), 3):
        assert sorted(rounds[i : i + 3]) == [1.0, 2.0, 3.0]
    assert len({tuple(rounds[i : i + 3]) for i in range(0, len(rounds), 3)}) > 1, "the order never changes"


def test_short_calls_are_repeated_within_a_sample():
    got = Machine().time(9, floor=3e-6, slow=1e-2)
    assert (got["floor"].calls, got["slow"].calls) == (34, 1)


def test_a_preempted_thread_is_discarded_and_replaced():
    dice = random.Random(1)
    machine = Machine(lambda i, s: Sample(s.seconds + 6.2e-3) if dice.random() < 0.4 else s)
    got = machine.time(60, floor=2.4e-5, other=4.8e-5)
    assert got["other"].seconds == pytest.approx(4.8e-5)
    assert got["other"].discarded > 10
    assert got["other"].trouble == ""


def test_when_most_samples_are_stalled_it_says_so():
    # the harness before this one reported 6.2 ms, the median, for a call of 0.024 ms
    machine = Machine(lambda i, s: s if i % 5 == 0 else Sample(s.seconds + 6.2e-3, 1))
    got = machine.time(20, floor=2.4e-5)["floor"]
    assert got.trouble == "preempted"
    assert got.seconds == pytest.approx(2.4e-5)
    assert got.rounds == 30, "slow, so half as many rounds; doubtful, so three times"
    assert got.discarded == 24


def test_short_interruptions_count_only_when_the_system_saw_one():
    slow = [Sample(1e-5)] * 9 + [Sample(2e-5)]
    assert not any(disturbed(slow))
    assert disturbed([*slow[:-1], Sample(2e-5, 1)])[-1]
    # an interruption that cost nothing leaves a good sample
    assert not any(disturbed([Sample(1e-2), Sample(1.1e-2, 3)]))


def test_a_machine_that_slows_down_for_all_is_not_noise_of_the_ratio():
    floor = [Sample(1.0 + 0.05 * i) for i in range(9)]
    other = [Sample(2.0 + 0.10 * i) for i in range(9)]
    assert judge("other", other, floor, 1).noise == pytest.approx(0.0)
    assert judge("floor", floor, None, 1).trouble == "noisy"


def test_disagreeing_thirds_are_marked_after_three_passes():
    machine = Machine(lambda i, s: Sample(s.seconds * (1.0 + 0.02 * i)))
    got = machine.time(12, floor=1.0)["floor"]
    assert got.trouble == "noisy"
    assert got.rounds == 36
    assert got.noise > 0.1


def test_noise_needs_something_in_every_third():
    assert spread([1.0, 9.0]) == 0.0
    assert spread([1.0, 9.0, 1.0]) == 8.0


def test_too_few_rounds_are_refused():
    with pytest.raises(InputError, match="rounds=3"):
        interleaved(runs(floor=1.0), Machine(), rounds=3)
