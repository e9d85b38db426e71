from __future__ import annotations

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, structs
from PIL import Image

from lora_pipeline.datasets.manifest import content_hash
from lora_pipeline.datasets.records import Item, SplitRule
from lora_pipeline.datasets.split import split_findings, split_of, split_rule, with_splits
from lora_pipeline.datasets.verify import verify_manifest
from lora_pipeline.foundation.digests import digest_file
from lora_pipeline.foundation.errors import FileMissingError
from lora_pipeline.workspace.root import Workspace
from tests.support import checks_builders as pictures
from tests.support.dataset_builders import item, manifest
from tests.support.workspace_builders import make_workspace

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


# Near-duplicates, with real pictures


TOGETHER = SplitRule(held_out=0.3, near_duplicates="look/v1")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def items_of(workspace: Workspace, drawn: dict[str, Image.Image]) -> list[Item]:
    """Return one item for each picture, in a shuffled order and with ids of no meaning."""
    names = list(drawn)
    random.Random(7).shuffle(names)
    found = []
    for number, name in enumerate(names):
        path = pictures.save(drawn[name], workspace.data_root / f"{name}.png")
        sha256 = digest_file(path).sha256
        found.append(item(f"A{number}", path=f"{name}.png", sha256=sha256))
    return found


def sides(items: list[Item]) -> dict[str, str]:
    return {Path(one.path).stem: one.split for one in items}


def a_studio() -> dict[str, Image.Image]:
    """Return twelve pictures, and of each one that was saved as a bad JPEG."""
    drawn = {f"photo{seed}": pictures.photo(seed, 128) for seed in range(12)}
    return drawn | {f"{name} again": pictures.recompressed(one) for name, one in drawn.items()}


def test_near_duplicates_stand_on_one_side(workspace: Workspace) -> None:
    found = sides(with_splits(workspace, items_of(workspace, a_studio()), TOGETHER, "#FFFFFF"))

    assert {found[f"photo{seed}"] == found[f"photo{seed} again"] for seed in range(12)} == {True}
    assert set(found.values()) == {"train", "held_out"}


def test_an_image_that_drew_held_out_is_held_out_whoever_comes(workspace: Workspace) -> None:
    every = items_of(workspace, a_studio())
    alone = sides(with_splits(workspace, every[:8], TOGETHER, "#FFFFFF"))
    together = sides(with_splits(workspace, every, TOGETHER, "#FFFFFF"))

    drew = {Path(one.path).stem for one in every if split_of(one.sha256, TOGETHER) == "held_out"}
    assert drew
    assert all(together[name] == "held_out" for name in drew)
    assert all(alone[name] == "held_out" for name in drew & alone.keys())


def test_neither_order_nor_ids_decide(workspace: Workspace) -> None:
    every = items_of(workspace, a_studio())
    turned = [
        structs.replace(one, asset_id=f"Z{99 - number}")
        for number, one in enumerate(reversed(every))
    ]

    first = with_splits(workspace, every, TOGETHER, "#FFFFFF")
    second = with_splits(workspace, turned, TOGETHER, "#FFFFFF")

    assert sides(first) == sides(second)


def test_nothing_is_decoded_while_nothing_is_held_out(workspace: Workspace) -> None:
    for rule in (SplitRule(), SplitRule(held_out=0.5)):
        with_splits(workspace, [item("A", path="nowhere.png")], rule, "#FFFFFF")

    assert not (workspace.runtime / "cache").exists()


def test_an_image_that_cannot_be_looked_at_stops_the_split(workspace: Workspace) -> None:
    every = items_of(workspace, {"photo": pictures.photo(1, 96)})
    (workspace.data_root / "photo.png").unlink()

    with pytest.raises(FileMissingError, match="near-duplicates of held-out images cannot be told"):
        with_splits(workspace, every, TOGETHER, "#FFFFFF")


def test_a_chain_of_near_duplicates_stays_together(workspace: Workspace) -> None:
    # Each is a crop of the one before, so the ends have little in common.
    drawn = {"crop0": pictures.photo(4, 192)}
    for number in range(1, 5):
        drawn[f"crop{number}"] = pictures.cropped(drawn[f"crop{number - 1}"], 0.06)

    found = sides(with_splits(workspace, items_of(workspace, drawn), TOGETHER, "#FFFFFF"))

    assert len(set(found.values())) == 1


def test_a_rule_of_before_stays_as_it_is_until_a_share_is_asked_for() -> None:
    before = SplitRule(held_out=0.2)

    assert split_rule(before, None) == before
    assert split_rule(before, 0.2).near_duplicates == "look/v1"
    assert split_rule(split_rule(before, 0.2), 0.0).near_duplicates is UNSET
    assert "nearDuplicates" not in before.to_dict()


ALONE = SplitRule(held_out=0.5)
HALF_TOGETHER = SplitRule(held_out=0.5, near_duplicates="look/v1")


@pytest.mark.parametrize(
    ("rule", "side", "wrong"),
    [
        (ALONE, "held_out", True),
        (ALONE, "train", True),
        (HALF_TOGETHER, "held_out", False),  # it may be a near-duplicate of one that is
        (HALF_TOGETHER, "train", True),
    ],
)
def test_items_on_a_side_that_the_rule_does_not_allow_are_found(
    workspace: Workspace, rule: SplitRule, side: str, wrong: bool
) -> None:
    other = "train" if side == "held_out" else "held_out"
    digest = next(one for one in DIGESTS if split_of(one, rule) == other)
    items = (item("A", sha256=digest, split=side),)
    record = manifest(*items, split_rule=rule)
    assert record.content_hash == content_hash(items, record.normalization, rule)

    codes = [one.code for one in split_findings(record, "x.json", "lora dataset build icons")]
    verified = [one.code for one in verify_manifest(workspace, record, "x.json").findings]

    assert codes == (["split_differs"] if wrong else [])
    assert ("split_differs" in verified) == wrong
