"""A manifest, and what it says done with Pillow, numpy and ONNX Runtime: the reference for the Rust code.

Kept plain on purpose. The Rust side does the same by other means (other decoders, another resizer), and tests hold the
two against each other.
"""

import csv
import io
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps


def manifest(path: Path) -> dict:
    return tomllib.loads(path.read_text())


def source_box(width: int, height: int, short: int, size: list[int]) -> tuple[float, float, float, float]:
    """The part of an image that is seen: short side to `short`, the other floored, and of that the centre.

    Resizing just this box gives the same pixels as resizing the whole and cropping, also of an image 1 x 100,000.
    """
    wide, high = short, short
    if width < height:
        high = short * height // width
    else:
        wide = short * width // height
    left, top = round((wide - size[1]) / 2), round((high - size[0]) / 2)
    x, y = width / wide, height / high
    return left * x, top * y, (left + size[1]) * x, (top + size[0]) * y


def decode(photograph: bytes) -> Image.Image:
    """The image as a person would see it, RGB."""
    return ImageOps.exif_transpose(Image.open(io.BytesIO(photograph))).convert("RGB")


def resize(image: Image.Image, spec: dict) -> np.ndarray:
    """RGB of 0..255, height x width x 3, of the size that the [input] table asks for."""
    if spec["resize"] == "none":
        return np.asarray(image)
    height, width = spec["size"]
    box = None
    if "short" in spec["resize"]:
        box = source_box(*image.size, spec["resize"]["short"], spec["size"])
    # Pillow's bilinear is antialiased: its support grows with the scale.
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR, box=box))


def pixels(photograph: bytes, spec: dict) -> np.ndarray:
    return resize(decode(photograph), spec)


def tensor(rgb: np.ndarray, spec: dict) -> np.ndarray:
    """The graph's input, batch 1. `mean` and `std` are in the order R, G, B whatever `channels` is."""
    values = (rgb.astype(np.float32) - np.float32(spec["mean"])) / np.float32(spec["std"])
    if spec["channels"] == "bgr":
        values = values[..., ::-1]
    if spec["layout"] == "nchw":
        values = values.transpose(2, 0, 1)
    return np.ascontiguousarray(values[None])


def probabilities(output: np.ndarray, kind: str) -> np.ndarray:
    values = output.reshape(-1).astype(np.float64)
    if kind == "probabilities":
        return values
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def session(graph: Path | bytes, threads: int = 1):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    source = graph if isinstance(graph, bytes) else str(graph)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


class Model:
    """A manifest and its graph, ready to classify."""

    def __init__(self, manifest_path: Path, graph: Path | None = None):
        self.manifest = manifest(manifest_path)
        self.session = session(graph or manifest_path.parent / self.manifest["graph"]["file"])

    def infer(self, rgb: np.ndarray) -> np.ndarray:
        spec, output = self.manifest["input"], self.manifest["output"]
        (values,) = self.session.run([output["name"]], {spec["name"]: tensor(rgb, spec)})
        return probabilities(values, output["kind"])

    def classify(self, photograph: bytes) -> np.ndarray:
        """A probability a class."""
        return self.infer(pixels(photograph, self.manifest["input"]))


@dataclass(frozen=True)
class Photograph:
    path: Path
    index: int  # of its class

    def read(self) -> bytes:
        return self.path.read_bytes()


def photographs(folder: Path) -> list[Photograph]:
    """Those of a folder's labels.tsv (columns `file` and `class_index` at least), in the order of their names."""
    with (folder / "labels.tsv").open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return sorted((Photograph(folder / r["file"], int(r["class_index"])) for r in rows), key=lambda p: p.path.name)
