from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from PIL import Image

from lora_pipeline.datasets.image_files import ImageFiles
from lora_pipeline.datasets.manifest import hash_of_manifest
from lora_pipeline.datasets.records import Item, Manifest, Normalization
from lora_pipeline.datasets.staging.folder import (
    stage_manifest,
    staging_folder,
    stagings_root,
    unfinished_stagings,
    verify_staging,
)
from lora_pipeline.datasets.staging.marker import MARKER
from lora_pipeline.foundation.errors import (
    DigestMismatchError,
    FileMissingError,
    LockedError,
    SelectionEmptyError,
)
from lora_pipeline.workspace.lock import workspace_lock
from lora_pipeline.workspace.root import Workspace
from tests.support.dataset_builders import item, manifest
from tests.support.workspace_builders import make_workspace, reopen


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def art(workspace: Workspace, name: str, image: Image.Image, **fields: object) -> Item:
    """Save an image below the data root and return its item."""
    options = fields.pop("options", {})
    path = workspace.data_root / "files" / name
    path.parent.mkdir(exist_ok=True)
    image.save(path, **options)  # type: ignore[arg-type]
    proof = ImageFiles(workspace.data_root).prove(f"files/{name}")
    return item(
        Path(name).stem,
        path=f"files/{name}",
        sha256=proof.sha256,
        xxh3=proof.xxh3,
        bytes=proof.bytes,
        width=image.width,
        height=image.height,
        **{"caption": f"a {Path(name).stem}", **fields},
    )


def plain(workspace: Workspace, name: str = "plain.png", colour: int = 5) -> Item:
    return art(workspace, name, Image.new("RGB", (16, 8), (colour, 20, 30)))


def staged_pixel(workspace: Workspace, record: Manifest, at: tuple[int, int] = (0, 0)) -> object:
    staging = stage_manifest(workspace, record)
    with Image.open(staging.folder / staging.images[0].name) as image:
        assert image.mode == "RGB"
        assert not image.info
        return image.getpixel(at)


def test_images_have_neutral_names_and_captions_of_one_line_beside_them(
    workspace: Workspace,
) -> None:
    one = plain(workspace, "rot ä.png")
    staging = stage_manifest(workspace, manifest(one))

    stem = one.sha256[:32]
    assert {path.name for path in staging.folder.iterdir()} == {
        f"{stem}.png", f"{stem}.txt", MARKER,
    }  # fmt: skip
    assert (staging.folder / f"{stem}.txt").read_bytes() == "a rot ä".encode()
    assert staging.images[0].caption == "a rot ä"
    assert (staging.images[0].width, staging.images[0].height) == (16, 8)


def test_an_image_that_needs_no_change_is_linked(workspace: Workspace) -> None:
    one = plain(workspace)

    staging = stage_manifest(workspace, manifest(one))

    assert (staging.folder / staging.images[0].name).samefile(workspace.data_root / one.path)


def test_transparency_is_laid_on_the_recorded_background(workspace: Workspace) -> None:
    clear = art(workspace, "clear.png", Image.new("RGBA", (4, 4), (255, 0, 0, 0)))
    grey = Normalization(background="#808080")

    assert staged_pixel(workspace, manifest(clear)) == (255, 255, 255)
    assert staged_pixel(workspace, manifest(clear, normalization=grey)) == (128, 128, 128)


def test_images_stand_upright_without_their_metadata(workspace: Workspace) -> None:
    image = Image.new("RGB", (8, 4), (0, 0, 0))
    image.putpixel((0, 0), (255, 255, 255))
    turned = Image.Exif()
    turned[0x0112] = 3  # upside down
    one = art(workspace, "turned.png", image, options={"exif": turned})

    assert staged_pixel(workspace, manifest(one), (7, 3)) == (255, 255, 255)


def test_sixteen_bit_greys_keep_their_values(workspace: Workspace) -> None:
    one = art(workspace, "deep.png", Image.new("I;16", (4, 4), 257 * 100))

    assert staged_pixel(workspace, manifest(one)) == (100, 100, 100)


def test_held_out_images_are_not_staged(workspace: Workspace) -> None:
    kept, held = plain(workspace, "a.png", 1), plain(workspace, "b.png", 2)
    record = manifest(kept, replace(held, split="held_out"))

    assert [one.caption for one in stage_manifest(workspace, record).images] == ["a a"]


def test_a_manifest_that_holds_everything_out_is_refused(workspace: Workspace) -> None:
    record = manifest(replace(plain(workspace), split="held_out"))

    with pytest.raises(SelectionEmptyError):
        stage_manifest(workspace, record)


def test_equal_content_has_one_folder_whatever_the_ids(workspace: Workspace) -> None:
    one, two = plain(workspace, "a.png", 1), plain(workspace, "b.png", 2)
    first = stage_manifest(workspace, manifest(one, two))
    again = stage_manifest(
        workspace,
        manifest(replace(two, asset_id="0"), replace(one, asset_id="9"), id="other"),
    )

    assert again.folder == first.folder
    assert again.images == first.images
    assert not again.made
    assert again.dataset_id == "other"


def test_another_caption_or_background_has_another_folder(workspace: Workspace) -> None:
    one = plain(workspace)
    folders = {
        staging_folder(workspace, manifest(one)),
        staging_folder(workspace, manifest(replace(one, caption="b"))),
        staging_folder(workspace, manifest(one, normalization=Normalization(background="#000000"))),
    }

    assert len(folders) == 3


def test_the_marker_holds_the_digest_of_every_file(workspace: Workspace) -> None:
    folder = stage_manifest(workspace, manifest(plain(workspace))).folder
    marker = json.loads((folder / MARKER).read_text())

    assert verify_staging(folder) == []
    assert len(marker["images"]) == 1
    assert marker["images"][0]["sourceSha256"]


@pytest.mark.parametrize("ending", [".png", ".txt"])
def test_a_file_that_was_changed_or_removed_is_noticed_and_made_anew(
    workspace: Workspace, ending: str
) -> None:
    record = manifest(art(workspace, "clear.png", Image.new("RGBA", (4, 4))))
    staging = stage_manifest(workspace, record)
    folder = staging.folder
    name = Path(staging.images[0].name).with_suffix(ending).name
    (folder / name).write_bytes(b"something else")
    changed = verify_staging(folder)
    (folder / name).unlink()
    missing = verify_staging(folder)

    assert changed == [f"{name} was changed"]
    assert missing == [f"{name} is missing"]
    assert stage_manifest(workspace, record).made
    assert verify_staging(folder) == []


def test_an_image_that_was_added_is_noticed_and_a_trainers_cache_is_not(
    workspace: Workspace,
) -> None:
    folder = stage_manifest(workspace, manifest(plain(workspace))).folder
    (folder / "one_sdxl.npz").write_bytes(b"latents")
    (folder / "_latent_cache").mkdir()
    assert verify_staging(folder) == []

    (folder / "extra.jpg").write_bytes(b"x")
    assert verify_staging(folder) == ["extra.jpg does not belong there"]


def test_an_image_changed_since_the_build_is_refused_and_nothing_is_left_behind(
    workspace: Workspace,
) -> None:
    record = manifest(plain(workspace))
    (workspace.data_root / "files" / "plain.png").write_bytes(b"other bytes")

    with pytest.raises(DigestMismatchError) as caught:
        stage_manifest(workspace, record)

    assert "files/plain.png" in caught.value.message
    assert caught.value.hint == "lora dataset verify icons"
    assert not staging_folder(workspace, record).exists()
    assert unfinished_stagings(workspace) == []


def test_a_source_changed_through_its_link_is_noticed(workspace: Workspace) -> None:
    one = plain(workspace)
    record = manifest(one)
    stage_manifest(workspace, record)
    with (workspace.data_root / one.path).open("r+b") as stream:
        stream.seek(40)
        stream.write(b"xxxx")

    with pytest.raises(DigestMismatchError):
        stage_manifest(workspace, record)


def test_a_pointer_in_the_place_of_an_image_says_how_to_fetch_it(workspace: Workspace) -> None:
    one = plain(workspace)
    (workspace.data_root / one.path).write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{one.sha256}\nsize {one.bytes}\n"
    )

    with pytest.raises(FileMissingError) as caught:
        stage_manifest(workspace, manifest(one))

    assert caught.value.hint == "git lfs pull"


def test_a_manifest_that_was_changed_by_hand_is_refused(workspace: Workspace) -> None:
    record = replace(manifest(plain(workspace)), items=(plain(workspace, "b.png", 9),))
    assert hash_of_manifest(record) != record.content_hash

    with pytest.raises(DigestMismatchError) as caught:
        stage_manifest(workspace, record)

    assert "changed by hand" in caught.value.message


def test_what_an_interrupted_staging_left_is_removed_by_the_next(workspace: Workspace) -> None:
    record = manifest(plain(workspace))
    folder = staging_folder(workspace, record)
    leftovers = [
        folder.parent / name for name in (f".unfinished-{folder.name}-01", ".unfinished-other-02")
    ]
    for leftover in leftovers:
        leftover.mkdir(parents=True)
        (leftover / "000001.png").write_bytes(b"half")
    assert unfinished_stagings(workspace) == sorted(leftovers)

    stage_manifest(workspace, record)

    assert unfinished_stagings(workspace) == []
    assert verify_staging(folder) == []


def test_what_another_process_makes_at_this_moment_is_left_alone(workspace: Workspace) -> None:
    root = stagings_root(workspace)
    (root / ".unfinished-other-02").mkdir(parents=True)

    with workspace_lock(root / ".locks" / "other", timeout_s=0):
        stage_manifest(workspace, manifest(plain(workspace)))

    assert [path.name for path in unfinished_stagings(workspace)] == [".unfinished-other-02"]


def test_a_staging_that_another_process_makes_for_too_long_is_not_waited_for(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORA_LOCK_TIMEOUT", "0.01")
    impatient = reopen(workspace.root)
    record = manifest(plain(workspace))
    key = staging_folder(impatient, record).name

    with (
        workspace_lock(stagings_root(impatient) / ".locks" / key, timeout_s=0),
        pytest.raises(LockedError),
    ):
        stage_manifest(impatient, record)


def test_a_folder_without_its_marker_is_no_staging(workspace: Workspace) -> None:
    record = manifest(plain(workspace))
    folder = stage_manifest(workspace, record).folder
    (folder / MARKER).unlink()

    assert verify_staging(folder) == [f"no complete staging at {folder}"]
    assert stage_manifest(workspace, record).made


def test_an_image_keeps_its_name_when_others_come(workspace: Workspace) -> None:
    one, two = plain(workspace, "a.png", 1), plain(workspace, "b.png", 2)
    alone = stage_manifest(workspace, manifest(one))
    both = stage_manifest(workspace, manifest(one, two))

    assert {image.name for image in alone.images} < {image.name for image in both.images}


def test_an_image_that_was_normalised_before_is_linked_and_not_decoded_again(
    workspace: Workspace,
) -> None:
    clear = art(workspace, "clear.png", Image.new("RGBA", (4, 4)))
    first = stage_manifest(workspace, manifest(clear))
    second = stage_manifest(workspace, manifest(clear, plain(workspace)))

    name = first.images[0].name
    assert (second.folder / name).samefile(first.folder / name)


def test_a_normalised_image_that_was_changed_since_is_made_anew(workspace: Workspace) -> None:
    clear = art(workspace, "clear.png", Image.new("RGBA", (4, 4)))
    first = stage_manifest(workspace, manifest(clear))
    (first.folder / first.images[0].name).write_bytes(b"a trainer wrote here")

    second = stage_manifest(workspace, manifest(clear, plain(workspace)))

    assert verify_staging(second.folder) == []
