#!/usr/bin/env python3
"""Writes fixture-colours.onnx and its labels: which of eight colours covers most of an image. For tests only.

    make_fixture.py           writes them
    make_fixture.py --check   compares them with a rebuild and writes nothing

Every pixel votes for the corner of the RGB cube that is nearest to it; the logits are the shares of the votes.
"""

import argparse
import sys

from onnx import TensorProto, helper

import build_graphs
from efficientnet import IR_VERSION, OPSET

SIDE = 32
COLOURS = {
    "black": (-1, -1, -1),
    "white": (1, 1, 1),
    "red": (1, -1, -1),
    "green": (-1, 1, -1),
    "blue": (-1, -1, 1),
    "yellow": (1, 1, -1),
    "cyan": (-1, 1, 1),
    "magenta": (1, -1, 1),
}
# A pixel of a pure colour gives nearly its whole vote to it; an image of one colour has it at a probability of 0.999.
DECISIVENESS, LOGIT_OF_ALL = 4.0, 9.0


def build() -> bytes:
    number = len(COLOURS)
    corners = [DECISIVENESS * value for corner in COLOURS.values() for value in corner]
    nodes = [
        helper.make_node("Conv", ["image", "corners"], ["nearness"], name="nearness"),
        helper.make_node("Softmax", ["nearness"], ["votes"], name="votes", axis=1),
        helper.make_node("GlobalAveragePool", ["votes"], ["shares"], name="shares"),
        helper.make_node("Flatten", ["shares"], ["row"], name="row", axis=1),
        helper.make_node("Mul", ["row", "logit_of_all"], ["logits"], name="logits"),
    ]
    weights = [
        helper.make_tensor("corners", TensorProto.FLOAT, [number, 3, 1, 1], corners),
        helper.make_tensor("logit_of_all", TensorProto.FLOAT, [], [LOGIT_OF_ALL]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIDE, SIDE])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, number])
    graph = helper.make_graph(nodes, "fixture-colours", [image], [logits], initializer=weights)
    opset = helper.make_opsetid("", OPSET)
    model = helper.make_model(graph, opset_imports=[opset], producer_name="bellows", ir_version=IR_VERSION)
    return model.SerializeToString(deterministic=True)


def write(check: bool) -> bool:
    files = {"fixture-colours.onnx": build(), "fixture-colours.txt": "".join(f"{c}\n" for c in COLOURS).encode()}
    return all([build_graphs.put(build_graphs.HERE / name, content, check) for name, content in files.items()])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    sys.exit(0 if write(parser.parse_args().check) else 1)
