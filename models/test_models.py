#!/usr/bin/env python3
"""Checks this folder: graphs against a rebuild, manifests against graphs and, where they are given, the weights.

    test_models.py [--weights FOLDER] [--photographs FOLDER]

FOLDER of weights: with the .pth files that the manifests name. FOLDER of photographs: with a labels.tsv. Needs numpy and
onnx; with the folders onnxruntime and Pillow too.
"""

import argparse
import hashlib
import re
import sys
import tempfile
import tomllib
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx

import build_graphs
import make_fixture

HERE = build_graphs.HERE
# Of 100 photographs; what each graph reached when it was made stands in its manifest.
TOP1_AT_LEAST = {"lite0": 86, "lite2": 87}
PLACEHOLDER = "0" * 64  # the sha256 of a graph that a person brings

TABLES = {
    "": ({"name", "licence", "labels", "graph", "input", "output"}, {"weights", "accuracy", "requires"}),
    "graph": ({"file", "sha256"}, {"url", "bytes"}),
    "input": ({"name", "layout", "channels", "resize", "crop", "mean", "std"}, {"size"}),
    "output": ({"name", "kind"}, set()),
    "accuracy": (set(), {"top1", "top5", "on"}),
    "requires": (set(), {"cpu"}),
}
PACKAGE = {"package", "version", "wheel_sha256", "wheel_bytes", "member", "member_sha256", "member_bytes"}
CHOICES = {
    ("input", "layout"): {"nchw", "nhwc"},
    ("input", "channels"): {"rgb", "bgr"},
    ("input", "crop"): {"centre", "none"},
    ("output", "kind"): {"logits", "probabilities"},
    ("requires", "cpu"): {"vnni"},
}


class Skipped(Exception):
    """What a check needs is not here."""


def manifests() -> dict[Path, dict]:
    folders = (HERE, HERE.parent / "src" / "tests" / "manifests")
    paths = sorted(path for folder in folders for path in folder.glob("*.toml") if path.name != "engine.toml")
    return {path: tomllib.loads(path.read_text()) for path in paths}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def graphs_equal_a_rebuild() -> None:
    for graph in build_graphs.GRAPHS:
        path = HERE / f"{graph.name}.onnx"
        assert build_graphs.put(path, build_graphs.build(graph), check=True), f"run build_graphs.py for {path.name}"
    assert make_fixture.write(check=True), "run make_fixture.py"


def manifests_have_the_format() -> None:
    for path, manifest in manifests().items():
        assert manifest["name"] == path.stem, f"{path.name} is named {manifest['name']}"
        for table, (required, optional) in TABLES.items():
            content = manifest if table == "" else manifest.get(table, {} if not required else None)
            missing, unknown = required - content.keys(), content.keys() - required - optional
            assert not missing and not unknown, f"{path.name} [{table}]: lacks {missing}, has {unknown}"
        for (table, key), choices in CHOICES.items():
            value = manifest.get(table, {}).get(key)
            assert value is None or value in choices, f"{path.name} [{table}] {key} = {value}"
        digests = [manifest["graph"]["sha256"]]
        if weights := manifest.get("weights"):
            assert weights.keys() == PACKAGE, f"{path.name} [weights] has {weights.keys()}"
            digests += [weights["wheel_sha256"], weights["member_sha256"]]
        assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests), path.name
        sized, resize = manifest["input"].get("size"), manifest["input"]["resize"]
        assert resize == "none" or sized, f"{path.name}: what is resized needs a size"
        assert manifest["input"]["crop"] == ("centre" if "short" in resize else "none"), path.name


def every_graph_here_is_what_its_manifest_says() -> None:
    for path, manifest in manifests().items():
        named, graph = manifest["graph"], path.parent / manifest["graph"]["file"]
        if not graph.exists():
            brought = "url" in named or named["sha256"] == PLACEHOLDER or path.parent != HERE
            assert brought, f"{graph.name} is missing"
            continue
        assert sha256(graph) == named["sha256"], f"{path.name}: sha256 of {graph.name} is {sha256(graph)}"
        assert graph.stat().st_size == named["bytes"], f"{path.name}: {graph.name} has {graph.stat().st_size} bytes"
        model = onnx.load(graph, load_external_data=False)
        shape = lambda value: [d.dim_value for d in value.type.tensor_type.shape.dim]
        (image,), (output,) = model.graph.input, model.graph.output
        assert (image.name, output.name) == (manifest["input"]["name"], manifest["output"]["name"]), path.name
        assert shape(image) == [1, 3, *manifest["input"]["size"]], path.name
        labels = (path.parent / manifest["labels"]).read_text().splitlines()
        assert shape(output) == [1, len(labels)], f"{path.name}: {len(labels)} labels"
        external_data_lies_in(model, manifest.get("weights"), path)


def external_data_lies_in(model: onnx.ModelProto, weights: dict | None, path: Path) -> None:
    for tensor in model.graph.initializer:
        place = {entry.key: entry.value for entry in tensor.external_data}
        if not place:
            continue
        assert weights, f"{path.name} has no [weights], its graph has"
        end = int(place["offset"]) + int(place["length"])
        assert int(place["length"]) == 4 * np.prod(tensor.dims), f"{path.name}: {tensor.name}"
        assert place["location"] == weights["member"].split("/")[-1] and end <= weights["member_bytes"], path.name


def labels_are_first_names() -> None:
    for path in HERE.glob("*.txt"):
        if path.name == "requirements.txt":
            continue
        labels = path.read_text().splitlines()
        assert all(label and label == label.strip() and "," not in label for label in labels), path.name
    assert len((HERE / "imagenet-labels.txt").read_text().splitlines()) == 1000


def engine_is_pinned_for_three_platforms() -> None:
    engine = tomllib.loads((HERE / "engine.toml").read_text())
    platforms = {(p["os"], p["arch"]) for p in engine["platforms"]}
    assert platforms == {("linux", "x86_64"), ("linux", "aarch64"), ("macos", "aarch64")}, platforms
    for platform in engine["platforms"]:
        assert engine["version"] in platform["member"], platform["member"]
        assert all(re.fullmatch("[0-9a-f]{64}", platform[key]) for key in ("wheel_sha256", "member_sha256"))


def weights_are_the_pinned_ones(folder: Path) -> None:
    found = 0
    for path, manifest in manifests().items():
        if weights := manifest.get("weights"):
            file = folder / weights["member"].split("/")[-1]
            if file.exists():
                found += 1
                assert file.stat().st_size == weights["member_bytes"], path.name
                assert sha256(file) == weights["member_sha256"], path.name
    if not found:
        raise Skipped("none of the files is in the folder")


def fixture_knows_its_colours() -> None:
    try:
        import reference
    except ImportError as missing:
        raise Skipped(missing.name) from missing
    model = reference.Model(HERE / "fixture-colours.toml")
    for index, corner in enumerate(make_fixture.COLOURS.values()):
        rgb = np.full((make_fixture.SIDE, make_fixture.SIDE, 3), (np.array(corner) + 1) * 255 // 2)
        rgb[: make_fixture.SIDE // 4] = 128  # a quarter of grey changes no answer
        assert model.infer(rgb).argmax() == index, corner
        assert model.infer(np.broadcast_to(rgb[-1:], rgb.shape)).max() > 0.9, corner


def run_over(graph: build_graphs.Graph, weights: Path, photographs: Path, offset: int = 0) -> np.ndarray:
    """Logits of every photograph, in the order of their names. The engine reads weights only beside the graph."""
    import reference

    if not (weights / build_graphs.WEIGHTS[graph.variant]).exists():
        raise Skipped(build_graphs.WEIGHTS[graph.variant])
    spec = reference.manifest(HERE / f"{graph.name}.toml")["input"]
    with tempfile.NamedTemporaryFile(dir=weights, suffix=".onnx") as file:
        file.write(build_graphs.build(graph, offset))
        file.flush()
        session = reference.session(Path(file.name))
    inputs = (reference.tensor(reference.pixels(p.read(), spec), spec) for p in reference.photographs(photographs))
    return np.concatenate([session.run(None, {spec["name"]: image})[0] for image in inputs])


def photographs_get_their_labels(weights: Path, photographs: Path) -> None:
    import reference

    classes = np.array([p.index for p in reference.photographs(photographs)])
    for graph in build_graphs.GRAPHS:
        best = np.argsort(-run_over(graph, weights, photographs), axis=1)
        top1, top5 = (int((best[:, :n] == classes[:, None]).any(1).sum()) for n in (1, 5))
        print(f"{graph.name}: top-1 {top1}, top-5 {top5} of {len(classes)}")
        needs_vnni = graph.weight_max == build_graphs.EIGHT_BITS
        least = TOP1_AT_LEAST[graph.variant] * len(classes) / 100
        assert top1 >= least or needs_vnni, f"{graph.name}: expected {least:.0f}"


def seven_bits_add_without_loss(weights: Path, photographs: Path) -> None:
    """The same network with unsigned weights, which engines add in 32 bits on every CPU, gives the same logits."""
    for graph in build_graphs.GRAPHS:
        if graph.weight_max == build_graphs.SEVEN_BITS:
            signed, unsigned = (run_over(graph, weights, photographs, offset) for offset in (0, 128))
            assert np.array_equal(signed, unsigned), f"{graph.name}: up to {np.abs(signed - unsigned).max()} apart"


def run(checks: list[tuple[Callable, tuple]]) -> bool:
    passed = failed = skipped = 0
    for check, folders in checks:
        try:
            if None in folders:
                raise Skipped("no folder given")
            check(*folders)
            passed, result = passed + 1, "ok"
        except Skipped as reason:
            skipped, result = skipped + 1, f"skipped: {reason}"
        except Exception:
            traceback.print_exc()
            failed, result = failed + 1, "FAILED"
        print(f"{check.__name__.replace('_', ' ')}: {result}", flush=True)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, metavar="FOLDER")
    parser.add_argument("--photographs", type=Path, metavar="FOLDER")
    given = parser.parse_args()
    checks = [
        (graphs_equal_a_rebuild, ()),
        (manifests_have_the_format, ()),
        (every_graph_here_is_what_its_manifest_says, ()),
        (labels_are_first_names, ()),
        (engine_is_pinned_for_three_platforms, ()),
        (fixture_knows_its_colours, ()),
        (weights_are_the_pinned_ones, (given.weights,)),
        (photographs_get_their_labels, (given.weights, given.photographs)),
        (seven_bits_add_without_loss, (given.weights, given.photographs)),
    ]
    return 0 if run(checks) else 1


if __name__ == "__main__":
    sys.exit(main())
