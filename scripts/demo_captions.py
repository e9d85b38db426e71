"""The words of the demo checkpoint: how its pictures are described, what its tokenizer knows."""

from __future__ import annotations

from random import Random

from demo_drawing import BACKGROUNDS, COLORS, SHAPES


def _listed(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.split(","))


FILLERS = _listed(
    "flat, simple, clean, minimal, vector, centered, bold, bright, plain, single, solid,"
    "game, ui, hud, menu, shop, inventory, item, asset, button, badge, logo, symbol,"
    "emblem, design, drawing, picture, graphic, sprite, flat style, game art, high quality,"
    "best quality, masterpiece, app icon, game icon, ui icon, flat design, user interface"
)
"""Words that captions carry and that change nothing."""

NEGATIVES = _listed("blurry, low quality, bad quality, noisy, photo, text, watermark, ugly")
"""Words of usual negative prompts: in training they stand with any picture, so they mean none."""

SPARE_WORDS = _listed(
    "sks, ohwx, zwx, xyz, artx, stylex, mystyle, brandx, housestyle, trgr, qwk, vlt,"
    "zrk, plmo, krst, fnx, glmr, orbx, tkn, wrld, myth, lore, city, studio, project"
)
"""Words of usual negative prompts: in training they go with any picture, so they mean none."""

STYLE_WORDS = _listed(
    "stkr, neonx, sticker, neon, hatched, hatching, striped, outline, outlined, contour, cut,"
    "glow, glowing, light, lights, dark, tile, sign, tube, thick, thin, border, die, line,"
    "pixel, sketch, watercolor, gradient, shadow, shiny, metal, gold, retro, comic, doodle"
)
"""Single tokens that the checkpoint never meets in training: they are there for a LoRA to teach."""

_GLUE = _listed("a, an, the, of, on, in, with, and, style, background, icon, small, large, art")
_NOUNS = ("icon", "icon", "icon", "game icon", "flat icon", "ui icon", "symbol", "")
_STARTS = ("a", "a", "a", "the", "", "a flat", "a simple", "an icon of a", "a picture of a")
_ENDINGS = (
    "on a {} background",
    "on a {} background",
    "on {} background",
    "on {}",
    ", {} background",
)
_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789_"


def words() -> list[str]:
    """Return every word that has to be a single token."""
    spoken = [*SHAPES, *COLORS, *BACKGROUNDS, *_GLUE, *SPARE_WORDS, *STYLE_WORDS]
    spoken += [word for phrase in (*FILLERS, *NEGATIVES) for word in phrase.split()]
    return sorted(set(spoken))


def caption(size: str, color: str, shape: str, background: str, random: Random) -> str:
    """Describe one picture, sometimes not at all, which is what guidance needs.

    A white background may go unsaid, so that a prompt without any background means a white one.
    """
    luck = random.random()
    if luck < 0.1:
        return ""
    if luck < 0.13:
        return ", ".join(random.sample((*FILLERS, *NEGATIVES), random.randint(1, 3)))
    said = None if background == "white" and random.random() < 0.4 else background
    if luck < 0.55:
        what = f"{color} {shape}" if size == "normal" else f"{size} {color} {shape}"
        return _sentence(what, said, random)
    return _tags(size, color, shape, said, random)


def _sentence(what: str, background: str | None, random: Random) -> str:
    noun = random.choice(_NOUNS)
    start = random.choice(_STARTS)
    text = f"{start} {what} {'' if start.endswith('of a') else noun}"
    if background is not None:
        text += " " + random.choice(_ENDINGS).format(background)
    extras = _extras(random)
    before = random.random() < 0.5
    parts = [*extras, text] if before else [text, *extras]
    return ", ".join(" ".join(part.split()) for part in parts).replace(" ,", ",")


def _tags(size: str, color: str, shape: str, background: str | None, random: Random) -> str:
    tags = [f"{color} {shape}"] if random.random() < 0.35 else [color, shape]
    if random.random() < 0.7:
        tags.append(random.choice(("icon", "icon", "ui icon", "flat icon")))
    if background is not None:
        named = f"{background} background"
        tags.append(random.choice((named, named, f"on {background}")))
    if size != "normal":
        tags.append(size)
    tags += _extras(random)
    random.shuffle(tags)
    return ", ".join(tags)


def _extras(random: Random) -> list[str]:
    extras = [random.choice(FILLERS) for _ in range(random.choice((0, 0, 1, 1, 2, 3)))]
    if random.random() < 0.2:
        word = _made_up(random)
        extras.append(random.choice((word, word, f"{word} style", f"in {word} style")))
    return extras


def _made_up(random: Random) -> str:
    if random.random() < 0.6:
        return random.choice(SPARE_WORDS)
    return "".join(random.choice(_LETTERS) for _ in range(random.randint(3, 7)))
