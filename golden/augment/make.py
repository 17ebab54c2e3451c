"""Makes `augment.safetensors.gz`: torchvision's own answers for every transform of `twinview::augment`.

    python make.py [FOLDER WITH FASHION-MNIST'S .gz FILES]

Names in the file:
    images              u8 [12, 1, 28, 28]: ten real images, one flat one, one with two levels
    rgb                 u8 [3, 3, 20, 24]: channels cut from real images
    magnitudes/BINS     f64 [14, BINS]: RandAugment's magnitudes for 28 x 28 images, operations in its order
    source/OP           i16 [31, 2, 28, 28]: where each pixel comes from (y * 28 + x, or -1), by magnitude and sign
    grey/OP/BIN/SIGN    u8: `images` after one operation; SIGN is 0 for +, 1 for -
    color/OP/BIN/SIGN   u8: `rgb` after one operation
    chain/I             u8: `images` after the operations of the metadata entry `chain/I`, at magnitude 9
    brightness/FACTOR, contrast/FACTOR, blur/KERNEL/SIGMA, crop/TOP/LEFT/HEIGHT/WIDTH     u8: `images` after it
    rgb-crop/..., rgb-blur/..., rgb-saturation/FACTOR, rgb-hue/TURN, rgb-grayscale/3       u8: `rgb` after it
"""

import gzip
import sys
from pathlib import Path

import numpy as np
import torch
import torchvision
from safetensors.numpy import save
from torchvision.transforms import InterpolationMode, RandAugment
from torchvision.transforms import functional as F
from torchvision.transforms.autoaugment import _apply_op

torch.set_num_threads(1)
folder = Path(sys.argv[1] if len(sys.argv) > 1 else "/usr/share/datasets/fashion-mnist")
raw = gzip.open(folder / "t10k-images-idx3-ubyte.gz").read()
test = np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, 28, 28)
flat = np.full((1, 1, 28, 28), 77, np.uint8)
two_levels = np.where(np.arange(784).reshape(1, 1, 28, 28) % 5 == 0, 200, 3).astype(np.uint8)
images = torch.from_numpy(np.concatenate([test[[0, 1, 2, 4, 6, 8, 12, 18, 23, 30]], flat, two_levels]))
rgb = torch.from_numpy(test[40:49].reshape(3, 3, 28, 28)[:, :, 4:24, 2:26].copy())

BINS = 31
SPACE = RandAugment()._augmentation_space(BINS, (28, 28))
NAMES = list(SPACE)
GEOMETRIC = ["ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"]
arrays = {"images": images.numpy(), "rgb": rgb.numpy()}
metadata = {"torch": torch.__version__, "torchvision": torchvision.__version__, "operations": " ".join(NAMES)}


def magnitude(name, bin, sign, size=(28, 28), bins=BINS):
    values, signed = RandAugment()._augmentation_space(bins, size)[name]
    value = float(values[bin].item()) if values.ndim > 0 else 0.0
    return -value if signed and sign else value


def apply(batch, name, bin, sign):
    size = tuple(batch.shape[-2:])
    return _apply_op(batch, name, magnitude(name, bin, sign, size), InterpolationMode.NEAREST, None)


for bins in (31, 11):
    table = [[magnitude(name, bin, 0, bins=bins) for bin in range(bins)] for name in NAMES]
    arrays[f"magnitudes/{bins}"] = np.array(table)

# The images `position / 256 + 1` and `position % 256` come back as a map of where each pixel was.
position = torch.arange(784).reshape(1, 28, 28)
coordinates = torch.stack([position // 256 + 1, position % 256]).to(torch.uint8)
for name in GEOMETRIC:
    maps = np.empty((BINS, 2, 28, 28), np.int16)
    for bin in range(BINS):
        for sign in (0, 1):
            high, low = apply(coordinates, name, bin, sign).numpy().astype(np.int16)[:, 0]
            maps[bin, sign] = np.where(high > 0, (high - 1) * 256 + low, -1)
    arrays[f"source/{name}"] = maps

for name in NAMES:
    signs = (0, 1) if SPACE[name][1] else (0,)
    for bin in (9,) if name in GEOMETRIC else (4, 9, 30):
        for sign in signs:
            if name not in ("Identity", "Color") and (SPACE[name][0].ndim > 0 or bin == 9):
                arrays[f"grey/{name}/{bin}/{sign}"] = apply(images, name, bin, sign).numpy()
    for bin in (9, 30):
        for sign in signs:
            arrays[f"color/{name}/{bin}/{sign}"] = apply(rgb, name, bin, sign).numpy()

generator = np.random.default_rng(0)
for i in range(6):
    chain = [(NAMES[generator.integers(14)], int(generator.integers(2))) for _ in range(5)]
    batch = images
    for name, sign in chain:
        batch = apply(batch, name, 9, sign)
    arrays[f"chain/{i}"] = batch.numpy()
    metadata[f"chain/{i}"] = " ".join(f"{name}/{sign}" for name, sign in chain)

for factor in (0.0, 0.6, 0.875, 1.0, 1.37, 1.8):
    arrays[f"brightness/{factor}"] = F.adjust_brightness(images, factor).numpy()
    arrays[f"contrast/{factor}"] = F.adjust_contrast(images, factor).numpy()
for kernel, sigma in ((3, 0.1), (3, 0.75), (5, 2.0), (9, 1.3)):
    arrays[f"blur/{kernel}/{sigma}"] = F.gaussian_blur(images, [kernel, kernel], [sigma, sigma]).numpy()
arrays["rgb-blur/5/1.1"] = F.gaussian_blur(rgb, [5, 5], [1.1, 1.1]).numpy()
for top, left, height, width in ((0, 0, 28, 28), (3, 5, 13, 17), (10, 0, 18, 11), (0, 12, 27, 16), (20, 20, 1, 1), (7, 2, 8, 26)):
    arrays[f"crop/{top}/{left}/{height}/{width}"] = F.resized_crop(
        images, top, left, height, width, [28, 28], antialias=True).numpy()
arrays["rgb-crop/2/4/15/9"] = F.resized_crop(rgb, 2, 4, 15, 9, [20, 24], antialias=True).numpy()

for factor in (0.0, 0.6, 1.4, 1.8):
    arrays[f"rgb-saturation/{factor}"] = F.adjust_saturation(rgb, factor).numpy()
for turn in (-0.5, -0.1, 0.0, 0.037, 0.1, 0.3):
    arrays[f"rgb-hue/{turn}"] = F.adjust_hue(rgb, turn).numpy()
arrays["rgb-grayscale/3"] = F.rgb_to_grayscale(rgb, 3).numpy()

arrays = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
Path(__file__).with_name("augment.safetensors.gz").write_bytes(gzip.compress(save(arrays, metadata), 9, mtime=0))
print(metadata)
