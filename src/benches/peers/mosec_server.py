#!/usr/bin/env python3
"""The baseline of the service bench: mosec, two one-thread workers, stock Pillow, the same graph.

    mosec_server.py --port N      GRAPH and LABELS name the graph and the list of labels

MobileNetV2 of the shared models: short side 256, centre crop 224, (x - 128) / 128, NCHW, softmax inside the graph.
"""

import io
import json
import os

import numpy as np
import onnxruntime
from mosec import Server, Worker
from PIL import Image

WORKERS = 2


class Classify(Worker):
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["GRAPH"], options, providers=["CPUExecutionProvider"])
        with open(os.environ["LABELS"], encoding="utf-8") as labels:
            self.labels = labels.read().splitlines()

    def deserialize(self, data):
        return data

    def forward(self, data):
        image = Image.open(io.BytesIO(data)).convert("RGB")
        width, height = image.size
        short = 256
        if width < height:
            image = image.resize((short, short * height // width), Image.Resampling.BILINEAR)
        else:
            image = image.resize((short * width // height, short), Image.Resampling.BILINEAR)
        left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
        pixels = np.asarray(image.crop((left, top, left + 224, top + 224)), dtype=np.float32)
        tensor = ((pixels - 128) / 128).transpose(2, 0, 1)[None]
        best = int(self.session.run(None, {"data": np.ascontiguousarray(tensor)})[0][0].argmax())
        return {"label": self.labels[best]}

    def serialize(self, data):
        return json.dumps(data).encode()


if __name__ == "__main__":
    server = Server()
    server.append_worker(Classify, num=WORKERS)
    server.run()
