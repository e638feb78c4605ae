"""The stages of a sparse feed-forward for a few tokens: only the experts that a token chose are read.

Legend of shapes: T tokens, E experts, k experts a token.
"""

import numpy as np

from menny.engine.cpu.activations import Vectors, exp
from menny.engine.cpu.compiling import kernel, maths
from menny.engine.cpu.products import Matrix, address, multiply, pieces_of, prepare, rows_of_piece
from menny.engine.cpu.scales import ROWS
from menny.engine.cpu.stages import Numbers, Own, Workspace, gate_tiles, norm
from menny.engine.cpu.together import finish_piece, has_pieces, next_piece, wait_until_done


@kernel
def route(s: Workspace, gate: Matrix, weight: np.ndarray, numbers: Numbers, tokens: int, own: Own, stage: int) -> None:
    """Choose the k experts of each token, and their shares: softmax over the k largest of gate norm(x)."""
    if has_pieces(stage, tokens):
        a = norm(s, weight, numbers, tokens, own)
        prepare(gate, a, 0, tokens)
        token = next_piece(stage)
        while token < tokens:
            for row in range(0, gate.rows, ROWS):
                multiply(gate, row, a, token, False, address(own.scores) + 4 * row, ROWS)
            at = token * numbers.chosen
            _choose(own.scores[: numbers.experts], s.experts[at : at + numbers.chosen], s.shares[at:])
            finish_piece(stage)
            token = next_piece(stage)
    wait_until_done(stage, tokens)


@maths
def _choose(logits: np.ndarray, experts: np.ndarray, shares: np.ndarray) -> None:
    """The largest of the logits, which are used up, and their softmax."""
    total = np.float32(0)
    for place in range(len(experts)):
        best = 0
        for expert in range(len(logits)):
            if logits[expert] > logits[best] or not logits[best] > -np.inf:
                best = expert
        experts[place] = best
        shares[place] = logits[best]
        logits[best] = -np.inf
    most = shares[0]
    for place in range(len(experts)):
        shares[place] = exp(shares[place] - most)
        total += shares[place]
    for place in range(len(experts)):
        shares[place] /= total


@kernel
def open_expert_gates(
    s: Workspace, w1: Matrix, w3: Matrix, weight: np.ndarray, numbers: Numbers, tokens: int, own: Own, stage: int
) -> None:
    """hidden = silu(w1 norm(x)) w3 norm(x), by each of a token's experts."""
    each, width = pieces_of(w1), numbers.hidden
    pieces = each * tokens * numbers.chosen
    if has_pieces(stage, pieces):
        a = norm(s, weight, numbers, tokens, own)
        prepare(w1, a, 0, tokens)
        piece = next_piece(stage)
        while piece < pieces:
            vector = piece // each  # [T, k]
            begin, end = rows_of_piece(w1, piece % each)
            for row in range(begin, end, ROWS):
                gate_tiles(w1, w3, s.experts[vector], row, a, vector // numbers.chosen, False, own.tiles)
                for number in range(min(ROWS, width - row)):
                    s.hidden[vector * width + row + number] = own.tiles[number]
            finish_piece(stage)
            piece = next_piece(stage)
    wait_until_done(stage, pieces)


@kernel
def add_experts(s: Workspace, w2: Matrix, numbers: Numbers, tokens: int, own: Own, stage: int) -> None:
    """x += sum over a token's experts of their share of w2 hidden."""
    each, dim, chosen = pieces_of(w2), numbers.dim, numbers.chosen
    pieces = each * tokens
    if has_pieces(stage, pieces):
        a = Vectors(s.hidden, own.n, own.u, own.v)
        prepare(w2, a, 0, tokens * chosen)
        piece = next_piece(stage)
        while piece < pieces:
            token = piece // each
            begin, end = rows_of_piece(w2, piece % each)
            for row in range(begin, end, ROWS):
                for vector in range(token * chosen, token * chosen + chosen):
                    first = s.experts[vector] * w2.rows + row
                    multiply(w2, first, a, vector, False, address(own.tiles), ROWS)
                    for number in range(min(ROWS, dim - row)):
                        s.x[token * dim + row + number] += s.shares[vector] * own.tiles[number]
            finish_piece(stage)
            piece = next_piece(stage)
    wait_until_done(stage, pieces)
