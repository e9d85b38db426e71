"""Why a training program failed, told from its last lines: a class, its words and advice.

Pure. Adapters call it from ``explain``; what is special to one program they look for first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from lora_pipeline.foundation.process import OutputLine
from lora_pipeline.training.records import RunError


class FailureClass(msgspec.Struct, frozen=True):
    """A kind of failure that several programs share.

    Attributes:
        code: Stable slug that the run's record holds.
        pattern: What the program prints when it happens.
        message: What it means, in words of ours.
        hint: What to do about it.
    """

    code: str
    pattern: re.Pattern[str]
    message: str
    hint: str


def _class(code: str, pattern: str, message: str, hint: str) -> FailureClass:
    return FailureClass(code, re.compile(pattern), message, hint)


# In order: the first class that one of the last lines matches is the answer.
FAILURE_CLASSES = (
    _class(
        "out_of_memory",
        r"CUDA out of memory|torch\.OutOfMemoryError|OOM during training step"
        r"|cudaErrorMemoryAllocation|(?i:mps.*out of memory)|\[METAL\].*Insufficient Memory"
        r"|DefaultCPUAllocator: (can't|not enough)",
        "the device ran out of memory",
        "lower batchSize or resolution, or set gradientCheckpointing or lowMemory",
    ),
    _class(
        "dataset_empty",
        r"No data found|no images found in|No image files found in data directory"
        r"|data path must be an existing directory",
        "the trainer found no images",
        "lora dataset stage, and look into the folder that it names",
    ),
    _class(
        "caption_missing",
        r"Missing prompt file for image|caption file is empty"
        r"|neither caption file nor class tokens",
        "an image has no caption",
        "lora dataset show names the captions; build it with another --caption rule",
    ),
    _class(
        "image_unreadable",
        r"cannot identify image file|ZeroDivisionError.*make_buckets|Image too small for training",
        "the trainer could not read an image",
        "lora dataset verify",
    ),
    _class(
        "model_unavailable",
        r"LocalEntryNotFoundError|GatedRepoError|401 Client Error|Repository Not Found"
        r"|couldn't connect to 'https://huggingface\.co'|Can't load tokenizer"
        r"|OfflineModeIsEnabled",
        "a part of the base model is not on this machine",
        "lora checkpoint verify, then fetch the missing part yourself",
    ),
    _class(
        "config_invalid",
        r"MultipleInvalid|KeyError: '(steps|data|checkpoint|optimizer)'|config file is invalid"
        r"|unrecognized arguments|TypeError: .*unexpected keyword argument",
        "the trainer did not accept its configuration",
        "lora train --plan shows what it was given",
    ),
    _class(
        "gpu_lost",
        r"GPU is lost|has fallen off the bus|unspecified launch failure|CUDA error: (unknown error"
        r"|device-side error|an illegal memory access)|uncorrectable ECC error|Xid \d+",
        "the GPU fell away or failed",
        "look at nvidia-smi and the system's log, then train again",
    ),
    _class(
        "gpu_busy",
        r"CUDA-capable device\(s\) is/are busy|all CUDA-capable devices are busy",
        "other programs hold the GPU for themselves alone",
        "end them, then train again",
    ),
    _class(
        "driver_mismatch",
        r"Driver/library version mismatch|NVIDIA driver on your system is too old"
        r"|CUDA driver version is insufficient|no kernel image is available for execution",
        "the GPU's driver does not fit the trainer's torch",
        "restart the machine after an update of the driver, or lora setup with the right torch",
    ),
    _class(
        "no_gpu",
        r"Found no NVIDIA driver|libcuda\.so\.1|fp16 mixed precision requires a GPU"
        r"|No CUDA GPUs are available|Torch not compiled with CUDA enabled",
        "the trainer wanted a GPU and found none",
        "set mixedPrecision to no, or train on a machine with a GPU",
    ),
    _class(
        "trainer_broken",
        r"ModuleNotFoundError|ImportError|incompatible version of torchao",
        "the trainer's own environment is broken",
        "lora setup, with the name of the trainer, installs it again",
    ),
    _class(
        "disk_full",
        r"No space left on device|OSError: \[Errno 28\]|Disk quota exceeded",
        "the disk is full",
        "free space below .lora and in the store, then train again",
    ),
    _class(
        "connection_lost",
        r"ConnectionResetError|RemoteDisconnected|Connection reset by peer|Connection aborted"
        r"|Temporary failure in name resolution|(Read|Connect)Timeout(Error)?\b"
        r"|Max retries exceeded|IncompleteRead",
        "a connection was lost",
        "train again when the network is there",
    ),
    _class(
        "diverged",
        r"(?i:loss[=:]\s*nan|avr_loss=nan|non-finite)",
        "the loss became NaN: training diverged",
        "lower the learning rate, or train without mixedPrecision fp16",
    ),
)
_EXCEPTION = re.compile(r"^(?:[A-Za-z_][\w.]*\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit)\b.*")
# accelerate's launcher ends with an error of its own that hides the trainer's.
_LAUNCHER = re.compile(r"CalledProcessError")
_ASKED_TO_END = (1, 2, 15)  # a closed terminal, Ctrl-C, a polite kill
_LAST_LINES = 400
_LONGEST = 300


def explain_failure(lines: Sequence[OutputLine], status: int) -> RunError:
    """Return why a program failed, from its last lines and its exit status.

    Args:
        lines: What it printed last, oldest first.
        status: Exit status; negative is the signal that ended it.
    """
    texts = [line.text for line in lines][-_LAST_LINES:]
    for kind in FAILURE_CLASSES:
        found = next((text for text in reversed(texts) if kind.pattern.search(text)), None)
        if found is not None:
            return RunError(
                code=kind.code, message=f"{kind.message}: {_shortened(found)}", hint=kind.hint
            )
    if status in {-9, 137}:
        return RunError(
            code="killed",
            message="the trainer was killed, most likely because the machine ran out of memory",
            hint="lower batchSize or resolution, or close other programs",
        )
    if -status in _ASKED_TO_END:
        return RunError(
            code="terminated",
            message=f"somebody ended the trainer with signal {-status}",
            hint="train again",
        )
    if status < 0:
        return RunError(
            code="crashed",
            message=f"the trainer crashed with signal {-status}{_last_words(texts)}",
            hint="lora run log shows what it printed; lora setup installs it again",
        )
    return RunError(
        code="trainer_failed",
        message=f"the trainer ended with exit status {status}{_last_words(texts)}",
        hint="lora run log shows what it printed",
    )


def _last_words(texts: Sequence[str]) -> str:
    exceptions = [t for t in texts if _EXCEPTION.match(t) and not _LAUNCHER.search(t)]
    words = exceptions[-1:] or list(texts[-1:])
    return f": {_shortened(words[0])}" if words else " and printed nothing"


def _shortened(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST else plain[: _LONGEST - 1] + "…"
