from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lora_pipeline.catalog.architecture import _PIPELINES
from lora_pipeline.datasets.captions.lint import Subject
from lora_pipeline.datasets.captions.tokenizers import Places, read_captions
from lora_pipeline.datasets.captions.tokens import (
    ENCODERS,
    Encoder,
    Reading,
    estimate_tokens,
    token_findings,
)
from lora_pipeline.foundation.findings import Finding
from tests.support.caption_builders import clip_tokenizer
from tests.support.workspace_builders import REPOSITORY

DEMO = REPOSITORY / "data" / "demo" / "checkpoint"
(CLIP,) = ENCODERS["sd15"]


def found(architecture: str, *counts: int, exact: bool = True) -> list[Finding]:
    subjects = [Subject(f"A{number}", "x") for number in range(len(counts))]
    tokenizer = "base/tokenizer" if exact else ""
    readings = [Reading(one, counts, tokenizer) for one in ENCODERS[architecture]]
    return token_findings(subjects, readings)


def test_every_architecture_that_is_recognised_has_its_encoders() -> None:
    assert {architecture for _, architecture in _PIPELINES} | {"sd21"} <= set(ENCODERS)


@pytest.mark.parametrize(
    ("architecture", "reads"), [("sd15", 75), ("sdxl", 75), ("sd3", 255), ("flux1", 511),
                                ("chroma", 511), ("zimage", 512), ("lumina2", 256)]
)  # fmt: skip
def test_a_caption_of_one_token_too_many_is_told_and_one_that_fits_is_not(
    architecture: str, reads: int
) -> None:
    over = [one for one in found(architecture, reads, reads + 1) if one.severity == "warning"]

    assert [(one.code, one.where) for one in over] == [("caption_too_long", "A1")]
    assert f"{reads + 1} tokens" in over[0].message


def test_two_encoders_of_one_reach_are_told_together_and_the_longer_count_holds() -> None:
    clip_l, clip_g = ENCODERS["sdxl"]
    readings = [Reading(clip_l, (70,), "a"), Reading(clip_g, (80,), "b")]

    only = token_findings([Subject("A", "x")], readings)

    assert [one.message for one in only] == ["80 tokens; CLIP-L and CLIP-G read 75"]


def test_what_another_encoder_reads_whole_is_a_note_for_all_captions_together() -> None:
    notes = found("flux1", 80, 90, 20)

    assert [(one.code, one.severity) for one in notes] == [("captions_cut", "info")]
    assert notes[0].message == "2 captions are longer than the 75 tokens that CLIP-L reads"


def test_an_estimate_says_about() -> None:
    assert found("sd15", 90, exact=False)[0].message == "about 90 tokens; CLIP-L reads 75"


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("", 0, 0),
        ("a red circle on a white background", 7, 7),
        ("red, flat, 2024", 8, 8),
        ("nctyicon", 1, 3),
        ("internationalization", 2, 5),
        ("赤いリンゴ", 5, 15),
    ],
)
def test_estimates_are_near_what_tokenizers_count(text: str, least: int, most: int) -> None:
    assert least <= estimate_tokens(text) <= most


def test_without_a_tokenizer_at_hand_the_count_is_an_estimate_and_says_why(tmp_path: Path) -> None:
    (reading,) = read_captions(["a red icon"], (CLIP,), Places(tmp_path, "base"))

    assert not reading.exact
    assert reading.counts == (3,)
    assert reading.not_exact == "no tokenizer is at hand"


def test_the_tokenizer_of_a_checkpoint_counts_exactly() -> None:
    pytest.importorskip("tokenizers")

    (reading,) = read_captions(["red circle", ""], (CLIP,), Places(DEMO, "icons64"))

    assert reading.exact
    assert reading.tokenizer == "icons64/tokenizer"
    assert reading.counts == (2, 0)


def test_marks_of_start_and_end_and_a_cut_of_the_file_do_not_change_the_count(
    tmp_path: Path,
) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    shutil.copytree(DEMO / "tokenizer", tmp_path / "tokenizer")
    path = tmp_path / "tokenizer" / "tokenizer.json"
    whole = tokenizers.Tokenizer.from_file(str(path))
    whole.enable_truncation(5)
    whole.save(str(path))

    (reading,) = read_captions(["red circle " * 40], (CLIP,), Places(tmp_path, "base"))

    assert reading.counts == (80,)


def test_a_tokenizer_of_two_files_counts_as_transformers_does(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    transformers = pytest.importorskip("transformers")
    folder = clip_tokenizer(tmp_path / "tokenizer", merges=[("r", "e"), ("re", "d</w>")])
    texts = ["Red icon, it's  2024 caf\u00e9!", "nctyicon", "赤い icon", "red red\u00a0red"]

    (reading,) = read_captions(texts, (CLIP,), Places(tmp_path, "base"))
    reference = transformers.CLIPTokenizer.from_pretrained(str(folder))

    assert reading.exact
    assert list(reading.counts) == [len(reference(text).input_ids) - 2 for text in texts]


def test_the_offline_cache_of_sd_scripts_serves_where_the_checkpoint_has_none(
    tmp_path: Path,
) -> None:
    pytest.importorskip("tokenizers")
    clip_tokenizer(tmp_path / "openai_clip-vit-large-patch14")

    (reading,) = read_captions(["abc"], (CLIP,), Places(cache=tmp_path))

    assert (reading.tokenizer, reading.counts) == ("openai_clip-vit-large-patch14", (3,))


@pytest.mark.parametrize(
    ("name", "data"),
    [("tokenizer.json", b"{}"), ("tokenizer.json", b"\xff"), ("tokenizer.json", b"[1"),
     ("vocab.json", b"[]"), ("vocab.json", b'{"a": "x"}'), ("merges.txt", b"a b c\n"),
     ("merges.txt", b"q zz\n")],
)  # fmt: skip
def test_a_tokenizer_that_is_broken_gives_an_estimate_and_its_name(
    tmp_path: Path, name: str, data: bytes
) -> None:
    pytest.importorskip("tokenizers")
    folder = clip_tokenizer(tmp_path / "tokenizer")
    (folder / name).write_bytes(data)

    (reading,) = read_captions(["a red icon"], (CLIP,), Places(tmp_path, "base"))

    assert not reading.exact
    assert reading.not_exact.startswith("base/tokenizer: ")


def test_a_trainer_that_reads_more_moves_the_encoders_that_lead() -> None:
    quiet = Encoder("CLIP-L", 75, leads=False)

    first, second = read_captions(["x"], (CLIP, quiet), Places(), reads=225)

    assert (first.encoder.reads, second.encoder.reads) == (225, 75)
