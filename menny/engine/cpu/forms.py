"""The tiles of every form that a matrix can have, compiled when they are first needed."""

from functools import cache

import numba

from menny.engine.cpu import plain_tile, quantized_tile
from menny.engine.cpu.compiling import is_kept
from menny.engine.cpu.tiles import SIGNATURE

TILES = {
    "4 bits": (quantized_tile.four_bits, quantized_tile.four_bits_of_four),
    "8 bits": (quantized_tile.eight_bits, quantized_tile.eight_bits_of_four),
    "bfloat16": (plain_tile.bfloat16, plain_tile.bfloat16_of_four),
    "float16": (plain_tile.float16, plain_tile.float16_of_four),
    "float32": (plain_tile.float32, plain_tile.float32_of_four),
}


@cache
def tile_addresses(form: str) -> tuple[int, int]:
    """Where the machine code of a form's two tiles lies: for one vector, and for four."""
    one, four = (numba.cfunc(SIGNATURE, cache=is_kept())(tile).address for tile in TILES[form])
    return int(one), int(four)
