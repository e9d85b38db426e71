from __future__ import annotations

import pytest

from lora_pipeline.catalog.records import (
    Asset,
    ProjectRights,
    Provenance,
    Rights,
    Variant,
    Version,
)
from lora_pipeline.catalog.rights.training import (
    days_after,
    ends_soon,
    license_of,
    may_train,
    taken_back,
    taken_back_since,
)

TIME = "2026-03-01T12:00:00Z"
NOT_RECORDED = Provenance()
ANYTHING = ProjectRights()
STRICT = ProjectRights(unknown_training="exclude")
ONLY_CC0 = ProjectRights(allowed_licenses=("CC0-1.0",))
KNOWN_ORIGIN = ProjectRights(provenance_required=True)
WITH_CONSENT = ProjectRights(consent_required=True)


def asset(rights: Rights, provenance: Provenance = NOT_RECORDED) -> Asset:
    variant = Variant(id="v", original_path="a.png")
    version = Version(id="1", created_at=TIME, status="approved", variants=(variant,))
    return Asset(
        id="a", project_id="p", spec_id="s", created_at=TIME, updated_at=TIME,
        versions=(version,), rights=rights, provenance=provenance,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("rights", "provenance", "rule", "code"),
    [
        (Rights(), Provenance(), ANYTHING, None),
        (Rights(training="allowed"), Provenance(), STRICT, None),
        (Rights(), Provenance(), STRICT, "rights_unknown"),
        (Rights(training="denied"), Provenance(), ANYTHING, "rights_denied"),
        (Rights(training="allowed", withdrawn_at=TIME), Provenance(), ANYTHING, "withdrawn"),
        (Rights(training="denied", withdrawn_at=TIME), Provenance(), ANYTHING, "withdrawn"),
        (Rights(training="allowed"), Provenance(license="CC0-1.0"), ONLY_CC0, None),
        (Rights(training="allowed"), Provenance(license="cc0-1.0"), ONLY_CC0, None),
        (Rights(training="allowed"), Provenance(), ONLY_CC0, "license_missing"),
        (Rights(), Provenance(license="CC-BY-NC-4.0"), ONLY_CC0, "license_not_allowed"),
        (Rights(license="CC0-1.0"), Provenance(license="CC-BY-NC-4.0"), ONLY_CC0, None),
        (Rights(), Provenance(author="A", source="s", license="X"), KNOWN_ORIGIN, None),
        (Rights(), Provenance(author="A", license="X"), KNOWN_ORIGIN, "provenance_missing"),
        (Rights(license="X"), Provenance(author="A", source="s"), KNOWN_ORIGIN, None),
        (Rights(training="allowed"), NOT_RECORDED, WITH_CONSENT, "consent_missing"),
        (Rights(consent="contract 17"), NOT_RECORDED, WITH_CONSENT, None),
        (Rights(training="allowed", expires_on="2020-01-01"), NOT_RECORDED, ANYTHING, None),
    ],
)
def test_what_may_be_trained_on_follows_from_rights_and_the_projects_rule(
    rights: Rights, provenance: Provenance, rule: ProjectRights, code: str | None
) -> None:
    objection = may_train(asset(rights, provenance), rule)

    assert (objection.code if objection else None) == code


def test_objection_says_when_and_why() -> None:
    objection = may_train(asset(Rights(withdrawn_at=TIME, reason="guest artist")), ANYTHING)

    assert objection is not None
    assert objection.text == "withdrawn on 2026-03-01: guest artist"
    assert objection.summary == "withdrawn"


def test_missing_provenance_names_what_is_missing() -> None:
    objection = may_train(asset(Rights(), Provenance(author="A")), KNOWN_ORIGIN)

    assert objection is not None
    assert objection.text == "no source and no licence recorded"


def test_licence_of_the_rights_counts_before_that_of_the_provenance() -> None:
    one = asset(Rights(license="LicenseRef-Deal"), Provenance(license="CC0-1.0"))

    assert license_of(one) == "LicenseRef-Deal"


def test_a_licence_holds_on_its_last_day_and_not_on_the_next() -> None:
    one = asset(Rights(training="allowed", expires_on="2026-03-01"))

    assert taken_back(one, "2026-03-01T23:59:59Z") is None
    ended = taken_back(one, "2026-03-02T00:00:00Z")
    assert ended is not None
    assert (ended.code, ended.text) == ("expired", "its licence ended on 2026-03-01")
    assert taken_back_since(one) == "2026-03-01T23:59:59Z"


def test_withdrawing_after_the_end_changes_nothing_about_when_it_began() -> None:
    late = asset(Rights(expires_on="2026-02-01", withdrawn_at=TIME, reason="asked"))
    early = asset(Rights(expires_on="2027-02-01", withdrawn_at=TIME, reason="asked"))

    assert taken_back_since(late) == "2026-02-01T23:59:59Z"
    assert taken_back_since(early) == TIME
    assert taken_back_since(asset(Rights())) == ""
    back = taken_back(late, TIME)
    assert back is not None
    assert back.code == "withdrawn"


def test_the_end_of_a_licence_is_told_a_month_before() -> None:
    one = asset(Rights(expires_on="2026-03-31"))

    assert ends_soon(one, "2026-03-01T00:00:00Z")
    assert not ends_soon(one, "2026-02-28T23:59:59Z")
    assert not ends_soon(asset(Rights(expires_on="2026-03-31", withdrawn_at=TIME)), TIME)
    assert not ends_soon(asset(Rights()), TIME)


def test_days_are_counted_over_months_and_from_dates() -> None:
    assert days_after("2026-02-27T23:59:59Z", 2) == "2026-03-01T23:59:59Z"
    assert days_after("2026-12-31", 1) == "2027-01-01T00:00:00Z"
