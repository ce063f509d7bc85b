"""Every fuzz target with its good examples, changed ones and anything: a small number in every run."""

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutate
from tests.fuzz.targets import TARGETS
from tests.support.campaign import campaign, campaign_seed, is_long


@pytest.mark.parametrize("name", TARGETS)
def test_good_examples_are_read(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)


@pytest.mark.parametrize("name", TARGETS)
def test_changed_examples_are_read_or_refused(name: str) -> None:
    """Bytes flipped, cut, repeated, exchanged between examples."""
    rng = random.Random(f"{name} {campaign_seed(f'fuzzing of {name}')}")
    good = list(TARGETS[name].seeds())
    for _ in range(campaign(150, 20_000)):
        data = mutate(rng, good)
        try:
            TARGETS[name].run(data)
        except Exception as error:
            raise AssertionError(f"{name} fails on {data.hex()}") from error


@pytest.mark.parametrize("name", TARGETS)
def test_anything_is_read_or_refused(name: str) -> None:
    @settings(
        max_examples=campaign(25, 3_000),
        derandomize=not is_long(),
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.binary(max_size=300))
    def run(data: bytes) -> None:
        TARGETS[name].run(data)

    run()
