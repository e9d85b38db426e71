"""Who is who, and who is nobody."""

from __future__ import annotations

import pytest

from lora_pipeline.releases.evidence.people import is_no_person, person_of


@pytest.mark.parametrize(
    "spelling",
    ["kim@studio", "Kim@Studio", " kim@studio ", "kim+review@studio", "Kim Lee <kim@studio>"],
)
def test_spellings_of_one_address_are_one_person(spelling: str) -> None:
    assert person_of(spelling) == "kim@studio"


def test_private_addresses_of_github_are_different_people() -> None:
    first = person_of("1+kim@users.noreply.github.com")

    assert first != person_of("2+lee@users.noreply.github.com")
    assert not is_no_person("1+kim@users.noreply.github.com")


@pytest.mark.parametrize(
    "identity",
    [
        "",
        "renovate[bot]@users.noreply.github.com",
        "49699333+dependabot[bot]@users.noreply.github.com",
        "noreply@github.com",
        "no-reply@studio",
        "build-bot@studio",
        "github-actions@github.com",
        "bot@studio",
    ],
)
def test_accounts_that_nobody_reads_are_no_person(identity: str) -> None:
    assert is_no_person(identity)


@pytest.mark.parametrize("identity", ["kim@studio", "abbot@studio", "talbot@studio", "kim"])
def test_people_are_people(identity: str) -> None:
    assert not is_no_person(identity)
