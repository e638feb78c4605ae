"""Draws every picture of docs/engine.md again: `PYTHONPATH=. python tools/draw_engine.py`."""

from pathlib import Path

from drawing import engine

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"

DRAWINGS = {
    "block": engine.one_block,
    "grouped-queries": engine.grouped_queries,
    "rotary-pairs": engine.rotary_pairs,
    "window": engine.window_mask,
    "rolling-buffer": engine.rolling_buffer,
    "chunks": engine.chunk_mask,
    "experts": engine.experts,
    "quantization": engine.quantized_group,
    "decoding": engine.pipelined_decoding,
    "prefixes": engine.prefix_reuse,
    "lookup": engine.prompt_lookup,
    "stages": engine.stages,
}


def main() -> None:
    """Write all of them."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    for name, draw in DRAWINGS.items():
        (IMAGES / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    main()
