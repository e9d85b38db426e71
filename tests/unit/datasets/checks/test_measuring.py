from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from lora_pipeline.datasets.checks import measuring
from lora_pipeline.datasets.checks.measuring import Wanted, measure_images
from lora_pipeline.foundation.digests import digest_file
from lora_pipeline.foundation.events import Event
from lora_pipeline.workspace.root import Workspace
from tests.support import checks_builders as pictures
from tests.support.workspace_builders import make_workspace, reopen

CACHE = ".lora/cache/image-measures"


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return make_workspace(tmp_path / "studio", git=False)


def wanted(workspace: Workspace, seed: int, name: str = "") -> Wanted:
    name = name or f"photo{seed}.png"
    path = pictures.save(pictures.photo(seed, 64), workspace.data_root / name)
    return Wanted(digest_file(path).sha256, name)


def test_each_content_is_decoded_once_and_known_from_then_on(workspace: Workspace) -> None:
    first, second = wanted(workspace, 1), wanted(workspace, 2)
    same = wanted(workspace, 1, "again.png")

    cold = measure_images(workspace, [first, second, same])
    warm = measure_images(reopen(workspace.root), [second, first])

    assert (cold.decoded, warm.decoded) == (2, 0)
    assert len(cold.rows) == 2
    for digest in (first.sha256, second.sha256):
        assert cold.rows[cold.place[digest]] == warm.rows[warm.place[digest]]


def test_progress_is_told_image_by_image(workspace: Workspace) -> None:
    told: list[Event] = []
    every = [wanted(workspace, seed) for seed in range(5)]

    measure_images(replace(workspace, events=told.append), every)

    steps = [one.step for one in told if one.type == "progress" and one.topic == "measure"]
    assert steps[-1] == 5
    assert {one.total for one in told if one.topic == "measure"} == {5}


def test_a_file_that_is_another_one_by_now_has_no_measures(workspace: Workspace) -> None:
    one = wanted(workspace, 1)
    pictures.save(pictures.photo(2, 64), workspace.data_root / one.path)

    measured = measure_images(workspace, [one])

    assert measured.unmeasured[one.sha256].code == "file_changed"
    assert one.sha256 not in measured.place
    # What was decoded must not be remembered under the digest of something else.
    pictures.save(pictures.photo(1, 64), workspace.data_root / one.path)
    again = measure_images(workspace, [one])
    assert (again.decoded, list(again.place)) == (1, [one.sha256])


def test_what_cannot_be_looked_at_is_named_and_the_others_are_measured(
    workspace: Workspace,
) -> None:
    good, gone = wanted(workspace, 1), wanted(workspace, 2)
    (workspace.data_root / gone.path).unlink()
    (workspace.data_root / "text.png").write_text("hello", encoding="utf-8")
    pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'a' * 64}\nsize 12\n"
    (workspace.data_root / "pointer.png").write_text(pointer, encoding="utf-8")
    odd = {
        "text.png": Wanted("b" * 64, "text.png"),
        "pointer.png": Wanted("a" * 64, "pointer.png"),
        "elsewhere": Wanted("c" * 64, "assetsRoot:art/one.png"),
        "outside": Wanted("d" * 64, "../../etc/hostname"),
    }

    measured = measure_images(workspace, [good, gone, *odd.values()])

    assert list(measured.place) == [good.sha256]
    assert measured.unmeasured[gone.sha256].code == "file_missing"
    assert {name: measured.unmeasured[one.sha256].code for name, one in odd.items()} == {
        "text.png": "image_refused",
        "pointer.png": "file_not_here",
        "elsewhere": "file_not_here",
        "outside": "file_not_here",
    }
    assert measured.unmeasured["a" * 64].hint == "git lfs pull"


def test_what_was_measured_before_an_interruption_is_kept(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = [wanted(workspace, seed) for seed in range(6)]
    stopped_at = sorted(every, key=lambda one: one.sha256)[3]
    real = measuring._measure

    def interrupted(worker: object, finder: object, one: Wanted) -> object:
        if one == stopped_at:
            raise KeyboardInterrupt
        return real(worker, finder, one)  # type: ignore[arg-type]

    monkeypatch.setattr(measuring, "_measure", interrupted)
    with pytest.raises(KeyboardInterrupt):
        measure_images(workspace, every)
    monkeypatch.setattr(measuring, "_measure", real)

    assert measure_images(workspace, every).decoded == 3


def test_a_dry_run_leaves_no_cache(workspace: Workspace) -> None:
    measure_images(replace(workspace, dry_run=True), [wanted(workspace, 1)])

    assert not (workspace.root / CACHE).exists()


def test_a_damaged_cache_is_made_anew(workspace: Workspace) -> None:
    one = wanted(workspace, 1)
    cold = measure_images(workspace, [one])
    cache = workspace.root / CACHE
    data = bytearray(cache.read_bytes())
    data[100] ^= 0xFF
    cache.write_bytes(bytes(data))

    again = measure_images(workspace, [one])

    assert again.decoded == 1
    assert (again.rows == cold.rows).all()
