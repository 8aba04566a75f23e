"""Settings hold finite numbers, whatever is typed; records hold what was found."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from nwb_latents.schemas import schema_class, schema_names
from nwb_latents.schemas.base import Record
from nwb_latents.schemas.decoding import DecodeSettings
from nwb_latents.schemas.quality import Percentiles

FIELDS = [
    (schema, field)
    for schema in sorted(set(schema_names()) - {"events"})
    if not issubclass(schema_class(schema), Record)
    for field, about in schema_class(schema).model_fields.items()
    if about.annotation in {float, float | None}
]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), "1e400", ".inf"])
@pytest.mark.parametrize(("schema", "field"), FIELDS)
def test_a_number_of_settings_is_finite(schema: str, field: str, value: float | str) -> None:
    with pytest.raises(ValidationError, match=field):
        schema_class(schema).model_validate({field: value})


def test_numbers_within_lists_are_finite() -> None:
    with pytest.raises(ValidationError, match="alphas"):
        DecodeSettings(alphas=(1.0, float("inf")))


def test_what_was_found_may_be_infinite() -> None:
    assert Percentiles(n=1, p5=float("-inf")).p5 == float("-inf")
