from __future__ import annotations

import pytest

from lora_pipeline.catalog.assets import changes as asset_changes
from lora_pipeline.catalog.assets.changes import Statement
from lora_pipeline.catalog.records import (
    Asset,
    ProjectRights,
    Rights,
    Variant,
    Version,
    VersionStatus,
)
from lora_pipeline.catalog.rights.training import Objection

TIME, LATER = "2026-03-01T12:00:00Z", "2026-03-02T12:00:00Z"


def asset(status: VersionStatus = "review", **rights: str) -> Asset:
    variants = (
        Variant(id="v1", original_path="a.png", tags=("style:flat", "color:red")),
        Variant(id="v2", original_path="b.png", tags=("style:flat",)),
    )
    version = Version(
        id="1", created_at=TIME, status=status, variants=variants, primary_variant_id="v2"
    )
    return Asset(
        id="a", project_id="p", spec_id="s", created_at=TIME, updated_at=TIME,
        versions=(version,), rights=Rights.from_dict(rights),
    )  # fmt: skip


def give(one: Asset, status: VersionStatus, note: str = "") -> Asset | Objection:
    return asset_changes.give_status(
        one, status, by="kim@studio", at=LATER, note=note, rights=ProjectRights()
    )


def test_status_is_kept_with_who_when_and_what_they_said() -> None:
    changed = give(asset(), "approved", "fine")

    assert isinstance(changed, Asset)
    version = changed.versions[0]
    assert (version.status, version.reviewed_by, version.reviewed_at, version.review_note) == (
        "approved", "kim@studio", LATER, "fine",
    )  # fmt: skip
    assert changed.updated_at == LATER


def test_same_status_again_changes_nothing_and_a_new_note_does() -> None:
    approved = asset("approved")

    assert give(approved, "approved") is approved
    assert give(approved, "approved", "on second look") is not approved


@pytest.mark.parametrize(
    ("rights", "code"),
    [
        ({"training": "denied"}, "rights_denied"),
        ({"training": "allowed", "withdrawnAt": TIME}, "withdrawn"),
    ],
)
def test_art_that_may_not_be_trained_on_cannot_be_approved(
    rights: dict[str, str], code: str
) -> None:
    outcome = give(asset("review", **rights), "approved")

    assert isinstance(outcome, Objection)
    assert outcome.code == code


def test_art_that_may_not_be_trained_on_can_be_rejected() -> None:
    assert isinstance(give(asset("review", training="denied"), "rejected"), Asset)


def test_art_of_unknown_rights_can_be_approved_whatever_the_project_trains_on() -> None:
    outcome = asset_changes.give_status(
        asset(), "approved", by="k", at=LATER, note="",
        rights=ProjectRights(unknown_training="exclude", allowed_licenses=("CC0-1.0",)),
    )  # fmt: skip

    assert isinstance(outcome, Asset)


def test_only_the_primary_variant_is_tagged_and_tags_keep_their_order() -> None:
    changed = asset_changes.tag(
        asset(), add=("shape:star", "style:flat"), remove=("color:red",), at=LATER
    )

    first, primary = changed.versions[0].variants
    assert first.tags == ("style:flat", "color:red")
    assert primary.tags == ("style:flat", "shape:star")


def test_tagging_with_what_is_there_changes_nothing() -> None:
    one = asset()

    assert asset_changes.tag(one, add=("style:flat",), remove=("x:y",), at=LATER) is one


def test_only_the_primary_variant_is_rated() -> None:
    changed = asset_changes.rate(asset(), 4, at=LATER)

    assert [variant.rating for variant in changed.versions[0].variants] == [0, 4]
    assert asset_changes.rate(changed, 4, at=LATER) is changed


def test_first_withdrawal_stands() -> None:
    withdrawn = asset_changes.withdraw(asset(), reason="guest artist", by="kim", at=TIME)

    again = asset_changes.withdraw(withdrawn, reason="other", by="lee", at=LATER)

    assert again is withdrawn
    assert (withdrawn.rights.withdrawn_at, withdrawn.rights.withdrawn_by) == (TIME, "kim")


def test_stated_rights_keep_what_was_not_said() -> None:
    before = asset("review", training="unknown", consent="contract 17", reason="old")

    stated = Statement(training="allowed", license="CC0-1.0")
    changed = asset_changes.state_rights(before, stated, at=LATER)

    assert isinstance(changed, Asset)
    assert changed.rights == Rights(training="allowed", license="CC0-1.0", consent="contract 17")


def test_withdrawn_art_does_not_get_its_rights_back() -> None:
    outcome = asset_changes.state_rights(
        asset("review", withdrawnAt=TIME), Statement(training="allowed"), at=LATER
    )

    assert isinstance(outcome, Objection)


def test_a_last_day_is_kept_until_it_is_said_that_there_is_none() -> None:
    dated = asset_changes.state_rights(asset(), Statement(expires_on="2026-12-31"), at=LATER)
    assert isinstance(dated, Asset)
    kept = asset_changes.state_rights(dated, Statement(consent="contract 17"), at=LATER)
    assert isinstance(kept, Asset)
    never = asset_changes.state_rights(kept, Statement(expires_on="never"), at=LATER)
    assert isinstance(never, Asset)

    assert (kept.rights.expires_on, never.rights.expires_on) == ("2026-12-31", "")
    assert never.rights.consent == "contract 17"
