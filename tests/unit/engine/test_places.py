"""Places for runs are shared by all workers of a workspace."""

from __future__ import annotations

from pathlib import Path

from lora_pipeline.engine.places import Place, Places, places_of


def test_without_a_gpu_the_processor_has_the_places() -> None:
    assert places_of((), 2) == (Place("cpu-0"), Place("cpu-1"))


def test_every_gpu_gets_its_first_run_before_any_gets_its_second() -> None:
    found = places_of(("0", "GPU-a/b"), 2)

    assert [one.gpu for one in found] == ["0", "GPU-a/b", "0", "GPU-a/b"]
    assert found[1].name == "gpu-GPU-a_b-0"


def test_two_holders_never_have_the_same_place(tmp_path: Path) -> None:
    both = places_of(("0", "1"), 1)
    one, other = Places(tmp_path, both), Places(tmp_path, both)

    first, second = one.take(), other.take()

    assert first is not None
    assert {first, second} == set(both)
    assert one.take() is None
    one.leave(first)
    assert other.take() == first
