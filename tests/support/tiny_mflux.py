"""mflux-train with a small FLUX.2 klein, and a checkpoint of random weights for it.

The code that runs is mflux's own: the program here sets the widths in the table of models, then
calls the real one. The numbers of blocks are those of the real model, so that every module that
a plan names is there.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path

from lora_pipeline.foundation.process import child_environment, run

NAME = "flux2-klein-base-4b"
_SMALL = """
from mflux.models.common.config import model_config

config = model_config.AVAILABLE_MODELS["flux2-klein-base-4b"]
config.transformer_overrides = dict(
    num_layers=5, num_single_layers=20, num_attention_heads=2, attention_head_dim=32,
    joint_attention_dim=192, mlp_ratio=2.0, axes_dims_rope=(8, 8, 8, 8),
)
config.text_encoder_overrides = dict(
    vocab_size=320, hidden_size=64, intermediate_size=64, num_hidden_layers=28,
    num_attention_heads=2, num_key_value_heads=1, head_dim=32,
)
"""
_MAKE = """
import sys
from types import SimpleNamespace

import mlx.core as mx
from mlx import nn
from mflux.models.common.weights.saving.model_saver import ModelSaver
from mflux.models.flux2.flux2_initializer import Flux2Initializer
from mflux.models.flux2.weights.flux2_weight_definition import Flux2KleinWeightDefinition

mx.random.seed(7)
model = nn.Module()
model.small_text_encoder = False
Flux2Initializer._init_config(model, config)
Flux2Initializer._init_models(model)
model.tokenizers = {}
bits = int(sys.argv[2]) or None
if bits:
    for part in (model.transformer, model.text_encoder):
        # Packed in groups of 64; what is narrower stays as it is.
        nn.quantize(model=part, bits=bits, class_predicate=lambda path, one: (
            hasattr(one, "to_quantized") and one.weight.shape[-1] % 64 == 0
        ))
ModelSaver.save_model(
    model=model, bits=bits, base_path=sys.argv[1], weight_definition=Flux2KleinWeightDefinition
)
"""


def make_program(folder: Path, python: Path) -> Path:
    """Write ``mflux-train`` with the small model and the Python beside it; returns the program."""
    folder.mkdir(parents=True)
    # No link: a Python finds its packages from the place that it is started at.
    _executable(folder / "python", f'#!/bin/sh\nexec "{python}" "$@"\n')
    return _executable(
        folder / "mflux-train",
        f"#!{python}\n{_SMALL}\nfrom mflux.models.common.cli.train import main\n\nmain()\n",
    )


def make_checkpoint(folder: Path, python: Path, *, bits: int = 0) -> Path:
    """Write the checkpoint as mflux-save does, quantised where bits are given."""
    script = folder.with_name(f"{folder.name}.py")
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(_SMALL + _MAKE, encoding="utf-8")
    done = run(
        [str(python), str(script), str(folder), str(bits)], environment=child_environment({})
    )
    assert done.status == 0, done.stderr
    _tokenizer(folder / "tokenizer")
    return folder


def _executable(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def _tokenizer(folder: Path) -> None:
    """Write a tokenizer that knows single bytes and the marks of a chat."""
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    marks = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>")
    vocabulary = {token: number for number, token in enumerate([*letters, *marks])}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", encoding="utf-8")
    template = (
        "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
        "{{ message['content'] }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
    )
    config = {
        "tokenizer_class": "Qwen2Tokenizer",
        "model_max_length": 512,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
        "chat_template": template,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
