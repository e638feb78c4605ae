"""Random weights that both sides of a comparison draw alike, so that they needn't be stored."""

import numpy as np


def draw(shapes: dict[str, tuple[int, ...]], seed: int) -> dict[str, np.ndarray]:
    """Weights by name, as float32 of float16's values: embeddings and norms near 1, matrices that keep activations so.

    They are drawn in the order of their sorted names.
    """
    generator = np.random.default_rng(seed)
    weights = {}
    for name in sorted(shapes):
        drawn = generator.standard_normal(shapes[name])
        if len(shapes[name]) == 1:
            drawn = 1 + drawn / 10
        elif "embed" not in name:
            drawn = drawn / np.sqrt(shapes[name][1])
        weights[name] = drawn.astype(np.float16).astype(np.float32)
    return weights
