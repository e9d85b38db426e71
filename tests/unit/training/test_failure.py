"""The words of a program that failed become a class and advice."""

from __future__ import annotations

import pytest

from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.failure import FAILURE_CLASSES, explain_failure
from lora_pipeline.training.records import RunError


def explained(*texts: str, status: int = 1) -> RunError:
    return explain_failure([OutputLine("stderr", text) for text in texts], status)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", "out_of_memory"),
        ("No data found. Please verify arguments", "dataset_empty"),
        ("AssertionError: caption file is empty: 000001.txt", "caption_missing"),
        ("PIL.UnidentifiedImageError: cannot identify image file", "image_unreadable"),
        ("huggingface_hub.errors.LocalEntryNotFoundError: ...", "model_unavailable"),
        ("voluptuous.error.MultipleInvalid: extra keys not allowed", "config_invalid"),
        ("RuntimeError: Found no NVIDIA driver on your system", "no_gpu"),
        ("ModuleNotFoundError: No module named 'library'", "trainer_broken"),
        ("OSError: [Errno 28] No space left on device", "disk_full"),
        ("steps: 10%| 2/20 [avr_loss=nan]", "diverged"),
    ],
)
def test_known_words_have_a_class(text: str, code: str) -> None:
    assert explained("something before", text, "something after").code == code


def test_every_class_says_what_to_do() -> None:
    assert all(kind.hint and kind.message for kind in FAILURE_CLASSES)


def test_last_exception_is_quoted_and_not_that_of_the_launcher() -> None:
    error = explained(
        "Traceback (most recent call last):",
        "ValueError: the real reason",
        "subprocess.CalledProcessError: Command '[...]' returned non-zero exit status 1.",
    )

    assert error.code == "trainer_failed"
    assert "the real reason" in error.message


def test_a_kill_without_words_is_told_as_memory() -> None:
    error = explained(status=-9)

    assert error.code == "killed"
    assert "memory" in error.message


def test_silence_is_said() -> None:
    assert "printed nothing" in explained(status=4).message


def test_a_long_line_is_cut() -> None:
    assert len(explained("x" * 10_000).message) < 400
