"""Rotary scalings as the hub's configs and GGUF files have them, written out by hand."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from menny.engine import ModelArgs
from tests.engine.gguf_files import F32, STRING, U32, entry


def rope_parameters(args: ModelArgs) -> dict[str, Any]:
    """The scalings in the hub's words, written out by hand: what the engine writes itself is another test's."""
    scaling, query = args.rope_scaling, args.query_scaling
    if scaling is None:
        return {}
    values = {key: value for key, value in vars(scaling).items() if key != "table" and value is not None}
    if query:
        values["llama_4_scaling_beta"] = query.beta
    return {"rope_parameters": values | {"rope_theta": args.rope_theta}}


def rope_entries(args: ModelArgs, kind: str) -> list[bytes]:
    scaling, query = args.rope_scaling, args.query_scaling
    if scaling is None or scaling.rope_type == "llama3":  # the latter is a tensor there
        return []
    entries = [
        entry(f"{kind}.rope.scaling.type", STRING, scaling.rope_type),
        entry(f"{kind}.rope.scaling.factor", F32, scaling.factor),
    ]
    if scaling.rope_type == "yarn":
        log_multiplier = 1.0 if scaling.attention_factor == 1 else 0.0
        entries += [
            entry(f"{kind}.rope.scaling.original_context_length", U32, scaling.original_max_position_embeddings),
            entry(f"{kind}.rope.scaling.yarn_beta_fast", F32, scaling.beta_fast),
            entry(f"{kind}.rope.scaling.yarn_beta_slow", F32, scaling.beta_slow),
            entry(f"{kind}.rope.scaling.yarn_log_multiplier", F32, log_multiplier),
        ]
    return [*entries, entry(f"{kind}.attention.temperature_scale", F32, query.beta)] if query else entries


def llama3_divisors(args: ModelArgs) -> NDArray[np.float64]:
    """The numbers that llama.cpp's converter stores: each frequency is divided by its own."""
    scaling, divisors = args.rope_scaling, []
    assert scaling
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    for pair in range(args.head_dim // 2):
        wavelength = 2 * np.pi * args.rope_theta ** (2 * pair / args.head_dim)
        if wavelength < scaling.original_max_position_embeddings / high:
            divisors.append(1.0)
        elif wavelength > scaling.original_max_position_embeddings / low:
            divisors.append(scaling.factor)
        else:
            smooth = (scaling.original_max_position_embeddings / wavelength - low) / (high - low)
            divisors.append(1 / ((1 - smooth) / scaling.factor + smooth))
    return np.array(divisors)
