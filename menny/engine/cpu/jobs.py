"""Products of many vectors, such as a chunk of a prompt: what the modules of a packed model ask of the threads."""

import numpy as np

from menny.engine.cpu.activations import Vectors
from menny.engine.cpu.compiling import job
from menny.engine.cpu.products import (
    multiply_together,
    pieces_of,
    prepare_together,
    rows_of_piece,
)
from menny.engine.cpu.scales import ROWS
from menny.engine.cpu.stages import gate_tiles
from menny.engine.cpu.tiles import TOKENS
from menny.engine.cpu.together import STAGE, finish_piece, next_piece, wait_until_done

STAGES = 4  # of the longer job


@job
def linear(matrices: np.ndarray, part: int, a: Vectors, tokens: int, out: np.ndarray, stages: int, _: int) -> None:
    """out = matrix · x, for vectors [tokens, width] → [tokens, rows]; tokens are 1, or a multiple of 4."""
    prepare_together(matrices[0], a, tokens, stages)
    multiply_together(matrices[0], part, a, tokens, out, stages + STAGE)


@job
def feed_forward(
    matrices: np.ndarray, part: int, a: Vectors, hidden: Vectors, tokens: int, out: np.ndarray, stages: int, _: int
) -> None:
    """out = w2 (silu(w1 x) · w3 x), for w1, w2 and w3 at `part` of their stacks."""
    w1, w2, w3 = matrices[0], matrices[1], matrices[2]
    prepare_together(w1, a, tokens, stages)
    stage, pieces, width = stages + STAGE, pieces_of(w1), w2.width
    tiles = np.empty(2 * TOKENS * ROWS, np.float32)
    piece = next_piece(stage)
    while piece < pieces:
        begin, end = rows_of_piece(w1, piece)
        for first in range(0, tokens, TOKENS):
            for row in range(begin, end, ROWS):
                gate_tiles(w1, w3, part, row, a, first, tokens > 1, tiles)
                for token in range(first, min(first + TOKENS, tokens)):
                    for number in range(min(ROWS, width - row)):
                        hidden.x[token * width + row + number] = tiles[(token - first) * ROWS + number]
        finish_piece(stage)
        piece = next_piece(stage)
    wait_until_done(stage, pieces)
    prepare_together(w2, hidden, tokens, stages + 2 * STAGE)
    multiply_together(w2, part, hidden, tokens, out, stages + 3 * STAGE)
