"""Products of a matrix and a few vectors, whatever the matrix's form: piece by piece, by as many threads as there are."""

import numpy as np
from numba import njit

from menny.engine.cpu.activations import Vectors, to_integers
from menny.engine.cpu.tiles import TOKENS, plain_tile, quantized_tile
from menny.engine.cpu.together import STAGE, finish_piece, next_piece, wait_until_done

ROWS = 16  # of a tile
_PIECE = 1 << 15  # weights that a thread takes at once: some microseconds' work
_QUANTIZED = 2  # forms below this are whole numbers

_four_bits, _four_bits_of_four = quantized_tile(4, 1), quantized_tile(4, TOKENS)
_eight_bits, _eight_bits_of_four = quantized_tile(8, 1), quantized_tile(8, TOKENS)
_bfloat16, _bfloat16_of_four = plain_tile("bfloat16", 1), plain_tile("bfloat16", TOKENS)
_float16, _float16_of_four = plain_tile("float16", 1), plain_tile("float16", TOKENS)
_float32, _float32_of_four = plain_tile("float32", 1), plain_tile("float32", TOKENS)


@njit(nogil=True)
def address(numbers: np.ndarray) -> int:
    """Where an array begins, as a signed number: Numba adds signed and unsigned ones as floats."""
    return np.int64(numbers.ctypes.data)


@njit(nogil=True)
def prepare(matrix: np.void, a: Vectors, begin: int, end: int) -> None:
    """Write these tokens' vectors in integers, if this matrix is multiplied with such."""
    if matrix.form < _QUANTIZED:
        width, groups = matrix.width, matrix.width // matrix.group
        for token in range(begin, end):
            at, of = token * width, token * groups
            to_integers(a.x[at : at + width], matrix.group, a.n[at : at + width], a.u[of:], a.v[of:])


@njit(nogil=True)
def multiply(matrix: np.void, first: int, a: Vectors, token: int, several: bool, out: int, step: int) -> None:
    """One tile: 16 rows from `first` on, times one token's vector or those of four, to an address [tokens, step]."""
    width = matrix.width
    if matrix.form < _QUANTIZED:
        groups = width // matrix.group
        bits = 4 if matrix.form == 0 else 8
        words = matrix.words + first * width * bits // 8
        per_group = matrix.group * bits // 32
        nbytes = first * groups * (2 if matrix.half_scales else 4)
        scales, biases, half = matrix.scales + nbytes, matrix.biases + nbytes, matrix.half_scales
        n, u, v = address(a.n) + 2 * token * width, address(a.u), address(a.v)
        u, v = u + 4 * token * groups, v + 4 * token * groups
        if matrix.form == 0 and several:
            _four_bits_of_four(words, scales, biases, half, groups, per_group, n, u, v, width, out, step)
        elif matrix.form == 0:
            _four_bits(words, scales, biases, half, groups, per_group, n, u, v, width, out, step)
        elif several:
            _eight_bits_of_four(words, scales, biases, half, groups, per_group, n, u, v, width, out, step)
        else:
            _eight_bits(words, scales, biases, half, groups, per_group, n, u, v, width, out, step)
        return
    _multiply_plain(matrix, first, address(a.x) + 4 * token * width, several, out, step)


@njit(nogil=True)
def _multiply_plain(matrix: np.void, first: int, x: int, several: bool, out: int, step: int) -> None:
    width = matrix.width
    if matrix.form == 4:
        weights = matrix.words + 4 * first * width
        if several:
            _float32_of_four(weights, x, width, out, step)
        else:
            _float32(weights, x, width, out, step)
        return
    weights = matrix.words + 2 * first * width
    if matrix.form == 2 and several:
        _bfloat16_of_four(weights, x, width, out, step)
    elif matrix.form == 2:
        _bfloat16(weights, x, width, out, step)
    elif several:
        _float16_of_four(weights, x, width, out, step)
    else:
        _float16(weights, x, width, out, step)


@njit(nogil=True)
def pieces_of(matrix: np.void) -> int:
    """How many pieces of work a product with this matrix is."""
    blocks = matrix.rows // ROWS
    return -(-blocks // _blocks_a_piece(matrix))


@njit(nogil=True)
def rows_of_piece(matrix: np.void, piece: int) -> tuple[int, int]:
    """The first row of a piece, and the one behind its last."""
    size = _blocks_a_piece(matrix) * ROWS
    return piece * size, min((piece + 1) * size, matrix.rows)


@njit(nogil=True)
def _blocks_a_piece(matrix: np.void) -> int:
    return max(1, _PIECE // (ROWS * matrix.width))


@njit(nogil=True)
def multiply_rows(matrix: np.void, part: int, begin: int, end: int, a: Vectors, tokens: int, out: np.ndarray) -> None:
    """These rows of the matrix at `part` of a stack, times one vector or several fours → out [tokens, rows], flat."""
    for token in range(0, tokens, TOKENS):
        for row in range(begin, end, ROWS):
            place = address(out) + 4 * (token * matrix.rows + row)
            multiply(matrix, part * matrix.rows + row, a, token, tokens > 1, place, matrix.rows)


@njit(nogil=True)
def times(matrices: np.ndarray, part: int, a: Vectors, tokens: int, out: np.ndarray, stages: int) -> None:
    """A whole product by the threads that call this: vectors to integers first, where that is asked, then the rows."""
    matrix = matrices[0]
    fours = -(-tokens // TOKENS)
    four = next_piece(stages)
    while four < fours:
        prepare(matrix, a, four * TOKENS, min(four * TOKENS + TOKENS, tokens))
        finish_piece(stages)
        four = next_piece(stages)
    wait_until_done(stages, fours)
    stage, pieces = stages + STAGE, pieces_of(matrix)
    piece = next_piece(stage)
    while piece < pieces:
        begin, end = rows_of_piece(matrix, piece)
        multiply_rows(matrix, part, begin, end, a, tokens, out)
        finish_piece(stage)
        piece = next_piece(stage)
    wait_until_done(stage, pieces)
