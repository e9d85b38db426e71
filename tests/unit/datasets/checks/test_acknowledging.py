from __future__ import annotations

from msgspec import structs
from msgspec.structs import replace

from lora_pipeline.datasets.checks.acknowledging import acknowledged, with_acknowledgements
from lora_pipeline.datasets.checks.findings import CheckFinding, Picture, found
from lora_pipeline.datasets.checks.records import Acknowledgement

FOG = Picture("A1", "Fog", "fog.png", "a" * 64)
RAIN = Picture("A2", "Rain", "rain.png", "b" * 64)
SNOW = Picture("A3", "Snow", "snow.png", "c" * 64)


def record(*findings: CheckFinding, dataset_id: str = "icons", **fields: str) -> Acknowledgement:
    plain = Acknowledgement(
        id="01JNB2M7R8W1E3T5Y7V9Q0P2A4",
        scope="project",
        created_at="2026-03-01T12:00:00Z",
        acknowledged_by="ana@studio.example",
        reason="fog is meant",
        findings=tuple(acknowledged(one) for one in findings),
        dataset_id=dataset_id,
    )
    return structs.replace(plain, **fields)


def is_accepted(finding: CheckFinding, *records: Acknowledgement, dataset: str = "icons") -> bool:
    (judged,) = with_acknowledgements([finding], records, dataset)
    return judged.acknowledged is not None


def blurred(picture: Picture = FOG, width: float = 3.0, limit: float = 2.5) -> CheckFinding:
    return found("blurred", "soft", [picture], measured=width, limit=limit)


def small(side: int, limit: int) -> CheckFinding:
    return found("small", "small", [FOG], measured=side, limit=limit)


def test_a_finding_is_accepted_for_the_bytes_that_somebody_looked_at() -> None:
    seen = record(blurred())

    assert is_accepted(blurred(), seen)
    assert not is_accepted(blurred(replace(FOG, sha256="f" * 64)), seen)
    assert not is_accepted(blurred(RAIN), seen)
    assert not is_accepted(found("border", "frame", [FOG]), seen)


def test_the_same_image_is_accepted_in_every_dataset_and_under_every_asset() -> None:
    seen = record(blurred())

    assert is_accepted(blurred(replace(FOG, asset_id="Z9")), seen, dataset="others")


def test_what_became_worse_is_looked_at_again() -> None:
    assert is_accepted(blurred(width=2.9), record(blurred(width=3.0)))
    assert not is_accepted(blurred(width=3.1), record(blurred(width=3.0)))
    assert not is_accepted(blurred(limit=2.0), record(blurred(limit=2.5)))


def test_a_larger_checkpoint_asks_again_and_a_smaller_one_does_not() -> None:
    seen = record(small(600, 1024))

    assert is_accepted(small(600, 768), seen)
    assert not is_accepted(small(600, 2048), seen)


def test_a_group_is_accepted_as_a_whole_in_any_order() -> None:
    seen = record(found("near_duplicate", "2 show the same", [FOG, RAIN]))

    assert is_accepted(found("near_duplicate", "2 show the same", [RAIN, FOG]), seen)
    assert not is_accepted(found("near_duplicate", "3 show the same", [FOG, RAIN, SNOW]), seen)


def test_what_is_said_of_a_set_holds_for_that_dataset() -> None:
    uneven = found("imbalance", "color: 8 pink, 1 grey", subject="color", measured=8, limit=5)
    seen = record(uneven)

    assert is_accepted(uneven, seen)
    assert not is_accepted(uneven, seen, dataset="others")
    assert not is_accepted(replace(uneven, subject="shape"), seen)
    assert not is_accepted(replace(uneven, measured=9.0), seen)


def test_a_caption_is_accepted_as_it_was() -> None:
    short = CheckFinding("caption_short", "warning", "short", (FOG,), caption="fog")

    assert is_accepted(short, record(short))
    assert not is_accepted(replace(short, caption="mist"), record(short))


def test_the_last_word_is_shown() -> None:
    first = record(blurred(), reason="first")
    second = record(blurred(), reason="second", created_at="2026-03-02T12:00:00Z")

    (judged,) = with_acknowledgements([blurred()], [second, first], "icons")

    assert judged.acknowledged is not None
    assert judged.acknowledged.reason == "second"
