#!/usr/bin/env python3
"""Writes the EfficientNet-Lite graphs of this folder, byte for byte the same every time.

    build_graphs.py                   writes them
    build_graphs.py --check           compares them with a rebuild and writes nothing
    build_graphs.py --weights FOLDER  reads the tables of tensors anew from the .pth files in FOLDER first
                                      (with --check: compares them too)

Needs Python 3.11 and onnx; the weights themselves are not needed, the tables tensors-*.tsv say where they lie.
"""

import argparse
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import efficientnet
import torch_file

HERE = Path(__file__).resolve().parent

# The file of weights that each variant's graphs point into, unmodified, as its package installs it.
WEIGHTS = {"lite0": "efficientnet-lite0-57934424.pth", "lite2": "efficientnet-lite2-9656183e.pth"}

# With AVX2 and without VNNI an engine adds two products of uint8 and int8 in 16 bits, where 2 x 255 x 127 saturates and
# 2 x 255 x 64 does not: with seven bits every CPU adds to the same sums.
SEVEN_BITS, EIGHT_BITS = 64, 127


@dataclass(frozen=True)
class Graph:
    name: str
    variant: str
    weight_max: int | None = None  # none: not quantized


GRAPHS = [
    Graph("efficientnet-lite0", "lite0", SEVEN_BITS),
    Graph("efficientnet-lite0-int8", "lite0", EIGHT_BITS),
    Graph("efficientnet-lite0-fp32", "lite0"),
    Graph("efficientnet-lite2", "lite2", SEVEN_BITS),
    Graph("efficientnet-lite2-fp32", "lite2"),
]


def tensor_table(variant: str) -> Path:
    return HERE / f"tensors-{variant}.tsv"


def calibration(variant: str) -> Path:
    return HERE / f"calibration-{variant}.json"


def build(graph: Graph, offset: int = 0) -> bytes:
    tensors = torch_file.load_table(tensor_table(graph.variant).read_text())
    arguments = (efficientnet.VARIANTS[graph.variant], tensors, WEIGHTS[graph.variant])
    if graph.weight_max is None:
        writer = efficientnet.Float(*arguments)
    else:
        ranges = json.loads(calibration(graph.variant).read_text())["ranges"]
        writer = efficientnet.Quantized(*arguments, ranges=ranges, weight_max=graph.weight_max, offset=offset)
    return efficientnet.build(writer, graph.name).SerializeToString(deterministic=True)


def put(path: Path, content: bytes, check: bool) -> bool:
    """Writes a file, or says whether it is as it should be."""
    same = path.is_file() and path.read_bytes() == content
    if not check and not same:
        path.write_bytes(content)
    print(f"{path.name}: {'as built' if same else 'DIFFERS from a rebuild' if check else 'written'}")
    return same or not check


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--weights", type=Path, metavar="FOLDER")
    arguments = parser.parse_args()
    good = True
    for variant, file in WEIGHTS.items() if arguments.weights else ():
        table = torch_file.dump_table(torch_file.read(arguments.weights / file))
        good &= put(tensor_table(variant), table.encode(), arguments.check)
    for graph in GRAPHS:
        good &= put(HERE / f"{graph.name}.onnx", build(graph), arguments.check)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
