"""All blocks of a model for a few tokens in one call, which every thread makes: from stage to stage, together.

Leaving MLX's graph and coming back takes as long as reading a small matrix; so it is left once a pass.
"""

from typing import NamedTuple

import numpy as np

from menny.engine.cpu.compiling import job
from menny.engine.cpu.expert_stages import add_experts, open_expert_gates, route
from menny.engine.cpu.stages import Numbers, Own, Workspace, add_product, attend_heads, open_gates, project, store
from menny.engine.cpu.together import STAGE

WQKV, WO, W1, W2, W3, GATE = range(6)  # a block's matrices
MATRICES = 6
STAGES = 7  # of a block


class Scratch(NamedTuple):
    """Each thread's own room: Own, one row a thread."""

    normed: np.ndarray
    n: np.ndarray
    u: np.ndarray
    v: np.ndarray
    tiles: np.ndarray
    head: np.ndarray
    lanes: np.ndarray
    seen_by: np.ndarray
    rows: np.ndarray
    row_scales: np.ndarray
    scores: np.ndarray


@job
def run_blocks(
    numbers: Numbers,
    matrices: np.ndarray,
    norms: np.ndarray,
    places: np.ndarray,
    turns: np.ndarray,
    scales: np.ndarray,
    s: Workspace,
    scratch: Scratch,
    tokens: int,
    stages: int,
    thread: int,
) -> None:
    """x = block(x), for every block: matrices [blocks, 6], norms [blocks, 2, dim], places [blocks, T, 5].

    `turns` are the cosines and sines of the tokens' positions [T, 2, D / 2], `scales` multiply their queries [T].
    """
    own = Own(
        scratch.normed[thread],
        scratch.n[thread],
        scratch.u[thread],
        scratch.v[thread],
        scratch.tiles[thread],
        scratch.head[thread],
        scratch.lanes[thread],
        scratch.seen_by[thread],
        scratch.rows[thread],
        scratch.row_scales[thread],
        scratch.scores[thread],
    )
    for block in range(len(norms)):
        m, (first, second), of_block = matrices[block], norms[block], places[block]
        row = m[WQKV].rows
        project(s, m[WQKV], first, numbers, tokens, own, stages)
        store(s, of_block, row, turns, numbers, tokens, own, stages + STAGE)
        attend_heads(s, of_block, row, turns, scales, numbers, tokens, own, stages + 2 * STAGE)
        add_product(m[WO], s.mixed, s.x, numbers.dim, tokens, own, stages + 3 * STAGE)
        if numbers.experts:
            route(s, m[GATE], second, numbers, tokens, own, stages + 4 * STAGE)
            open_expert_gates(s, m[W1], m[W3], second, numbers, tokens, own, stages + 5 * STAGE)
            add_experts(s, m[W2], numbers, tokens, own, stages + 6 * STAGE)
        else:
            open_gates(s, m[W1], m[W3], second, numbers, tokens, own, stages + 5 * STAGE)
            add_product(m[W2], s.hidden, s.x, numbers.dim, tokens, own, stages + 6 * STAGE)
        stages += STAGES * STAGE
