#!/usr/bin/env python3
"""The Python pipeline that the Rust one is compared with: Pillow, numpy, ONNX Runtime, one thread a process.

    pipeline.py GRAPH PHOTOGRAPHS OUT.jsonl [--manifest FILE]     a line a photograph
    pipeline.py GRAPH PHOTOGRAPHS --bench [N] [--seconds S] …     images a second of N such processes (2)

PHOTOGRAPHS is a folder; its images are taken in the order of their names. A line is
{"file","sha256","top1","probability","ms":{"decode","resize","infer"}}. The manifest says what the graph takes and gives
(default: the default model's); what GRAPH names as external data lies beside it. Without a GRAPH of one's own,
models/efficientnet-lite0.onnx with its weights beside it is the default model.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import sys
import time
from itertools import pairwise
from pathlib import Path

# A worker is one core's work: numpy's own threads would take the others'.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

MODELS = Path(__file__).resolve().parents[3] / "models"
sys.path.insert(0, str(MODELS))
import reference  # noqa: E402

IMAGES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"}


def images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGES)


def classify(model: reference.Model, photograph: bytes) -> tuple[int, float, dict[str, float]]:
    """Index and probability of the best class, and where the time went."""
    spec = model.manifest["input"]
    times = [time.perf_counter()]
    image = reference.decode(photograph)
    times.append(time.perf_counter())
    rgb = reference.resize(image, spec)
    times.append(time.perf_counter())
    probabilities = model.infer(rgb)
    times.append(time.perf_counter())
    names = ("decode", "resize", "infer")
    ms = {name: round((after - before) * 1e3, 3) for name, (before, after) in zip(names, pairwise(times), strict=True)}
    top1 = int(probabilities.argmax())
    return top1, float(probabilities[top1]), ms


def describe(arguments) -> None:
    model = reference.Model(arguments.manifest, arguments.graph)
    paths = images(arguments.photographs)
    classify(model, paths[0].read_bytes())  # the first run of a session costs more than the others
    with arguments.out.open("w") as out:
        for path in paths:
            photograph = path.read_bytes()
            top1, probability, ms = classify(model, photograph)
            sha256 = hashlib.sha256(photograph).hexdigest()
            line = {"file": path.name, "sha256": sha256, "top1": top1, "probability": round(probability, 6), "ms": ms}
            out.write(json.dumps(line) + "\n")


def work(manifest: Path, graph: Path, photographs: list[bytes], seconds: float, start, results) -> None:
    model = reference.Model(manifest, graph)
    for photograph in photographs[:3]:
        classify(model, photograph)
    start.wait(timeout=60)  # for the others, of which one may have failed
    count, cpu, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() - began < seconds:
        classify(model, photographs[count % len(photographs)])
        count += 1
    results.put((count, time.perf_counter() - began, time.process_time() - cpu))


def bench(arguments) -> dict[str, float]:
    """The bare loop, no server: decode, resize and infer in as many processes as asked for."""
    photographs = [path.read_bytes() for path in images(arguments.photographs)]
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(arguments.bench), context.Queue()
    job = (arguments.manifest, arguments.graph, photographs, arguments.seconds, start, results)
    workers = [context.Process(target=work, args=job) for _ in range(arguments.bench)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
        if worker.exitcode != 0:
            sys.exit("a worker failed, see above")
    done = [results.get() for _ in workers]
    images_done = sum(count for count, _, _ in done)
    return {
        "processes": arguments.bench,
        "images_per_second": round(sum(count / wall for count, wall, _ in done), 1),
        "cpu_seconds_per_1000_images": round(1e3 * sum(cpu for _, _, cpu in done) / images_done, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("graph", type=Path)
    parser.add_argument("photographs", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--manifest", type=Path, default=MODELS / "efficientnet-lite0.toml")
    parser.add_argument("--bench", type=int, nargs="?", const=2, metavar="N")
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    if arguments.bench:
        print(json.dumps(bench(arguments)))
    elif arguments.out:
        describe(arguments)
    else:
        parser.error("say where to write, or --bench")


if __name__ == "__main__":
    main()
