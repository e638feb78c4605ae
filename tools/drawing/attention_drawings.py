"""Attention drawn: who shares keys, which dimensions turn together, who sees whom, and where keys and values live.

What may be seen is asked of the engine's own caches, so these drawings can't say anything else.
"""

from drawing.paper import arrow, caption, code, sheet, squares, tile, words
from drawing.shapes import AMBER, DUSK, FOAM, HAZE, INK, MIST, ORANGE, PERI, SEA, Point, stroke
from menny.engine.cache import RollingCache  # before mlx: OpenBLAS goes under it

import mlx.core as mx  # isort: skip

SEEN, PAST, UNSEEN = ORANGE, FOAM, "#efe7d6"


def grouped_queries() -> str:
    """Eight query heads, two KV heads: 32 and 8 in Mistral 7B."""
    colours = (AMBER, FOAM)
    parts = [
        words((60, 52), "queries", 15, DUSK, "start"),
        words((60, 200), "keys and values", 15, DUSK, "start"),
    ]
    for head in range(8):
        x = 235 + 75 * head
        shared = 235 + 75 * (4 * (head // 4) + 1.5)
        parts.append(tile((x, 52), (62, 44), colours[head // 4], f"q{head}"))
        parts.append(stroke(f"M{x} 78C{x} 130 {shared} 120 {shared} 172", DUSK, 2))
    for group in range(2):
        x = 235 + 75 * (4 * group + 1.5)
        parts.append(tile((x, 200), (150, 48), colours[group], f"k{group}, v{group}"))
    parts.append(caption(262, "Drawn with 8 and 2 heads; Mistral 7B has 32 and 8: a cache a quarter as large."))
    return sheet(292, "Grouped-query attention: four query heads share one head of keys and values", *parts)


def rotary_pairs() -> str:
    """The two orders of a head's dimensions."""
    pairs = (AMBER, FOAM, MIST, ORANGE)
    parts = []
    layouts = {
        "the original files, GGUF": [0, 0, 1, 1, 2, 2, 3, 3],
        "the hub's files, MLX": [0, 1, 2, 3, 0, 1, 2, 3],
    }
    for row, (name, order) in enumerate(layouts.items()):
        y = 78 + 130 * row
        parts.append(words((40, y), name, 15, DUSK, "start"))
        for place, pair in enumerate(order):
            x = 290 + 68 * place
            parts.append(tile((x, y), (58, 46), pairs[pair], f"{place}"))
            if pair in order[place + 1 :]:
                far = 290 + 68 * (place + 1 + order[place + 1 :].index(pair))
                lift = 34 if far - x < 70 else 40 + 6 * pair
                parts.append(stroke(f"M{x} {y - 24}C{x} {y - lift - 12} {far} {y - lift - 12} {far} {y - 24}", PERI, 2))
    parts.append(caption(258, "One colour, one pair: it turns by  position · θ^(−2j/D).  The rows of wq and wk are"))
    parts.append(caption(280, "permuted between the two; read in the wrong order, a model talks fluent nonsense."))
    return sheet(310, "Rotary embeddings pair neighbouring dimensions, or those half a head apart", *parts)


def visible(window: int, past: int, length: int) -> list[list[bool]]:
    """What each of `length` queries may see of the keys that the engine's cache returns after `past` tokens."""
    cache = RollingCache(window)
    if past:
        cache.update(mx.zeros((1, 1, past, 1)), mx.zeros((1, 1, past, 1)))
    mask = cache.mask(length)
    n_keys = cache.update(mx.zeros((1, 1, length, 1)), mx.zeros((1, 1, length, 1)))[0].shape[2]
    if isinstance(mask, mx.array):
        return [[bool(seen) for seen in row] for row in mask.tolist()]
    return [[key - (n_keys - length) <= query for key in range(n_keys)] for query in range(length)]


def window_mask() -> str:
    """One pass over ten tokens with a window of four, and how far layers carry."""
    side, corner = 26, (96, 66)
    rows = [[SEEN if seen else UNSEEN for seen in row] for row in visible(4, 0, 10)]
    parts = [squares(corner, side, rows), words((corner[0] + 5 * side, 38), "keys, by position", 14, DUSK)]
    parts += [code((corner[0] - 14, corner[1] + (i + 0.5) * side), str(i), 12) for i in range(10)]
    parts += [code((corner[0] + (i + 0.5) * side, corner[1] - 10), str(i), 12) for i in range(10)]
    parts.append(words((52, 340), "queries", 14, DUSK, "start"))
    for layer in range(4):
        y = 300 - 70 * layer
        parts.append(words((430, y), "tokens" if layer == 0 else f"layer {layer}", 14, DUSK, "start"))
        for place in range(10):
            reaches = 9 - 3 * (3 - layer) <= place <= 9
            parts.append(tile((510 + 36 * place, y), (28, 28), (AMBER if reaches else UNSEEN)))
    for layer in range(3):
        for reach in range(4):
            x = 510 + 36 * 9
            parts.append(stroke(f"M{x - 36 * reach} {284 - 70 * layer}L{x} {246 - 70 * layer}", PERI, 1.5))
    parts.append(words((668, 346), "After k layers a token has heard of k (W − 1) before it.", 14))
    return sheet(376, "A sliding window of four: what each token sees, and how far that carries layer by layer", *parts)


def rolling_buffer() -> str:
    """Four slots, six tokens: position i lives in slot i mod 4."""
    parts = [words((44, 42), "position i lives in slot  i mod W  (here W = 4)", 16, INK, "start", bold=True)]
    tokens = ["The", "cat", "sat", "on", "the", "mat"]
    for step in range(2, 6):
        y = 100 + 62 * (step - 2)
        parts.append(words((44, y), f"after token {step}", 15, DUSK, "start"))
        for slot in range(4):
            held = max((i for i in range(step + 1) if i % 4 == slot), default=None)
            fill = UNSEEN if held is None else ORANGE if held == step else FOAM
            said = "" if held is None else f"{held} {tokens[held]}"
            parts.append(tile((250 + 128 * slot, y), (116, 44), fill, said))
        order = " ".join(str(i) for i in range(max(0, step - 3), step + 1))
        parts.append(code((722, y), f"sees {order}", 14, anchor="start"))
    parts += [code((250 + 128 * slot, 68), f"slot {slot}", 13) for slot in range(4)]
    parts.append(caption(338, "One token attends to the slots as they lie: where a key stands is in its rotation,"))
    parts.append(caption(360, "so attention needs no order. The buffer never grows past W."))
    return sheet(390, "The rolling buffer cache: a new token takes the place of the one W before it", *parts)


def chunk_mask() -> str:
    """A chunk of five after seven tokens, with a window of four."""
    side, corner = 34, (330, 92)
    seen = visible(4, 7, 5)
    rows = [[UNSEEN if not one else PAST if key < 3 else SEEN for key, one in enumerate(row)] for row in seen]
    parts = [squares(corner, side, rows)]
    parts += [code((corner[0] + (i + 0.5) * side, corner[1] - 14), str(4 + i), 13) for i in range(8)]
    parts += [code((corner[0] - 18, corner[1] + (i + 0.5) * side), str(7 + i), 13) for i in range(5)]
    parts.append(words((corner[0] + 1.5 * side, 40), "from the cache", 14, SEA))
    parts.append(code((corner[0] + 1.5 * side, 60), "W − 1", 13, SEA))
    parts.append(words((corner[0] + 5.5 * side, 40), "the chunk itself", 14, "#c4551b"))
    parts.append(code((corner[0] + 5.5 * side, 60), "L", 13, "#c4551b"))
    parts.append(words((corner[0] - 60, corner[1] + 2.5 * side), "queries of the chunk", 14, DUSK, "end"))
    parts.append(
        caption(300, "The first W − 1 columns are the buffer in order of time. Then the chunk goes into its slots.")
    )
    return sheet(330, "Chunked prefill: a chunk sees the cached window and, causally, itself", *parts)


def prefix_reuse() -> str:
    """Two prompts of one conversation."""
    spans = {
        "turn 1": [("system", HAZE, 150), ("question 1", AMBER, 110), ("answer 1", FOAM, 150)],
        "turn 2": [
            ("system", HAZE, 150),
            ("question 1", HAZE, 110),
            ("answer 1", HAZE, 150),
            ("question 2", AMBER, 110),
        ],
    }
    parts: list[str] = []
    for row, (name, pieces) in enumerate(spans.items()):
        y, x = 60 + 84 * row, 130
        parts.append(words((40, y), name, 15, DUSK, "start"))
        for said, fill, width in pieces:
            parts.append(tile((x + width / 2, y), (width - 6, 46), fill, said))
            x += width
        if row:
            parts.append(tile((x + 60, y), (114, 46), FOAM, "answer 2"))
    parts.append(bracket((130, 188), 410, "in the cache: cached_tokens"))
    parts.append(bracket((546, 188), 98, "computed"))
    return sheet(240, "The next turn of a conversation computes only what is new", *parts)


def bracket(start: Point, width: float, said: str) -> str:
    """A brace below a span, and what it says."""
    x, y = start
    line = stroke(f"M{x} {y}v8h{width}v-8", DUSK, 2)
    return (
        line + arrow([(x + width / 2, y + 9), (x + width / 2, y + 20)]) + words((x + width / 2, y + 33), said, 14, DUSK)
    )
