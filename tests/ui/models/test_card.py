"""What a model's card says of a conversion before it is begun."""

import pytest

from menny.ui.models.card import converted_name


@pytest.mark.parametrize(
    ("model_id", "bits", "name"),
    [
        ("smollm2", 4, "smollm2-4bit"),
        ("mistral-7b-v0.3-16bit", 4, "mistral-7b-v0.3-4bit"),
        ("owner/Some-Model-bf16", 8, "Some-Model-bf16-8bit"),
        ("/home/me/my model.Q4_1.gguf", 16, "my-model.Q4_1-16bit"),
        ("a-4-bit", 8, "a-8bit"),
    ],
)
def test_it_is_named_by_its_source(model_id: str, bits: int, name: str) -> None:
    assert converted_name(model_id, bits) == name
