"""Where in its base model an adapted module stands: in which block, and what kind of layer.

Pure. Blocks are counted as the base model's authors count them; the spelling does not matter.
"""

from __future__ import annotations

import re

import msgspec

from lora_pipeline.training.weights.architecture import component_of

# In the order in which data passes through them.
_SERIES = (
    ("noise refiner", re.compile(r"^noise_refiner_(\d+)")),
    ("context refiner", re.compile(r"^context_refiner_(\d+)")),
    ("input", re.compile(r"^input_blocks_(\d+)")),
    ("down", re.compile(r"^down_blocks_(\d+)")),
    ("middle", re.compile(r"^mid(?:dle)?_block")),
    ("output", re.compile(r"^output_blocks_(\d+)")),
    ("up", re.compile(r"^up_blocks_(\d+)")),
    ("double", re.compile(r"^(?:double_blocks|transformer_blocks)_(\d+)")),
    ("single", re.compile(r"^(?:single_blocks|single_transformer_blocks)_(\d+)")),
    ("joint", re.compile(r"^joint_blocks_(\d+)")),
    ("layer", re.compile(r"^(?:text_model_)?(?:encoder_)?(?:layers|layer|block)_(\d+)")),
    ("layer", re.compile(r"^model_layers_(\d+)")),
    ("block", re.compile(r"^blocks_(\d+)")),
)
_ORDER = {name: place for place, (name, _) in enumerate(_SERIES)}
_OTHER = "other"
# The first that matches the end of a module's name is the answer.
_KINDS = (
    ("projection", re.compile(r"(?:^|_)proj_(?:in|out)$")),
    ("embedding", re.compile(
        r"emb|(?:img|txt|time|vector|guidance)_in(?:_|$)|modulation|_mod(?:_|$)")),
    ("feed-forward", re.compile(
        r"(?:^|_)(?:ff|feed_forward|ffn|mlp|fc1|fc2|dense|wi|wo|DenseReluDense)(?:_|$)")),
    ("attention", re.compile(
        r"attn|attention|(?:^|_)(?:to_(?:q|k|v|out|qkv)|[qkv]_proj|out_proj|qkv|SelfAttention)")),
    ("convolution", re.compile(
        r"conv|(?:^|_)(?:in_layers|out_layers|skip_connection|op)(?:_|$)")),
    ("fused", re.compile(r"(?:^|_)linear[12]?$")),
)  # fmt: skip


class Block(msgspec.Struct, frozen=True):
    """A block of a base model.

    Attributes:
        part: ``denoiser``, ``text_encoder``, ….
        series: ``down``, ``double``, ``layer``, ….
        number: Its number in the series; 0 where there is only one.
    """

    part: str
    series: str
    number: int

    @property
    def order(self) -> tuple[str, int, int]:
        """Where it stands among the blocks of a model."""
        return self.part, _ORDER.get(self.series, len(_ORDER)), self.number


def block_of(path: str) -> Block:
    """Return the block that a module of a weights file belongs to."""
    part, name = component_of(path)
    flat = name.replace(".", "_")
    for series, pattern in _SERIES:
        match = pattern.match(flat)
        if match:
            return Block(part, series, int(match[1]) if pattern.groups else 0)
    return Block(part, _OTHER, 0)


def kind_of(path: str) -> str:
    """Return which kind of layer a module of a weights file changes."""
    flat = component_of(path)[1].replace(".", "_")
    inner = re.sub(r"^.*?(?:blocks|block|layers|layer|refiner)_\d+_", "", flat)
    return next((kind for kind, pattern in _KINDS if pattern.search(inner)), _OTHER)
