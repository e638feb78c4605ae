"""Cuts a GGUF into several files, as hubs serve large ones: `python -m tools.split_gguf SOURCE FOLDER [--parts 3]`.

The gguf package, llama.cpp's own, reads and writes; the files are named NAME-00001-of-00003.gguf and so on.
"""

import argparse
from pathlib import Path

from gguf import GGUFReader, GGUFValueType, GGUFWriter


def split(source: Path, folder: Path, parts: int = 3) -> list[Path]:
    """Write the parts into a folder, in order."""
    reader = GGUFReader(source)
    architecture = reader.fields["general.architecture"].contents()
    per_part = -(-len(reader.tensors) // parts)
    writer = GGUFWriter(folder / source.name, architecture, split_max_tensors=per_part)
    for name, field in reader.fields.items():
        if name == "general.architecture" or name.startswith("GGUF."):
            continue
        kind = field.types[0]
        items = field.types[-1] if kind == GGUFValueType.ARRAY else None
        writer.add_key_value(name, field.contents(), kind, items)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_shape=tensor.data.shape, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(folder.glob(f"{source.stem}-*-of-*.gguf"))


def main() -> None:
    """Split the file named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", type=int, default=3)
    chosen = parser.parse_args()
    for part in split(chosen.source, chosen.folder, chosen.parts):
        print(part)


if __name__ == "__main__":
    main()
