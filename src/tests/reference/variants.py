#!/usr/bin/env python3
"""JPEGs of every kind out of one photograph, each with what the Python pipeline makes of it.

    variants.py PHOTOGRAPH OUT     writes OUT/<name>.jpg and OUT/<name>.rgb (height x width x 3, as the default model takes it)
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "models"))
import reference  # noqa: E402

MODELS = Path(reference.__file__).parent
KINDS = {
    "444": {"subsampling": "4:4:4"},
    "422": {"subsampling": "4:2:2"},
    "420": {"subsampling": "4:2:0"},
    "optimized": {"optimize": True, "quality": 60},
    "coarse": {"quality": 20},
    "fine": {"quality": 98},
    "restarts": {"restart_marker_blocks": 7},
    "restart-rows": {"restart_marker_rows": 1, "subsampling": "4:2:2"},
    "progressive": {"progressive": True},
}
# an eighth, a quarter, a half, and whole; with sides that fill no block
SIZES = [(4001, 3003), (2243, 3997), (1403, 1051), (777, 1033), (640, 480), (301, 523)]


def main(photograph: Path, out: Path) -> None:
    spec = reference.manifest(MODELS / "efficientnet-lite0.toml")["input"]
    image = Image.open(photograph).convert("RGB")
    for size in SIZES:
        large = image.resize(size, Image.Resampling.BICUBIC)
        for name, options in KINDS.items():
            write(out / f"{size[0]}-{name}.jpg", large, spec, options)
        write(out / f"{size[0]}-grey.jpg", large.convert("L"), spec, {})
        write(out / f"{size[0]}-cmyk.jpg", large.convert("CMYK"), spec, {})


def write(path: Path, image: Image.Image, spec: dict, options: dict) -> None:
    image.save(path, **{"quality": 90, **options})
    np.ascontiguousarray(reference.pixels(path.read_bytes(), spec)).tofile(path.with_suffix(".rgb"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
