"""Distributions come back from their text, up to the slowest sample."""

import builtins

import numpy as np
import pytest

from helpers.comparison import statistics
from helpers.errors import HelpersError
from helpers.results import Missing


def recorded(histogram):
    return {
        round(item.value_iterated_to / 1000): item.count_at_value_iterated_to
        for item in histogram.get_recorded_iterator()
    }


def test_percentiles_are_those_of_the_samples_to_three_digits_up_to_their_number():
    samples = np.random.default_rng(1).lognormal(5, 1, 10_000)
    reach, latency_us = statistics.percentiles(statistics.decoded(statistics.encoded(samples)))
    assert reach[0] == 1 and reach[-1] == len(samples)
    assert reach == sorted(reach) and latency_us == sorted(latency_us)
    assert latency_us[0] == pytest.approx(samples.min(), rel=2e-3)
    assert latency_us[-1] == pytest.approx(samples.max(), rel=2e-3)
    for nines, us in zip(reach[:-1], latency_us[:-1], strict=True):
        assert us == pytest.approx(np.quantile(samples, 1 - 1 / nines, method="inverted_cdf"), rel=2e-3)


def test_a_few_samples_have_their_points_too():
    assert statistics.percentiles(statistics.decoded(statistics.encoded([]))) == ([], [])
    reach, latency_us = statistics.percentiles(statistics.decoded(statistics.encoded([5.0])))
    assert reach == [1]
    assert latency_us == pytest.approx([5.0], rel=0.02)


def test_the_correction_adds_what_would_have_been_sent_meanwhile():
    service = statistics.decoded(statistics.encoded([100.0, 999.0, 1000.0, 3500.0]))
    added = recorded(statistics.corrected(service, 1000.0))
    assert sum(added.values()) == 6  # 2,500 and 1,500; not 500
    assert {round(us, -2) for us in added} == {100, 1000, 1500, 2500, 3500}
    assert sum(recorded(service).values()) == 4
    assert recorded(statistics.corrected(service, 5000.0)) == recorded(service)


def test_what_cannot_be_read_says_so(monkeypatch):
    text = statistics.encoded([1.0, 2.0])
    for damaged in ("", "no histogram", text[:-9]):
        with pytest.raises(HelpersError, match="damaged"):
            statistics.decoded(damaged)
    with pytest.raises(Missing, match="not recorded"):
        statistics.decoded(None)
    importing = builtins.__import__

    def without(name, *more):
        if name.startswith("hdrh"):
            raise ImportError(name)
        return importing(name, *more)

    monkeypatch.setattr(builtins, "__import__", without)
    assert statistics.encoded([1.0]) is None
    with pytest.raises(Missing, match="not installed"):
        statistics.decoded(text)
