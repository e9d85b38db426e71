from __future__ import annotations

import pytest

from lora_pipeline.catalog.assets.endings import full_id
from lora_pipeline.foundation.errors import RecordNotFoundError

KNOWN = {"01AAAAAA111111", "01AAAAAA222222", "01AXXXXXXX", "01BXXXXXXX"}


@pytest.mark.parametrize("given", ["01AAAAAA111111", "111111", "aa111111"])
def test_an_id_may_be_given_by_an_ending_that_only_one_has(given: str) -> None:
    assert full_id(given, KNOWN, "neon_city") == "01AAAAAA111111"


@pytest.mark.parametrize("given", ["999999", "11111", "01AAAAAA"])
def test_an_unknown_id_or_too_short_an_ending_is_not_found(given: str) -> None:
    with pytest.raises(RecordNotFoundError, match="no asset"):
        full_id(given, KNOWN, "neon_city")


def test_an_ending_of_several_ids_names_them() -> None:
    with pytest.raises(RecordNotFoundError, match="may be any of 2 assets: 01AXXXXXXX, 01BXXXXXXX"):
        full_id("XXXXXXX", KNOWN, "neon_city")
