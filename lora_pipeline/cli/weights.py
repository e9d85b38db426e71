"""``lora weights``: look into weight files."""

from __future__ import annotations

from typing import Any

import click

from lora_pipeline.cli.options import shared_options, writing_options
from lora_pipeline.cli.output import Report, Table, counted, size_text
from lora_pipeline.cli.session import Session
from lora_pipeline.foundation.result import Result

_LONGEST_TEXT = 80
_MOST_COLUMNS = 60
_BARS = "▁▂▃▄▅▆▇█"
_PASSPORT = "lora_pipeline.passport"
_LABELS = {"error": "fail", "warning": "warn", "info": "note", "not_proven": "not proven"}
_CHARTS = {
    "added": "how much each block is changed (Frobenius norm at strength 1)",
    "before_rescaling": "how much DoRA adds to each block before it rescales (Frobenius norm)",
    "turned": "how far OFT turns the weights of each block (Frobenius norm of R - I)",
}
_TITLES = {
    "lora": "LoRA", "dora": "DoRA", "loha": "LoHa", "lokr": "LoKr", "oft": "OFT",
    "glora": "GLoRA", "ia3": "IA3", "full": "full difference",
}  # fmt: skip


@click.group()
def weights() -> None:
    """Look into weight files.

    Files are read without running anything of them; a pickle is refused.
    """


@weights.command()
@click.argument("path", type=click.Path(), metavar="FILE")
@click.option("--checkpoint", default="", metavar="ID", help="Base model that it should fit.")
@shared_options
@click.pass_obj
def inspect(session: Session, path: str, *, checkpoint: str) -> None:
    """Say what a weights file is and what it is for.

    Reads every byte: digests, kind of LoRA, key family, rank, architecture, values, how much
    each block is changed, and what the header tells of the studio. Exits with 1 when the
    weights cannot be used, 3 when the file is no sound safetensors file.

    \b
    lora weights inspect ui_icons.safetensors --checkpoint sdxl
    """
    from lora_pipeline.operations.training.weights import inspect_weights_file

    session.run(
        inspect_weights_file, _inspected, path, checkpoint=checkpoint, project=session.project
    )


@weights.command("scrub")
@click.argument("path", type=click.Path(), metavar="FILE")
@click.option(
    "--output", default="", type=click.Path(), metavar="FILE",
    help="The copy; else FILE-scrubbed.safetensors.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Keep only the texts that programs need.")
@writing_options
@click.pass_obj
def scrub_file(session: Session, path: str, *, output: str, strict: bool) -> None:
    """Copy a weights file without metadata that leaks.

    Captions, prompts, folders, comments, tokens and pictures go; the tensors are proven to be
    the same. The original is not touched, and nothing is written over.

    \b
    lora weights scrub ui_icons.safetensors --output public.safetensors
    """
    from lora_pipeline.operations.training.weights import scrub_weights

    session.run(scrub_weights, _scrubbed, path, output=output, strict=strict)


@weights.command()
@click.argument("path", type=click.Path(), metavar="FILE")
@click.argument("other", type=click.Path(), metavar="OTHER")
@shared_options
@click.pass_obj
def compare(session: Session, path: str, other: str) -> None:
    """Say how alike two LoRAs are, by what they change.

    Reads both files. Rank, spelling and factors may differ: what is compared is the change of
    each module. 1 is the same direction, 0 nothing in common. Writes nothing.

    \b
    lora weights compare r6.safetensors r7.safetensors
    """
    from lora_pipeline.operations.training.weights_compare import compare_weights

    session.run(compare_weights, _compared, path, other)


def _inspected(result: Result) -> Report:
    data = result.data
    rows = [
        ("is", _what(data)),
        ("for", " or ".join(data["architectures"]) or "unknown"),
        ("modules", _modules(data)),
        *([("layers", _listed(data["kinds"]))] if data["kinds"] else []),
        ("values", f"{data['values']:,} numbers, largest {data['largest']:.4g}"),
        ("file", f"sha256:{data['sha256']}   AutoV2 {data['autoV2']}"),
        ("tensors", f"sha256:{data['tensorSha256']}   AutoV3 {data['autoV3']}"),
        ("size", f"{size_text(data['bytes'])}   AutoV1 {data['autoV1']}"),
    ]
    told = _claims(data["declared"])
    rows += [("header", f"says {told}")] if told else []
    rows += [("release", _same(one)) for one in data["releases"]]
    rows += _passport_rows(data["passport"])
    if data["fit"]:
        rows.append(_fit_row(data["fit"]))
    rows += [(_LABELS[one["severity"]], one["message"]) for one in data["findings"]]
    if result.refusal and not any(one["severity"] == "error" for one in data["findings"]):
        rows.append(("fail", result.refusal.message))
    name = data["path"].replace("\\", "/").rpartition("/")[2]
    usable = "cannot be used" if result.refusal else "usable"
    return Report(f"{name} · {usable}", rows, _texts(data), _charts(data["norms"]))


def _texts(data: Any) -> list[Table]:
    if not data["metadata"]:
        return []
    leaks = set(data["leaks"])
    shown = [
        (key, _cut(text), "yes" if key in leaks else "")
        for key, text in data["metadata"].items()
        if key != _PASSPORT
    ]
    return [Table(("metadata", "", "leaks"), shown)]


def _charts(norms: Any) -> list[str]:
    """Return how much each block is changed, for each way in which that was measured."""
    return [
        line
        for measure, title in _CHARTS.items()
        for line in _chart(title, [one for one in norms["blocks"] if one["measure"] == measure])
    ]


def _chart(title: str, every: list[Any]) -> list[str]:
    """Return one line for each run of blocks: how much the LoRA changes each of them."""
    most = max((one["norm"] for one in every), default=0.0)
    if most <= 0:
        return []
    series: dict[str, list[Any]] = {}
    for one in every:
        series.setdefault(f"{one['part']} {one['series']}", []).append(one)
    names = {name: f"{name}{_numbers(blocks)}" for name, blocks in series.items()}
    charts = {
        name: "".join(_bar(share / most) for share in _columns([one["norm"] for one in blocks]))
        for name, blocks in series.items()
    }
    width, bars = max(map(len, names.values())) + 2, max(map(len, charts.values())) + 2
    lines = ["", title]
    for name, blocks in series.items():
        low, high = min(one["norm"] for one in blocks), max(one["norm"] for one in blocks)
        span = f"{low:.3g} to {high:.3g}" if len(blocks) > 1 else f"{high:.3g}"
        lines.append(f"  {names[name].ljust(width)}{charts[name].ljust(bars)}{span}")
    return lines


def _columns(norms: list[float]) -> list[float]:
    """Return what is drawn: each block, or the largest of several neighbours."""
    each = -(-len(norms) // _MOST_COLUMNS)
    return [max(norms[start : start + each]) for start in range(0, len(norms), each)]


def _numbers(blocks: list[Any]) -> str:
    first, last = blocks[0]["number"], blocks[-1]["number"]
    return f" {first} to {last}" if len(blocks) > 1 else f" {first}" if first else ""


def _bar(share: float) -> str:
    return _BARS[min(int(share * len(_BARS)), len(_BARS) - 1)]


def _claims(declared: Any) -> str:
    words = [str(declared.get("madeBy", ""))]
    words += [f"{name} {declared[name]}" for name in ("base", "rank", "alpha", "steps")
              if name in declared]  # fmt: skip
    if "triggerWord" in declared:
        words.append(f"trigger {declared['triggerWord']}")
    return ", ".join(filter(None, words))


def _same(one: Any) -> str:
    how = "byte for byte" if one["same"] == "file" else "the same tensors under another header"
    return f"{one['releaseId']} of {one['loraId']}, {how}"


def _passport_rows(passport: Any) -> list[tuple[str, str]]:
    if not passport:
        return []
    lora, base = passport["lora"], passport["checkpoint"]
    trigger = passport["triggerWord"] or "none"
    words = (
        f"{lora['releaseId']} of {lora['id']}, trigger {trigger}, strength {passport['strength']:g}"
    )
    return [("passport", f"{words}, for {base['id']}")]


def _compared(result: Result) -> Report:
    data = result.data
    rows = [("ranks", " and ".join(str(rank or "none") for rank in data["ranks"]))]
    if data["likeness"] is not None:
        first, second = data["norms"]
        rows += [
            ("alike", f"{data['likeness']:.3f} of 1, over {counted(data['compared'], 'module')}"),
            ("change", f"norm {first:.3g} and {second:.3g}, {data['distance']:.0%} apart"),
        ]
    for label, key in (("only first", "onlyFirst"), ("only second", "onlySecond"),
                       ("not compared", "uncompared")):  # fmt: skip
        if data[key]:
            rows.append((label, f"{counted(len(data[key]), 'module')}, {data[key][0]}"))
    header = {name: ", ".join(keys) for name, keys in data["metadata"].items() if keys}
    titles = {"onlyFirst": "only in the first", "onlySecond": "only in the second",
              "changed": "changed"}  # fmt: skip
    rows += [("header", f"{titles[name]}: {_cut(keys)}") for name, keys in header.items()]
    table = Table(
        ("block", "alike", "norm", "and"),
        [
            (f"{one['part']} {one['series']} {one['number']}", f"{one['likeness']:.3f}",
             f"{one['norms'][0]:.3g}", f"{one['norms'][1]:.3g}")
            for one in data["blocks"] if one["likeness"] is not None
        ],
    )  # fmt: skip
    same = data["sameTensors"]
    return Report(result.reasoning, rows, [] if same or not table.rows else [table])


def _scrubbed(result: Result) -> Report:
    data = result.data
    if data["output"] is None:
        return Report("nothing leaks; no copy was made")
    verb = "would write" if result.dry_run else "wrote"
    return Report(
        f"{verb} {data['output']}",
        [
            ("left out", ", ".join(data["removed"])),
            ("tensors", f"sha256:{data['tensorSha256'][:12]}, the same as before"),
        ],
    )


def _what(data: Any) -> str:
    if not data["modules"]:
        return "no LoRA"
    alphas = data["alphas"]
    alpha = f", alpha {', '.join(f'{one:g}' for one in alphas)}" if alphas else ""
    ranks = ", ".join(f"{rank} ({count})" for rank, count in data["ranks"].items())
    rank = f"rank {data['rank']}" if len(data["ranks"]) == 1 else f"ranks {ranks}"
    if not data["ranks"]:
        rank = "no rank"
    types = ", ".join(data["types"])
    title = _TITLES.get(data["algorithm"], data["algorithm"])
    return f"{title}, {rank}{alpha}, {data['family'] or 'unknown'} keys, {types}"


def _modules(data: Any) -> str:
    return f"{data['modules']}: {_listed(data['components'])}" if data["modules"] else "none"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items())


def _fit_row(fit: dict[str, Any]) -> tuple[str, str]:
    if fit["compared"] == "architecture":
        return "not proven", f"{fit['checkpointId']}: only the architecture could be compared"
    if not fit["proven"]:
        unread = counted(fit["unread"], "module")
        return "not proven", f"{fit['checkpointId']}: {unread} named in another spelling"
    return "pass", f"{fit['checkpointId']}: {counted(fit['matched'], 'module')} fit"


def _cut(text: str) -> str:
    plain = " ".join(text.split())
    return plain if len(plain) <= _LONGEST_TEXT else plain[: _LONGEST_TEXT - 1] + "…"
