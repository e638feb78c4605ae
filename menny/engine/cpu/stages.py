"""The stages of a block for a few tokens: what model.py and moe.py compute, each stage shared by all threads.

What a stage needs of vectors, every thread prepares for itself; what it writes, all read in the next.

Legend of shapes: T tokens, H heads, K KV heads, D head_dim, k experts a token.
"""

from typing import NamedTuple

import numpy as np

from menny.engine.cpu.activations import Vectors, gate, rms_norm
from menny.engine.cpu.attention import rotate
from menny.engine.cpu.attention_tile import LANES
from menny.engine.cpu.cache_rows import dequantize, row_bytes, write_row
from menny.engine.cpu.compiling import kernel
from menny.engine.cpu.products import Matrix, address, multiply, multiply_rows, pieces_of, prepare, rows_of_piece
from menny.engine.cpu.scales import ROWS
from menny.engine.cpu.tiles import TOKENS, call
from menny.engine.cpu.together import finish_piece, has_pieces, next_piece, wait_until_done

KEYS, VALUES, CAPACITY, SLOT, SEEN = range(5)  # of a token's cache: addresses, slots, its own slot, and what it sees,
PLACE = 5  # itself included
IN_LANES = 8  # tokens of a sequence, from which on sixteen queries are computed at once
_FEW_PIECES = 4  # of attention, that threads would share unevenly


class Numbers(NamedTuple):
    """The args of a model, as far as blocks need them."""

    dim: int
    hidden: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    eps: float
    neighbours: bool  # are rotary pairs
    experts: int
    chosen: int  # experts a token
    quantized: bool  # are keys and values
    attend: int  # the addresses of these kernels
    attend_in_lanes: int


class Workspace(NamedTuple):
    """What all threads read and write, flat; rows of vectors are as long as their matrix's."""

    x: np.ndarray  # [T, dim], from block to block
    qkv: np.ndarray  # [T, (H + 2K) D]
    mixed: np.ndarray  # [T, H D]
    hidden: np.ndarray  # [T, k, hidden]
    experts: np.ndarray  # [T, k]
    shares: np.ndarray  # [T, k]


class Own(NamedTuple):
    """What a thread keeps to itself."""

    normed: np.ndarray  # [T, dim]
    n: np.ndarray  # the vectors that it multiplies, in integers
    u: np.ndarray
    v: np.ndarray
    tiles: np.ndarray  # [2, 4, 16]
    head: np.ndarray  # [D]
    lanes: np.ndarray  # [2, D, 16], of sixteen queries and of what comes out
    seen_by: np.ndarray  # [16], tokens that these queries see
    rows: np.ndarray  # [2, T, D], keys and values that are dequantized
    row_scales: np.ndarray  # [2, T], theirs; 1 where they needn't be dequantized
    scores: np.ndarray  # as many as tokens are seen, of each query


@kernel
def norm(s: Workspace, weight: np.ndarray, numbers: Numbers, tokens: int, own: Own) -> Vectors:
    """The normed vectors of all tokens, to be multiplied."""
    dim = numbers.dim
    for token in range(tokens):
        at = token * dim
        rms_norm(s.x[at : at + dim], weight, numbers.eps, own.normed[at : at + dim])
    return Vectors(own.normed, own.n, own.u, own.v)


@kernel
def project(
    s: Workspace, wqkv: Matrix, weight: np.ndarray, numbers: Numbers, tokens: int, own: Own, stage: int
) -> None:
    """qkv = wqkv norm(x)."""
    pieces = pieces_of(wqkv)
    if has_pieces(stage, pieces):
        a = norm(s, weight, numbers, tokens, own)
        prepare(wqkv, a, 0, tokens)
        piece = next_piece(stage)
        while piece < pieces:
            begin, end = rows_of_piece(wqkv, piece)
            multiply_rows(wqkv, 0, begin, end, a, tokens, s.qkv)
            finish_piece(stage)
            piece = next_piece(stage)
    wait_until_done(stage, pieces)


@kernel
def store(
    s: Workspace, places: np.ndarray, row: int, turns: np.ndarray, numbers: Numbers, tokens: int, own: Own, stage: int
) -> None:
    """Put the tokens' rotated keys, and their values, into their places [T, 5]; `row` is the length of qkv's."""
    dim, heads = numbers.head_dim, numbers.n_kv_heads
    pieces = tokens * heads
    piece = next_piece(stage)
    while piece < pieces:
        token, head = piece // heads, piece % heads
        cache = places[token]
        place = row_bytes(dim, numbers.quantized) * (head * cache[CAPACITY] + cache[SLOT])
        key = token * row + (numbers.n_heads + head) * dim
        value = key + heads * dim
        turn = turns[token]
        rotate(s.qkv[key : key + dim], turn[0], turn[1], numbers.neighbours, np.float32(1), own.head)
        write_row(own.head, cache[KEYS] + place, numbers.quantized)
        write_row(s.qkv[value : value + dim], cache[VALUES] + place, numbers.quantized)
        finish_piece(stage)
        piece = next_piece(stage)
    wait_until_done(stage, pieces)


@kernel
def in_lanes(places: np.ndarray, tokens: int) -> bool:
    """Whether the tokens [T, 5] are enough, and of one sequence, for sixteen queries at once."""
    return tokens >= IN_LANES and places[0, KEYS] == places[tokens - 1, KEYS]


@kernel
def attend_sixteens(
    s: Workspace,
    places: np.ndarray,
    row: int,
    turns: np.ndarray,
    scales: np.ndarray,
    numbers: Numbers,
    tokens: int,
    own: Own,
    stage: int,
) -> None:
    """The same for a chunk of a sequence, by sixteens of the queries that share keys and values."""
    dim, heads = numbers.head_dim, numbers.n_heads
    group = heads // numbers.n_kv_heads
    each = -(-tokens * group // LANES)  # sixteens of a KV head
    pieces = each * numbers.n_kv_heads
    own.lanes[: dim * LANES] = 0  # where there are fewer queries
    longest, dequantized = 0, -1  # the KV head whose rows this thread has dequantized
    for token in range(tokens):
        longest = max(longest, places[token, SEEN])
    piece = next_piece(stage)
    while piece < pieces:
        shared, first = piece // each, piece % each * LANES
        count, most = min(LANES, tokens * group - first), 0
        for lane in range(LANES):
            own.seen_by[lane] = 0
        for lane in range(count):
            token, head = (first + lane) // group, shared * group + (first + lane) % group
            query = token * row + head * dim
            turn = turns[token]
            rotate(s.qkv[query : query + dim], turn[0], turn[1], numbers.neighbours, scales[token], own.head)
            for number in range(dim):
                own.lanes[number * LANES + lane] = own.head[number]
            own.seen_by[lane] = places[token, SEEN]
            most = max(most, places[token, SEEN])
        cache = places[first // group]
        place = row_bytes(dim, numbers.quantized) * cache[CAPACITY] * shared
        keys, values = cache[KEYS] + place, cache[VALUES] + place
        if numbers.quantized:
            if shared != dequantized:
                dequantize(keys, longest, dim, own.rows, own.row_scales)
                dequantize(values, longest, dim, own.rows[longest * dim :], own.row_scales[longest:])
                dequantized = shared
            keys, values = address(own.rows), address(own.rows) + 4 * longest * dim
        out = address(own.lanes) + 4 * dim * LANES
        call(
            numbers.attend_in_lanes,
            (
                address(own.lanes), keys, values, address(own.row_scales), address(own.row_scales) + 4 * longest,
                address(own.seen_by), most, dim, address(own.scores), out,
            ),
        )  # fmt: skip
        for lane in range(count):
            token, head = (first + lane) // group, shared * group + (first + lane) % group
            at = (token * heads + head) * dim
            for number in range(dim):
                s.mixed[at + number] = own.lanes[(dim + number) * LANES + lane]
        finish_piece(stage)
        piece = next_piece(stage)
    wait_until_done(stage, pieces)


@kernel
def attend_heads(
    s: Workspace,
    places: np.ndarray,
    row: int,
    turns: np.ndarray,
    scales: np.ndarray,
    numbers: Numbers,
    tokens: int,
    own: Own,
    stage: int,
) -> None:
    """mixed = each head's attention over the tokens that are seen; `scales` multiply the tokens' queries [T]."""
    if in_lanes(places, tokens):
        attend_sixteens(s, places, row, turns, scales, numbers, tokens, own, stage)
        return
    dim, heads = numbers.head_dim, numbers.n_heads
    group = heads // numbers.n_kv_heads  # heads that share keys and values
    share = group if tokens * numbers.n_kv_heads >= _FEW_PIECES else 1  # of them, that a thread takes at once
    pieces = tokens * heads // share
    piece = next_piece(stage)
    while piece < pieces:
        token, first = piece * share // heads, piece * share % heads
        cache = places[token]
        place = row_bytes(dim, numbers.quantized) * cache[CAPACITY] * (first // group)
        keys, values = cache[KEYS] + place, cache[VALUES] + place
        for head in range(first, first + share):
            query = token * row + head * dim
            rotate(
                s.qkv[query : query + dim],
                turns[token, 0],
                turns[token, 1],
                numbers.neighbours,
                scales[token],
                own.head,
            )
            at = (token * heads + head) * dim
            is_new, out = np.int64(head == first), address(s.mixed) + 4 * at
            args = address(own.head), keys, values, is_new, cache[SEEN], dim, address(own.scores), out
            call(numbers.attend, args)
        finish_piece(stage)
        piece = next_piece(stage)
    wait_until_done(stage, pieces)


@kernel
def add_product(
    matrix: Matrix, vectors: np.ndarray, x: np.ndarray, dim: int, tokens: int, own: Own, stage: int
) -> None:
    """x += matrix · vectors."""
    pieces = pieces_of(matrix)
    if has_pieces(stage, pieces):
        a = Vectors(vectors, own.n, own.u, own.v)
        prepare(matrix, a, 0, tokens)
        piece = next_piece(stage)
        while piece < pieces:
            begin, end = rows_of_piece(matrix, piece)
            for first in range(0, tokens, TOKENS):
                for row in range(begin, end, ROWS):
                    multiply(matrix, row, a, first, tokens > 1, address(own.tiles), ROWS)
                    for token in range(first, min(first + TOKENS, tokens)):
                        for number in range(min(ROWS, dim - row)):
                            x[token * dim + row + number] += own.tiles[(token - first) * ROWS + number]
            finish_piece(stage)
            piece = next_piece(stage)
    wait_until_done(stage, pieces)


@kernel
def gate_tiles(
    w1: Matrix, w3: Matrix, part: int, row: int, a: Vectors, token: int, several: bool, tiles: np.ndarray
) -> None:
    """silu(w1 x) w3 x for 16 rows and one token's vector, or four → the first half of tiles [2, tokens, 16]."""
    first, second = address(tiles), address(tiles) + 4 * TOKENS * ROWS
    multiply(w1, part * w1.rows + row, a, token, several, first, ROWS)
    multiply(w3, part * w3.rows + row, a, token, several, second, ROWS)
    for number in range(TOKENS if several else 1):
        gate(first + 4 * number * ROWS, second + 4 * number * ROWS, first + 4 * number * ROWS)


@kernel
def open_gates(
    s: Workspace, w1: Matrix, w3: Matrix, weight: np.ndarray, numbers: Numbers, tokens: int, own: Own, stage: int
) -> None:
    """hidden = silu(w1 norm(x)) w3 norm(x)."""
    pieces, width = pieces_of(w1), numbers.hidden
    if has_pieces(stage, pieces):
        a = norm(s, weight, numbers, tokens, own)
        prepare(w1, a, 0, tokens)
        piece = next_piece(stage)
        while piece < pieces:
            begin, end = rows_of_piece(w1, piece)
            for first in range(0, tokens, TOKENS):
                for row in range(begin, end, ROWS):
                    gate_tiles(w1, w3, 0, row, a, first, tokens > 1, own.tiles)
                    for token in range(first, min(first + TOKENS, tokens)):
                        for number in range(min(ROWS, width - row)):
                            s.hidden[token * width + row + number] = own.tiles[(token - first) * ROWS + number]
            finish_piece(stage)
            piece = next_piece(stage)
    wait_until_done(stage, pieces)
