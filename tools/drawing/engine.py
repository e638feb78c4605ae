"""The drawings of docs/engine.md. Masks come from the engine's own caches, so that they can't differ from the code."""

from drawing.shapes import (
    AMBER,
    DUSK,
    FOAM,
    HAZE,
    INK,
    MIST,
    ORANGE,
    PERI,
    SEA,
    Point,
    arrow,
    caption,
    code,
    sheet,
    squares,
    stroke,
    tile,
    words,
)
from menny.engine.cache import RollingCache

import mlx.core as mx  # isort: skip
from itertools import pairwise

from drawing.shapes import BUTTER, box, circle

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


def one_block() -> str:
    """A block from left to right, with what it adds to."""
    y = 120
    parts = [stroke(f"M40 {y}H850", DUSK, 3)]
    steps = [(88, 88, "RMSNorm", HAZE), (192, 88, "wq wk wv", AMBER), (284, 64, "RoPE", MIST)]
    steps += [(386, 104, "attention", ORANGE), (480, 50, "wo", AMBER)]
    for x, width, said, fill in steps:
        parts.append(tile((x, y + 90), (width, 44), fill, said))
    for (x, width, *_), (following, wide, *_) in pairwise(steps):
        parts.append(arrow([(x + width / 2 + 2, y + 90), (following - wide / 2 - 3, y + 90)]))
    parts += [tile((386, y + 168), (108, 40), FOAM, "cache"), arrow([(374, y + 114), (374, y + 146)])]
    parts.append(arrow([(398, y + 146), (398, y + 114)]))
    parts += [tile((622, y + 90), (88, 44), HAZE, "RMSNorm"), tile((744, y + 90), (120, 44), AMBER, "feed-forward")]
    parts += [arrow([(668, y + 90), (682, y + 90)]), arrow([(88, y), (88, y + 66)]), arrow([(622, y), (622, y + 66)])]
    parts += [
        arrow([(508, y + 90), (536, y + 90), (536, y + 14)]),
        arrow([(806, y + 90), (826, y + 90), (826, y + 14)]),
    ]
    for x in (536, 826):
        parts += [circle((x, y), 13, BUTTER), words((x, y - 1), "+", 18)]
    parts += [code((60, y - 24), "x", 15), words((250, y - 24), "the residual stream  [B, L, dim]", 14, DUSK)]
    parts.append(words((744, y + 146), "SwiGLU, or 2 of 8 experts", 14, DUSK))
    parts.append(code((230, y + 138), "[B, H + 2K, L, D]", 13))
    parts.append(words((440, 40), "Block.__call__", 16, INK, bold=True))
    return sheet(330, "One block: attention, then the feed-forward, each on the normed input and added to it", *parts)


def experts() -> str:
    """Three tokens, eight experts, two each; and how their rows are put together."""
    chosen = ((1, 4), (4, 6), (1, 2))
    fills, parts = (AMBER, FOAM, MIST), []
    for token, picks in enumerate(chosen):
        y = 70 + 80 * token
        parts.append(tile((90, y), (96, 44), fills[token], f"token {token}"))
        for end in (34 + 36 * expert for expert in picks):
            parts += [stroke(f"M140 {y}C210 {y} 240 {end} 296 {end}", fills[token], 3)]
    used = {expert for picks in chosen for expert in picks}
    for expert in range(8):
        y = 34 + 36 * expert
        parts.append(tile((350, y), (104, 28), ORANGE if expert in used else HAZE, f"expert {expert}", letters=13))
    rows = sorted((expert, token) for token, picks in enumerate(chosen) for expert in picks)
    for place, (expert, token) in enumerate(rows):
        y = 70 + 36 * place
        parts.append(tile((560, y), (84, 28), fills[token], f"row of {token}", letters=13))
        parts.append(code((618, y), f"→ expert {expert}", 13, anchor="start"))
    parts.append(words((600, 34), "sorted: an expert's rows lie together", 14, DUSK))
    parts.append(caption(324, "y = Σ softmax(top-2 logits)ᵢ · SwiGLUᵢ(x): after the choice, so the shares sum to 1"))
    parts.append(words((770, 160), "one gather_mm", 14, DUSK))
    parts.append(words((770, 180), "for all of them", 14, DUSK))
    return sheet(354, "A mixture of experts: each token goes through the two that its gate picks", *parts)


def pipelined_decoding() -> str:
    """The machine and Python side by side."""
    parts = [words((40, 70), "machine", 15, DUSK, "start"), words((40, 140), "Python", 15, DUSK, "start")]
    for step in range(5):
        x = 130 + 140 * step
        parts.append(tile((x + 66, 70), (128, 44), (ORANGE, AMBER)[step % 2], f"pass {step}"))
        if step < 4:
            parts.append(tile((x + 186, 140), (92, 40), FOAM, f"text of {step}"))
            parts.append(arrow([(x + 128, 94), (x + 146, 118)]))
    parts.append(
        caption(198, "Pass n + 1 takes token n as an array that nobody has read yet, so it can be queued before.")
    )
    return sheet(228, "The next pass is queued before the current token is read", *parts)


def quantized_group() -> str:
    """A row of weights in groups."""
    fills = [[(AMBER, FOAM, MIST, BUTTER)[place // 8] for place in range(32)]]
    parts = [squares((56, 60), 24, fills), words((440, 38), "one row of weights, in groups of 32 or 64", 14, DUSK)]
    for group, fill in enumerate((AMBER, FOAM, MIST, BUTTER)):
        x = 56 + 24 * (8 * group + 4)
        parts.append(arrow([(x, 92), (x, 118)]))
        parts.append(box((x, 144), (170, 44), 9, fill))
        parts.append(code((x, 137), "q₀ q₁ … q₃₁", 13, INK))
        parts.append(code((x, 154), "scale, bias", 13, INK))
    parts.append(
        caption(200, "w ≈ scale · q + bias.  With 4 bits, 16 values from a group's least weight to its largest.")
    )
    return sheet(230, "Affine quantization: each group of weights shares a scale and a bias", *parts)


def prompt_lookup() -> str:
    """A reply that quotes."""
    before = ["the", "tower", "kept", "the", "fire", "high", "and", "dry"]
    parts = [words((40, 62), "prompt", 15, DUSK, "start"), words((40, 152), "reply", 15, DUSK, "start")]
    for place, said in enumerate(before):
        fill = FOAM if place in (1, 2, 3) else MIST if place > 3 else HAZE
        parts.append(tile((160 + 86 * place, 62), (78, 42), fill, said))
    for place, said in enumerate(before[1:]):
        fill = FOAM if place < 3 else AMBER
        parts.append(tile((246 + 86 * place, 152), (78, 42), fill, said))
    parts.append(arrow([(675, 86), (675, 128)], PERI, dashed=True))
    parts.append(words((330, 200), "the last three tokens stood there before …", 14, SEA))
    parts.append(words((675, 200), "… so these are the draft", 14, "#a86a00"))
    parts.append(caption(240, "One pass computes all of them; the reply keeps what the model itself would have said."))
    return sheet(270, "Prompt lookup: what followed the same words before is a draft of what follows now", *parts)


def stages() -> str:
    """Two machines."""
    parts = []
    for rank, (x, said) in enumerate([(230, "blocks 0 … 15"), (650, "blocks 16 … 31")]):
        parts.append(box((x, 120), (330, 150), 14, HAZE))
        parts.append(words((x, 66), f"rank {rank}", 15, DUSK, bold=True))
        parts.append(tile((x, 112), (170, 46), AMBER, said))
        parts.append(tile((x, 168), (170, 36), FOAM, "cache of these", letters=14))
    parts += [tile((104, 112), (64, 46), MIST, "embed"), arrow([(137, 112), (143, 112)])]
    parts += [tile((776, 112), (64, 46), MIST, "output"), arrow([(736, 112), (742, 112)])]
    parts += [arrow([(316, 112), (562, 112)], ORANGE, 3.5), code((440, 94), "[B, L, dim]", 13)]
    parts += [
        arrow([(776, 137), (776, 222), (104, 222), (104, 137)], PERI, 3),
        words((440, 244), "logits: rank 0 samples, decodes and prints", 14, DUSK),
    ]
    return sheet(276, "A model in two stages: hidden states go on, logits come back", *parts)
