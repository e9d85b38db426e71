from __future__ import annotations

from lora_pipeline.catalog.assets.filter import AssetEntry
from lora_pipeline.catalog.records import Asset, ProjectRights, Rights, Variant, Version
from lora_pipeline.catalog.rights.policy import PolicyChange, changed_policy, verdicts

TIME = "2026-03-01T12:00:00Z"


def entry(rights: Rights, status: str = "approved") -> AssetEntry:
    variant = Variant(id="v", original_path="a.png")
    version = Version(id="1", created_at=TIME, status=status, variants=(variant,))  # type: ignore[arg-type]
    asset = Asset(
        id="a", project_id="p", spec_id="s", created_at=TIME, updated_at=TIME,
        versions=(version,), rights=rights,
    )  # fmt: skip
    return AssetEntry(asset, None)


def test_what_is_not_named_stays_as_it_was() -> None:
    before = ProjectRights(provenance_required=True, on_withdrawal="keep", retrain_within_days=7)

    after = changed_policy(before, PolicyChange(consent_required=True))

    assert after == ProjectRights(
        provenance_required=True, consent_required=True, on_withdrawal="keep",
        retrain_within_days=7,
    )  # fmt: skip


def test_a_rule_can_be_taken_back() -> None:
    before = ProjectRights(provenance_required=True, unknown_training="exclude")

    after = changed_policy(
        before, PolicyChange(provenance_required=False, unknown_training="allow")
    )

    assert after == ProjectRights()


def test_licences_are_added_and_taken_off_without_regard_to_case() -> None:
    before = ProjectRights(allowed_licenses=("CC0-1.0", "MIT"))

    after = changed_policy(before, PolicyChange(allow=("CC-BY-4.0", "mit"), forbid=("cc0-1.0",)))

    assert [one.casefold() for one in after.allowed_licenses] == ["mit", "cc-by-4.0"]
    assert changed_policy(before, PolicyChange(any_license=True)).allowed_licenses == ()


def test_only_approved_art_is_counted_each_with_its_reason() -> None:
    entries = [
        entry(Rights(license="MIT", consent="contract 17")),
        entry(Rights(license="MIT")),
        entry(Rights(withdrawn_at=TIME)),
        entry(Rights(), status="review"),
    ]

    found = verdicts(entries, ProjectRights(consent_required=True))

    assert (found.allowed, found.barred) == (1, {"withdrawn": 1, "without a recorded consent": 1})
