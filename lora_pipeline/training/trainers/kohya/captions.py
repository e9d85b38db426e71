"""How many tokens of a caption sd-scripts hands to the text encoder that leads. Pure.

Of SD 1.5, SD 2 and SDXL it reads 75 unless ``max_token_length`` says 150 or 225; of the others
each has an option of its own. Read from what is really given: run file and arguments.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping

import msgspec

from lora_pipeline.training.plan import Plan


class Reach(msgspec.Struct, frozen=True):
    """What decides for one architecture.

    Attributes:
        option: sd-scripts' option.
        marks: How many of its tokens mark start and end.
        default: What it is without the option.
        distilled: What it is for a model that was distilled to few steps; 0 when that is no
            other number.
    """

    option: str
    default: int
    marks: int = 0
    distilled: int = 0


_CLIP = Reach("max_token_length", 75)
REACHES: Mapping[str, Reach] = {
    "sd15": _CLIP,
    "sd21": _CLIP,
    "sdxl": _CLIP,
    "sd3": Reach("t5xxl_max_token_length", 256, marks=1),
    "flux1": Reach("t5xxl_max_token_length", 512, marks=1, distilled=256),
    "chroma": Reach("t5xxl_max_token_length", 512, marks=1),
    "lumina2": Reach("gemma2_max_token_length", 256),
    "anima": Reach("qwen3_max_token_length", 512),
}


def caption_reach(plan: Plan, architecture: str, *, distilled: bool) -> int | None:
    """Return how many tokens are read; None when sd-scripts has no option for it."""
    reach = REACHES.get(architecture)
    if reach is None:
        return None
    usual = reach.distilled if distilled and reach.distilled else reach.default
    return (_given(plan, reach.option) or usual) - reach.marks


def _given(plan: Plan, option: str) -> int | None:
    """Return the number that an option was given; the last argument wins over the run file."""
    found = next((file.content for file in plan.files if file.path == "run.toml"), "")
    value: object = tomllib.loads(found).get(option)
    words = list(plan.argv)
    for place, word in enumerate(words):
        name, equals, said = word.partition("=")
        if name == f"--{option}":
            value = said if equals else "".join(words[place + 1 : place + 2])
    return int(str(value)) if str(value).isdecimal() else None
