"""Products of a matrix and vectors, whatever the matrix's form: piece by piece, by as many threads as there are."""

from typing import Any

import numpy as np

from menny.engine.cpu.activations import Vectors, to_integers
from menny.engine.cpu.compiling import kernel
from menny.engine.cpu.scales import ROWS, scale_bytes
from menny.engine.cpu.tiles import TOKENS, call
from menny.engine.cpu.together import finish_piece, next_piece, wait_until_done

Matrix = Any  # a record of DESCRIPTION
_PIECE = 1 << 15  # weights that a thread takes at once, at least: some microseconds' work
_PIECES = 128  # of a large matrix: memory is read faster in long stretches


_scale_bytes = kernel(scale_bytes)


@kernel
def address(numbers: np.ndarray) -> int:
    """Where an array begins, as a signed number: Numba adds signed and unsigned ones as floats."""
    return np.int64(numbers.ctypes.data)  # type: ignore[return-value]


@kernel
def prepare(matrix: Matrix, a: Vectors, begin: int, end: int) -> None:
    """Write these tokens' vectors in integers, if this matrix is multiplied with such."""
    if matrix.group:
        width, groups = matrix.width, matrix.width // matrix.group
        for token in range(begin, end):
            at, of = token * width, token * groups
            to_integers(a.x[at : at + width], matrix.group, a.n[at : at + width], a.u[of:], a.v[of:])


@kernel
def multiply(matrix: Matrix, first: int, a: Vectors, token: int, several: bool, out: int, step: int) -> None:
    """One tile: 16 rows from `first` on, times one token's vector or those of four, to an address [tokens, step]."""
    width, words = matrix.width, matrix.words + first * matrix.row_bytes
    tile = matrix.tile_of_four if several else matrix.tile
    if matrix.group:
        groups = width // matrix.group
        at = first * _scale_bytes(matrix.scale_form, groups)
        scales, biases = matrix.scales + at, matrix.biases + at if matrix.biases else 0
        per_group = matrix.row_bytes // (4 * groups)
        n, u, v = address(a.n) + 2 * token * width, address(a.u), address(a.v)
        u, v = u + 4 * token * groups, v + 4 * token * groups
        call(tile, (words, scales, biases, matrix.scale_form, groups, per_group, n, u, v, width, out, step))
    else:
        call(tile, (words, 0, 0, 0, 0, 0, address(a.x) + 4 * token * width, 0, 0, width, out, step))


@kernel
def pieces_of(matrix: Matrix) -> int:
    """How many pieces of work a product with this matrix is."""
    blocks = matrix.rows // ROWS
    return -(-blocks // _blocks_a_piece(matrix))


@kernel
def rows_of_piece(matrix: Matrix, piece: int) -> tuple[int, int]:
    """The first row of a piece, and the one behind its last."""
    size = _blocks_a_piece(matrix) * ROWS
    return piece * size, min((piece + 1) * size, matrix.rows)


@kernel
def _blocks_a_piece(matrix: Matrix) -> int:
    return max(1, _PIECE // (ROWS * matrix.width), matrix.rows // (ROWS * _PIECES))


@kernel
def multiply_rows(matrix: Matrix, part: int, begin: int, end: int, a: Vectors, tokens: int, out: np.ndarray) -> None:
    """These rows of the matrix at `part` of a stack, times one vector or several fours → out [tokens, rows], flat."""
    for token in range(0, tokens, TOKENS):
        for row in range(begin, end, ROWS):
            place = address(out) + 4 * (token * matrix.rows + row)
            multiply(matrix, part * matrix.rows + row, a, token, tokens > 1, place, matrix.rows)


@kernel
def prepare_together(matrix: Matrix, a: Vectors, tokens: int, stage: int) -> None:
    """Write vectors in integers, each by one of the threads that call this."""
    fours = -(-tokens // TOKENS)
    four = next_piece(stage)
    while four < fours:
        prepare(matrix, a, four * TOKENS, min(four * TOKENS + TOKENS, tokens))
        finish_piece(stage)
        four = next_piece(stage)
    wait_until_done(stage, fours)


@kernel
def multiply_together(matrix: Matrix, part: int, a: Vectors, tokens: int, out: np.ndarray, stage: int) -> None:
    """Multiply vectors that are prepared, with the matrix at `part` of a stack → out [tokens, rows], flat."""
    pieces = pieces_of(matrix)
    piece = next_piece(stage)
    while piece < pieces:
        begin, end = rows_of_piece(matrix, piece)
        multiply_rows(matrix, part, begin, end, a, tokens, out)
        finish_piece(stage)
        piece = next_piece(stage)
    wait_until_done(stage, pieces)
