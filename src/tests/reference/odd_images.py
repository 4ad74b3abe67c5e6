#!/usr/bin/env python3
"""Red images that only Pillow writes here.

    odd_images.py OUT
"""

import sys
from pathlib import Path

from PIL import Image

out = Path(sys.argv[1])
red = Image.new("RGB", (96, 64), (250, 0, 0))
red.convert("CMYK").save(out / "cmyk.jpg")
red.save(out / "progressive.jpg", progressive=True)
red.convert("P", palette=Image.Palette.ADAPTIVE).save(out / "palette.png")
red.convert("P", palette=Image.Palette.ADAPTIVE).save(out / "palette.gif")
red.convert("P", palette=Image.Palette.ADAPTIVE).save(out / "palette.bmp")
red.save(out / "lossy.webp")
red.save(out / "lzw.tiff", compression="tiff_lzw")
red.save(out / "jpeg-in.tiff", compression="jpeg")
