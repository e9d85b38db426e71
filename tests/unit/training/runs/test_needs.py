"""What a run needs is held against what there is."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lora_pipeline.engine.gpus import Gpu
from lora_pipeline.training.records import Recipe
from lora_pipeline.training.runs.needs import Disk, Machine, Needs, lacks, needs_of

GB = 10**9
NEEDS = Needs(run_bytes=2 * GB, store_bytes=GB, memory_bytes=4 * GB, gpu_bytes=10 * GB, gpu=False)
GPU = Gpu("0", "GPU-a", "NVIDIA RTX 4090", 24 * GB, 20 * GB)
ROOM = Machine(
    run_disk=Disk("runs", 1, 100 * GB),
    store_disk=Disk("the store", 2, 100 * GB),
    memory_bytes=32 * GB,
    gpus=(GPU,),
)


def found(machine: Machine, needs: Needs = NEEDS, keep_free: int = GB) -> list[str]:
    return [one.code for one in lacks(needs, machine, keep_free=keep_free)]


def test_where_there_is_room_nothing_is_said() -> None:
    assert found(ROOM) == []


@pytest.mark.parametrize(
    ("run", "store", "same", "said"),
    [
        (3, 100, False, []),
        (2, 100, False, ["disk_short"]),
        (100, 1, False, ["disk_short"]),
        (3, 3, True, ["disk_short"]),
        (4, 4, True, []),
        (1, 1, False, ["disk_short", "disk_short"]),
    ],
)
def test_every_disk_keeps_what_is_to_stay_free(
    run: int, store: int, same: bool, said: list[str]
) -> None:
    machine = replace(
        ROOM,
        run_disk=Disk("runs", 1, run * GB),
        store_disk=Disk("the store", 1 if same else 2, store * GB),
    )

    assert found(machine) == said


def test_memory_must_hold_the_base_model_and_an_unknown_amount_may() -> None:
    assert found(replace(ROOM, memory_bytes=3 * GB)) == ["memory_short"]
    assert found(replace(ROOM, memory_bytes=None)) == []


def test_a_gpu_in_use_and_one_that_is_too_small_are_told_apart() -> None:
    busy = replace(GPU, free_bytes=GB)
    small = replace(GPU, total_bytes=8 * GB, free_bytes=8 * GB)

    assert found(replace(ROOM, gpus=(busy,))) == ["gpu_short"]
    assert found(replace(ROOM, gpus=(small,))) == ["gpu_too_small"]
    assert found(replace(ROOM, gpus=(small, GPU))) == []


def test_no_gpu_matters_to_who_wants_one() -> None:
    assert found(replace(ROOM, gpus=())) == []
    assert found(replace(ROOM, gpus=()), replace(NEEDS, gpu=True)) == ["no_gpu"]
    assert found(replace(ROOM, gpus=None), replace(NEEDS, gpu=True)) == []


def test_a_lack_says_numbers_and_what_to_do() -> None:
    (one,) = lacks(NEEDS, replace(ROOM, memory_bytes=3_400_000_000), keep_free=0)

    assert "3.4 GB of memory can be had; the base model alone takes 4.0 GB" in one.message
    assert one.hint


def needs(recipe: Recipe, **options: object) -> Needs:
    facts = {"base_bytes": 10 * GB, "image_bytes": 0, "weights_bytes": None, "kept": 0,
             "device": "auto"}  # fmt: skip
    return needs_of(recipe, **{**facts, **options})  # type: ignore[arg-type]


def test_needs_grow_with_rank_and_kept_checkpoints_and_shrink_with_quantising() -> None:
    plain = needs(Recipe(rank=16))

    assert needs(Recipe(rank=64)).store_bytes == 4 * plain.store_bytes
    assert needs(Recipe(rank=16), kept=3).run_bytes > 3 * plain.store_bytes
    assert needs(Recipe(quantize=8)).gpu_bytes < plain.gpu_bytes
    assert needs(Recipe(low_memory=True)).gpu_bytes == 0
    assert needs(Recipe(), weights_bytes=123).store_bytes == 123
    assert needs(Recipe(), device="cuda").gpu
