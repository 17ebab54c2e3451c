"""Makes `pictures/` with Pillow, and `squares.safetensors`: what torchvision's transforms make of them.

    python make.py

Names in the file: FILE@FORM, u8 [channels, side, side]: FILE as its camera meant it, in colour or grey, its shorter side
brought to `side` pixels, and the middle of it. FORM is the name of the dataset: folder:SIDE or folder:SIDE:grey.
"""

from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image, ImageOps
from safetensors.numpy import save_file
from torchvision import transforms as T

here = Path(__file__).parent
pictures = here / "pictures"
pictures.mkdir(exist_ok=True)
generator = np.random.default_rng(0)


def scene(width, height, channels=3):
    """Smooth colours, edges, and some noise."""
    y, x = np.mgrid[0:height, 0:width].astype(float)
    waves = [127 + 90 * np.sin(x / (4 + 3 * c) + c) * np.cos(y / (6 + 2 * c)) for c in range(channels)]
    picture = np.stack(waves, -1)
    picture[height // 3 : height // 2, width // 4 : width // 2] = [240, 20, 60, 128][:channels]
    picture += generator.normal(0, 6, picture.shape)
    return np.clip(picture, 0, 255).astype(np.uint8).squeeze()


Image.fromarray(scene(97, 61)).save(pictures / "wide.png")
Image.fromarray(scene(50, 121)).save(pictures / "tall.bmp")
Image.fromarray(scene(20, 17)).save(pictures / "small.png")
Image.fromarray(scene(64, 48, 1)).save(pictures / "grey.png")
Image.fromarray(scene(45, 40, 4)).save(pictures / "transparent.png")
Image.fromarray(scene(40, 44)).quantize(32).save(pictures / "palette.png")
Image.fromarray(scene(33, 33)).save(pictures / "lossless.webp", lossless=True)
Image.fromarray(scene(36, 52)).save(pictures / "tiles.tiff")
exif = Image.Exif()
exif[0x0112] = 6  # to be turned by a quarter
Image.fromarray(scene(96, 64)).save(pictures / "turned.jpg", quality=95, subsampling=0, exif=exif)

squares = {}
for path in sorted(pictures.iterdir()):
    for side, mode in ((32, "RGB"), (24, "L")) + (((64, "RGB"),) if path.name == "wide.png" else ()):
        picture = ImageOps.exif_transpose(Image.open(path)).convert(mode)
        square = T.Compose([T.Resize(side), T.CenterCrop(side), T.PILToTensor()])(picture)
        squares[f"{path.name}@folder:{side}{':grey' if mode == 'L' else ''}"] = np.ascontiguousarray(square.numpy())
versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "Pillow": PIL.__version__}
save_file(squares, here / "squares.safetensors", versions)
print(versions, len(squares))
