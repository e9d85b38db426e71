"""Draw the demo project's art into `data/demo/art`, with the side-car that describes it.

The same code draws the same pictures; `--check` proves that the folder still holds them. Four
pictures are there to be left out of a dataset: a byte-equal copy, a near copy, a failed one and one
whose rights do not allow training; a fifth is to be withdrawn by its artist later.

    python scripts/draw_demo_art.py [--check]
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from demo_drawing import COLORS, SHAPES, STYLES, Placement
from PIL import Image, ImageChops, ImageEnhance

ART = Path(__file__).resolve().parent.parent / "data" / "demo" / "art"
UNSEEN_SHAPES = ("star", "tree")
"""Shapes that neither style has, so that an evaluation can ask for what the LoRA never saw."""

_PALETTES = {
    "sticker": ("red", "blue", "green", "orange", "purple", "teal", "pink", "yellow", "brown"),
    "neon": ("pink", "teal", "yellow", "purple", "green", "red", "blue", "orange"),
}
_SCENARIOS = {"sticker": "inventory", "neon": "hud"}
_SIZES = {"normal": Placement(), "small": Placement(radius=14.0), "large": Placement(radius=24.0)}


@dataclass(frozen=True)
class Row:
    """One line of `assets.csv`, with the columns that asset import reads."""

    file: str
    title: str
    tags: str
    assetType: str  # noqa: N815 (a column's name)
    style: str
    scenario: str
    prompt: str
    source: str
    author: str
    license: str
    url: str
    notes: str
    trainingRights: str  # noqa: N815 (a column's name)


@dataclass(frozen=True)
class Motif:
    """What a picture shows."""

    style: str
    color: str
    shape: str
    size: str = "normal"

    @property
    def words(self) -> str:
        """What the picture shows, its style apart."""
        size = "" if self.size == "normal" else f"{self.size} "
        return f"{size}{self.color} {self.shape}"

    @property
    def tags(self) -> list[str]:
        """The picture's tags; the normal size goes without saying."""
        size = [] if self.size == "normal" else [f"size:{self.size}"]
        return [f"style:{self.style}", f"shape:{self.shape}", f"color:{self.color}", *size]

    def drawn(self) -> Image.Image:
        """Return the picture, with a transparent background."""
        return STYLES[self.style](self.shape, COLORS[self.color], _SIZES[self.size])


@dataclass(frozen=True)
class Piece:
    """One file of the demo's art: its line in the side-car and its bytes."""

    row: Row
    png: bytes


def motifs() -> list[Motif]:
    """Return every regular picture: each style has each shape but two, in two colours and sizes."""
    shapes = [shape for shape in SHAPES if shape not in UNSEEN_SHAPES]
    found = []
    for style, colors in _PALETTES.items():
        for number, shape in enumerate(shapes):
            found.append(Motif(style, colors[number % len(colors)], shape))
            other = "small" if number % 2 == 0 else "large"
            found.append(Motif(style, colors[(number + 4) % len(colors)], shape, other))
    return found


def pieces() -> list[Piece]:
    """Return the whole of the demo's art in the order of its file names."""
    regular = [_piece(motif, _png(motif.drawn())) for motif in motifs()]
    return sorted([*regular, *_stories()], key=lambda piece: piece.row.file)


def _stories() -> list[Piece]:
    copied, shifted = Motif("sticker", "red", "circle"), Motif("neon", "pink", "circle")
    failed, leaving = Motif("sticker", "orange", "heart"), Motif("sticker", "gray", "moon", "large")
    reserved = Motif("neon", "white", "shield", "large")
    return [
        _piece(
            copied, _png(copied.drawn()), ending="-copy", notes="The same file under a second name."
        ),
        _piece(
            shifted,
            _png(_shifted(shifted.drawn())),
            ending="-again",
            notes="Exported a second time, a little brighter: a near copy.",
        ),
        _piece(
            failed,
            _png(_torn(failed.drawn())),
            ending="-broken",
            tags=("issue:artefact",),
            notes="The export went wrong: to be rejected.",
        ),
        _piece(
            reserved,
            _png(reserved.drawn()),
            ending="-reserved",
            notes="Made for one campaign only.",
            rights="denied",
        ),
        _piece(
            leaving,
            _png(leaving.drawn()),
            ending="-guest",
            notes="By a guest artist, who may ask for it back: to be withdrawn.",
        ),
    ]


def _piece(
    motif: Motif,
    png: bytes,
    *,
    ending: str = "",
    tags: tuple[str, ...] = (),
    notes: str = "",
    rights: str = "allowed",
) -> Piece:
    name = f"{motif.style}-{motif.words.replace(' ', '-')}{ending}"
    row = Row(
        file=f"{motif.style}/{name}.png",
        title=f"{motif.words} {motif.style}{ending.replace('-', ' ')}".capitalize(),
        tags=";".join([*motif.tags, *tags]),
        assetType="ui_icon",
        style=motif.style,
        scenario=_SCENARIOS[motif.style],
        prompt=f"a {motif.words} icon, {motif.style} style",
        source="drawn by scripts/draw_demo_art.py",
        author="lora-pipeline demo",
        license="CC0-1.0",
        url="",
        notes=notes,
        trainingRights=rights,
    )
    return Piece(row, png)


def _shifted(picture: Image.Image) -> Image.Image:
    brighter = ImageEnhance.Brightness(picture.convert("RGB")).enhance(1.04)
    brighter.putalpha(picture.getchannel("A"))
    return brighter


def _torn(picture: Image.Image) -> Image.Image:
    """Return the picture as a broken export leaves it: torn bands and blocks of wrong colour."""
    torn = picture.copy()
    for number, top in enumerate(range(8, 56, 6)):
        band = picture.crop((0, top, 64, top + 6))
        torn.paste(ImageChops.offset(band, (number * 23) % 31 - 15, 0), (0, top))
    torn.paste((0, 255, 0, 255), (36, 20, 54, 32))
    torn.paste((255, 0, 255, 255), (12, 40, 26, 46))
    return torn


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG", compress_level=9)
    return buffer.getvalue()


def side_car(rows: list[Row]) -> bytes:
    """Return `assets.csv`."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, [field.name for field in fields(Row)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return text.getvalue().encode("utf-8")


def contents() -> dict[str, bytes]:
    """Return every file of the art folder by its path."""
    art = pieces()
    files = {piece.row.file: piece.png for piece in art}
    return {**files, "assets.csv": side_car([piece.row for piece in art])}


def _same(found: bytes, drawn: bytes) -> bool:
    if found == drawn:
        return True
    if not found.startswith(b"\x89PNG"):
        return False
    # Another build of zlib packs the same pixels into other bytes; what is committed stays.
    with Image.open(io.BytesIO(found)) as one, Image.open(io.BytesIO(drawn)) as other:
        return (one.mode, one.size, one.tobytes()) == (other.mode, other.size, other.tobytes())


def differences(folder: Path) -> list[str]:
    """Return one line for each file that is missing, changed or not ours."""
    expected = contents()
    present = {
        path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()
    }
    lines = [f"missing: {name}" for name in expected if name not in present]
    lines += [f"not drawn here: {name}" for name in present if name not in expected]
    shared = [name for name in expected if name in present]
    return lines + [
        f"differs: {name}"
        for name in shared
        if not _same(present[name].read_bytes(), expected[name])
    ]


def main() -> int:
    """Draw the art, or check that it is what would be drawn."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--check", action="store_true", help="write nothing; exit 1 when a file differs"
    )
    parser.add_argument("--folder", type=Path, default=ART, help="where the art lies")
    arguments = parser.parse_args()
    if arguments.check:
        lines = differences(arguments.folder)
        print("\n".join(lines) or "the demo art is what this script draws")
        return 1 if lines else 0
    for name, content in contents().items():
        target = arguments.folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main())
