from __future__ import annotations

from pathlib import Path

import pytest

from lora_pipeline.catalog.records import ImageCounts
from lora_pipeline.datasets.checks.checking import check_pictures
from lora_pipeline.datasets.checks.findings import CheckFinding, Picture
from lora_pipeline.datasets.checks.thresholds import Profile, Thresholds
from lora_pipeline.datasets.checks.together import judge_balance, judge_count
from lora_pipeline.foundation.digests import digest_file
from lora_pipeline.workspace.root import Workspace
from tests.support import checks_builders as pictures
from tests.support.workspace_builders import REPOSITORY, make_workspace


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def placed(workspace: Workspace, path: Path, asset_id: str) -> Picture:
    relative = path.relative_to(workspace.data_root).as_posix()
    return Picture(asset_id, path.stem, relative, digest_file(path).sha256)


def drawn(workspace: Workspace, **images: pictures.Picture) -> list[Picture]:
    return [
        placed(workspace, pictures.save(image, workspace.data_root / f"{name}.png"), name)
        for name, image in images.items()
    ]


def findings(workspace: Workspace, every: list[Picture], *codes: str) -> list[CheckFinding]:
    checked = check_pictures(workspace, every, Profile(), Thresholds(), trained_on=len(every))
    return [one for one in checked.findings if one.code in codes]


SAME = ("duplicate", "same_pixels", "near_duplicate")


def test_the_same_bytes_the_same_pixels_and_near_duplicates_are_three_things(
    workspace: Workspace,
) -> None:
    photo = pictures.photo(1, 128)
    every = drawn(workspace, a=photo, b=photo, other=pictures.photo(2, 128))
    photo.save(workspace.data_root / "c.webp", lossless=True)
    every.append(placed(workspace, workspace.data_root / "c.webp", "c"))
    every += drawn(workspace, d=pictures.recompressed(photo, 30))

    found = {one.code: [each.asset_id for each in one.pictures] for one in findings(
        workspace, every, *SAME
    )}  # fmt: skip

    assert found["duplicate"] == ["a", "b"]
    assert sorted(found["same_pixels"]) == ["a", "c"]
    assert set(found["near_duplicate"]) & {"a", "c"}
    assert "d" in found["near_duplicate"]
    assert "other" not in str(found)


def test_the_fix_keeps_the_largest_and_sharpest_of_a_group(workspace: Workspace) -> None:
    photo = pictures.photo(1, 256)
    every = drawn(
        workspace,
        small=photo.resize((128, 128)),
        soft=pictures.blurred(photo, 1.5),
        best=photo,
        pixels=pictures.pixelated(photo, 2),
    )

    (found,) = findings(workspace, every, "near_duplicate")

    assert [one.asset_id for one in found.pictures][:2] == ["best", "soft"]
    assert found.fix.startswith("lora asset reject soft ")
    assert " best" not in found.fix
    assert found.message == "4 show the same picture; the first is the best"


def test_a_mark_in_the_corner_of_many_images_is_found_and_the_others_are_not_named(
    workspace: Workspace,
) -> None:
    marked = {f"marked{n}": pictures.signed(pictures.photo(n, 160)) for n in range(6)}
    clean = {f"clean{n}": pictures.photo(20 + n, 160) for n in range(5)}

    (found,) = findings(workspace, drawn(workspace, **marked, **clean), "repeated_corner")

    assert {one.asset_id for one in found.pictures} == set(marked)
    assert found.subject == "lower right"
    assert "--add issue:watermark" in found.fix


def test_corners_that_are_alike_because_all_art_is_framed_so_are_no_mark(
    workspace: Workspace,
) -> None:
    every = drawn(
        workspace, **{f"p{n}": pictures.framed(pictures.photo(n, 160), 14) for n in range(6)}
    )

    assert findings(workspace, every, "repeated_corner") == []


def test_two_images_with_the_same_corner_are_no_mark(workspace: Workspace) -> None:
    marked = {f"m{n}": pictures.signed(pictures.photo(n, 160)) for n in range(2)}

    assert findings(workspace, drawn(workspace, **marked), "repeated_corner") == []


def test_the_art_of_the_demo_has_its_two_planted_copies_and_nothing_else(
    workspace: Workspace,
) -> None:
    art = sorted((REPOSITORY / "data" / "demo" / "art").glob("*/*.png"))
    every = []
    for path in art:
        target = workspace.data_root / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        every.append(placed(workspace, target, path.stem))

    checked = check_pictures(workspace, every, Profile(native=64), Thresholds(), trained_on=60)
    found = {one.code: sorted(each.asset_id for each in one.pictures) for one in checked.findings}

    assert len(every) >= 58
    assert found == {
        "duplicate": ["sticker-red-circle", "sticker-red-circle-copy"],
        "near_duplicate": ["neon-pink-circle", "neon-pink-circle-again"],
    }


def tagged(*tags: str, count: int = 1) -> list[Picture]:
    return [Picture(f"{tags}{n}", "", "", "a" * 64, tags) for n in range(count)]


def balance(every: list[Picture], *groups: str) -> list[CheckFinding]:
    return list(judge_balance(every, Profile(groups=frozenset(groups)), Thresholds()))


def test_a_value_that_is_much_more_frequent_than_another_is_an_imbalance() -> None:
    every = [*tagged("color:red", count=11), *tagged("color:blue", count=2)]

    (found,) = balance(every, "color")

    assert found.message == "color: 11 red, 2 blue"
    assert (found.subject, found.measured, found.limit) == ("color", 5.5, 5.0)
    assert found.fix == "lora dataset build --balance color"
    assert balance(every[1:], "color") == []


def test_groups_of_one_value_of_few_images_or_of_no_interest_are_no_imbalance() -> None:
    every = [
        *tagged("style:flat", "shape:star", "odd:1", count=9),
        *tagged("style:flat", "odd:2"),
        *tagged("style:flat", count=11),
    ]

    assert balance(every, "style", "shape") == []
    assert [one.subject for one in balance([*every[:10]], "odd")] == ["odd"]


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (9, {"few_images": "warning"}),
        (10, {"fewer_than_recommended": "info"}),
        (40, {}),
        (60, {}),
        (61, {"more_than_recommended": "info"}),
    ],
)
def test_the_number_of_images_is_compared_with_the_asset_type(
    count: int, expected: dict[str, str]
) -> None:
    wanted = ImageCounts(minimum=10, recommended_from=40, recommended_to=60)

    found = list(judge_count(count, Profile(counts={"ui_icon": wanted})))

    assert {one.code: one.severity for one in found} == expected
    assert all("40 to 60 are recommended" in one.message for one in found)
