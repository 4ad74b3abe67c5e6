#!/usr/bin/env python3
"""Measures the ranges of activations that the int8 graphs store, and writes calibration-VARIANT.json.

    calibrate.py VARIANT WEIGHTS_FOLDER PHOTOGRAPHS_FOLDER

Runs the fp32 graph over a folder of photographs with a labels.tsv. The file written says which photographs those were.
Needs onnx, onnxruntime, numpy and Pillow; then run build_graphs.py.
"""

import argparse
import hashlib
import json
import re
import tempfile
from pathlib import Path

import numpy as np
import onnx

import build_graphs
import efficientnet
import reference
import torch_file

# A range ends at the mean of so many of the largest values that single photographs reach: one odd photograph does not
# make the steps coarse for all others.
EXTREMES = 10


def fp32_with_activations(variant: str) -> tuple[onnx.ModelProto, dict[str, str]]:
    """The graph with every activation as an output too, and the outputs' names by activation."""
    tensors = torch_file.load_table(build_graphs.tensor_table(variant).read_text())
    writer = efficientnet.Float(efficientnet.VARIANTS[variant], tensors, build_graphs.WEIGHTS[variant])
    model = efficientnet.build(writer, f"efficientnet-{variant}-calibration")
    for value in writer.ranges.values():
        model.graph.output.append(onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None))
    return model, writer.ranges


def measure(variant: str, weights: Path, photographs: list[reference.Photograph], extremes: int = EXTREMES) -> dict:
    """Lowest and highest value of every activation."""
    model, names = fp32_with_activations(variant)
    spec = reference.manifest(build_graphs.HERE / f"efficientnet-{variant}-fp32.toml")["input"]
    # The engine reads external data only from the graph's own folder.
    with tempfile.NamedTemporaryFile(dir=weights, suffix=".onnx") as file:
        file.write(model.SerializeToString())
        file.flush()
        session = reference.session(Path(file.name))
    seen = []
    for photograph in photographs:
        image = reference.tensor(reference.pixels(photograph.read(), spec), spec)
        values = session.run(list(names.values()), {"image": image})
        seen.append([(float(v.min()), float(v.max())) for v in values])
    lows, highs = np.sort(np.array(seen), axis=0).transpose(2, 1, 0)
    rounded = lambda value: float(f"{value:.6g}")
    ranges = {
        name: [rounded(low[:extremes].mean()), rounded(high[-extremes:].mean())]
        for name, low, high in zip(names, lows, highs, strict=True)
    }
    black, white = ((np.array([0.0, 255.0]) - spec["mean"][0]) / spec["std"][0]).tolist()
    return {"image": [black, white], **ranges}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("variant", choices=efficientnet.VARIANTS)
    parser.add_argument("weights", type=Path, help="folder of the .pth")
    parser.add_argument("photographs", type=Path, help="folder with labels.tsv")
    arguments = parser.parse_args()
    used = reference.photographs(arguments.photographs)
    content = {
        "what": "activation ranges of the fp32 graph, [lowest, highest]; written by calibrate.py",
        "rule": f"mean of the {EXTREMES} lowest minima and of the {EXTREMES} highest maxima of single photographs",
        "photographs": {p.path.name: hashlib.sha256(p.read()).hexdigest() for p in used},
        "ranges": measure(arguments.variant, arguments.weights, used),
    }
    target = build_graphs.calibration(arguments.variant)
    # An entry a line: json would spread a pair over four.
    text = re.sub(r"\[\s+(\S+)\s+(\S+)\s+\]", r"[\1 \2]", json.dumps(content, indent=1))
    target.write_text(text + "\n")
    print(f"{target.name}: {len(content['ranges'])} ranges over {len(used)} photographs")


if __name__ == "__main__":
    main()
