"""What the bench needs of Pillow: `large PHOTOS OUT` writes JPEGs of 12 megapixels, `time short|draft FILES…` prints the
median milliseconds of decoding, resizing and cropping each as the usual pipeline does it."""

import statistics
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image


def large(photographs: Path, out: Path) -> None:
    """Photographs as a phone takes them: 4000 x 3000, noise of a small sensor, quality 90, halved colour."""
    noise = np.random.default_rng(1)
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(photographs.glob("*.JPEG"))[::9]:
        image = Image.open(path).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC)
        grain = noise.normal(0, 6, (3000, 4000, 1)).astype(np.int16)
        pixels = (np.asarray(image).astype(np.int16) + grain).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(out / f"{path.stem}.jpg", quality=90, subsampling="4:2:0")


def crop(path: str, draft: bool) -> np.ndarray:
    image = Image.open(path)
    if draft:
        image.draft("RGB", (256, 256))
    image = image.convert("RGB")
    width, height = image.size
    size = (256, 256 * height // width) if width < height else (256 * width // height, 256)
    left, top = round((size[0] - 224) / 2), round((size[1] - 224) / 2)
    image = image.resize(size, Image.Resampling.BILINEAR).crop((left, top, left + 224, top + 224))
    return np.asarray(image)


def median(path: str, draft: bool) -> float:
    times = []
    for _ in range(5):
        start = time.perf_counter()
        crop(path, draft)
        times.append(time.perf_counter() - start)
    return statistics.median(times) * 1e3


if __name__ == "__main__":
    if sys.argv[1] == "large":
        large(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        print(statistics.median(median(path, sys.argv[2] == "draft") for path in sys.argv[3:]))
