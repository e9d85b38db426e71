"""``lora weights`` as a person meets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.training_builders import write_lora
from tests.support.workspace_builders import invoke, make_workspace


@pytest.fixture
def studio(tmp_path: Path) -> Path:
    return make_workspace(tmp_path / "studio", git=False).root


def test_a_file_is_explained(studio: Path, tmp_path: Path) -> None:
    path = write_lora(
        tmp_path / "w.safetensors", metadata={"ss_tag_frequency": "{}", "ss_network_dim": "4"}
    )

    text = invoke(["weights", "inspect", str(path)], studio).stdout

    for words in (
        "w.safetensors · usable",
        "LoRA, rank 4, peft keys, F32",
        "sd15 or sd21 or sdxl",
        "1: 1 denoiser",
        "AutoV2",
        "AutoV3",
        "warn       its header tells what a studio keeps to itself: ss_tag_frequency",
        f"next  lora weights scrub {path}",
    ):
        assert words in text


def test_a_file_that_cannot_be_used_answers_no(studio: Path, tmp_path: Path) -> None:
    answer = invoke(
        ["weights", "inspect", str(write_lora(tmp_path / "w.safetensors", up=0.0))], studio
    )

    assert answer.exit_code == 1
    assert "w.safetensors · cannot be used" in answer.stdout
    assert "every up matrix is zero" in answer.stdout


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"\x80\x04pickle", "is a pickle"), (b"", "is empty"), (b"<html>", "is a web page")],
)
def test_what_is_no_weights_file_is_one_clear_error(
    data: bytes, words: str, studio: Path, tmp_path: Path
) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(data)

    answer = invoke(["weights", "inspect", str(path), "--json"], studio)

    assert answer.exit_code == 3
    assert answer.error["code"] == "weights_refused"
    assert words in answer.error["message"]


def test_text_from_a_file_cannot_steer_the_terminal(studio: Path, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", metadata={"x": "\x1b]0;owned\x07\u202eabc"})

    text = invoke(["weights", "inspect", str(path)], studio).stdout

    assert "\x1b]" not in text
    assert "\u202e" not in text


def test_a_scrubbed_copy_is_named_with_what_was_left_out(studio: Path, tmp_path: Path) -> None:
    path = write_lora(tmp_path / "w.safetensors", metadata={"ss_tag_frequency": "{}"})

    answer = invoke(["weights", "scrub", str(path), "--output", str(tmp_path / "p.safetensors")],
                    studio)  # fmt: skip

    assert answer.exit_code == 0, answer.stderr
    assert "left out   ss_tag_frequency" in answer.stdout
    assert (tmp_path / "p.safetensors").is_file()


def test_how_much_each_block_is_changed_is_drawn(studio: Path, tmp_path: Path) -> None:
    blocks = {f"transformer.transformer_blocks.{n}.attn.to_q": (8, 8) for n in range(19)}
    path = write_lora(tmp_path / "w.safetensors", modules=blocks)

    text = invoke(["weights", "inspect", str(path)], studio).stdout

    assert "how much each block is changed" in text
    (line,) = [line for line in text.splitlines() if "denoiser double 0 to 18" in line]
    assert "\u2588" * 19 in line  # all the same: all at full height


def test_two_files_are_compared(studio: Path, tmp_path: Path) -> None:
    one = write_lora(tmp_path / "a.safetensors")
    other = write_lora(tmp_path / "b.safetensors", rank=2, metadata={"format": "pt"})

    answer = invoke(["weights", "compare", str(one), str(other)], studio)

    assert answer.exit_code == 0, answer.stderr
    assert "ranks" in answer.stdout
    assert "of 1, over 1 module" in answer.stdout
    assert "only in the second: format" in answer.stdout


def test_a_refused_file_names_its_rule(studio: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")

    answer = invoke(["weights", "inspect", str(path), "--json"], studio)

    assert answer.error["rule"] == "git_lfs_pointer"
