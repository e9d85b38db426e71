from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lora_pipeline.datasets.records import SplitRule
from lora_pipeline.datasets.split import split_of

DIGESTS = [hashlib.sha256(str(number).encode()).hexdigest() for number in range(2000)]


def held_out(share: float, salt: str = "a") -> list[str]:
    rule = SplitRule(held_out=share, salt=salt)
    return [digest for digest in DIGESTS if split_of(digest, rule) == "held_out"]


def test_nothing_is_held_out_unless_it_was_asked_for() -> None:
    assert held_out(0.0) == []


@pytest.mark.parametrize("share", [0.05, 0.1, 0.5])
def test_about_the_share_that_was_asked_for_is_held_out(share: float) -> None:
    assert len(held_out(share)) == pytest.approx(share * len(DIGESTS), rel=0.25)


@given(smaller=st.floats(0, 0.5), larger=st.floats(0.5, 0.99))
def test_a_larger_share_holds_out_more_and_keeps_what_was_held_out(
    smaller: float, larger: float
) -> None:
    assert set(held_out(smaller)[:5]) <= set(held_out(larger))


def test_another_salt_chooses_others() -> None:
    assert held_out(0.1, "a") != held_out(0.1, "b")


def test_the_choice_is_the_documented_one() -> None:
    # docs/manifest.md: the first eight bytes of SHA-256 over salt, line feed, digest.
    rule = SplitRule(held_out=0.1)
    digest = DIGESTS[0]
    drawn = hashlib.sha256(f"lora-pipeline/split/v1\n{digest}".encode()).hexdigest()[:16]

    expected = "held_out" if int(drawn, 16) < 0.1 * 2**64 else "train"

    assert split_of(digest, rule) == expected
