#!/usr/bin/env python3
"""PyTorch timing baseline: the article's SimSiam training step on Fashion-MNIST, or that of another encoder.

The peer that every speed claim is measured against, in the same run, on the same
machine. One step = draw a batch of uint8 images, make two RandAugment(num_ops=5)
views, forward both, negative cosine similarity with stop-gradient, backward, SGD.

    python bench/pytorch_simsiam.py --data DIR --mode eager --steps 60 --batch 256

DIR holds the four Fashion-MNIST IDX .gz files. Modes: eager (what the article
runs), channels_last, compile (torch.compile). Prints one JSON line: medians in
milliseconds for augmentation and for the step, images per second counting both, and
images per second of feature extraction (evaluation mode, no gradients, batches of 512).

With --backbone resnet18 the encoder is torchvision's for small images (a stem of 3 × 3, no
max-pooling), --width channels wide, with the heads of Twinview's recipe for it; with --backbone vit
a vision transformer of six blocks, --width wide, with the article's heads.
"""
import argparse
import gzip
import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torchvision.models.resnet import BasicBlock, ResNet
from torchvision.transforms import RandAugment


def read_images(directory: Path) -> torch.Tensor:
    """Training images as uint8, shape [60000, 1, 28, 28]."""
    raw = gzip.open(directory / "train-images-idx3-ubyte.gz").read()
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=16).reshape(-1, 1, 28, 28).copy())


def stage(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1), nn.ReLU(), nn.BatchNorm2d(channels_out)]


class SimSiam(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*stage(1, 32), *stage(32, 64), *stage(64, 128))
        self.projector = nn.Identity()
        self.predictor = nn.Sequential(nn.Linear(2048, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 2048))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        z = self.projector(self.backbone(x).flatten(1))
        return z, self.predictor(z)


class NarrowResNet(ResNet):
    """ResNet-18 for small images, of any width. torchvision's has a fixed one."""

    def __init__(self, width: int) -> None:
        super().__init__(BasicBlock, [2, 2, 2, 2])
        self.inplanes = width
        self.conv1 = nn.Conv2d(1, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = self.fc = nn.Identity()
        for number in range(4):
            layer = self._make_layer(BasicBlock, width << number, 2, stride=1 if number == 0 else 2)
            setattr(self, f"layer{number + 1}", layer)


class Block(nn.Module):
    """A transformer's block as in timm, with heads that are 32 wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        count, length, width = x.shape
        queries, keys, values = self.qkv(self.norm1(x)).reshape(count, length, 3, -1, 32).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(queries, keys, values)
        x = x + self.proj(seen.transpose(1, 2).reshape(count, length, width))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Twinview's vision transformer: patches of 4 × 4 whose projection is frozen, and a class token."""

    def __init__(self, width: int, depth: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(1, width, 4, stride=4).requires_grad_(False)
        self.cls = nn.Parameter(torch.zeros(1, 1, width))
        self.register_buffer("positions", torch.randn(1, 49, width))
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        patches = self.patches(x).flatten(2).transpose(1, 2) + self.positions
        tokens = self.blocks(torch.cat([self.cls.expand(len(x), -1, -1), patches], 1))
        return self.norm(tokens[:, 0])


def network(backbone: str, width: int | None) -> SimSiam:
    model = SimSiam()
    if backbone == "resnet18":
        width = width or 64
        model.backbone = NarrowResNet(width)
        model.projector = nn.Sequential(
            nn.Linear(8 * width, 2048), nn.BatchNorm1d(2048), nn.ReLU(), nn.Linear(2048, 2048), nn.BatchNorm1d(2048)
        )
        model.predictor = nn.Sequential(nn.Linear(2048, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, 2048))
    elif backbone == "vit":
        width = width or 192
        model.backbone = Vit(width)
        model.predictor = nn.Sequential(nn.Linear(width, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, width))
    return model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--mode", choices=["eager", "channels_last", "compile"], default="eager")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--warmup", type=int, default=8)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbone", choices=["conv", "resnet18", "vit"], default="conv")
    parser.add_argument("--width", type=int, help="channels of the ResNet's stem (default: 64); of a token (192)")
    parser.add_argument("--extract", type=int, help="images that features are extracted from (default: all)")
    args = parser.parse_args()

    torch.manual_seed(0)
    device = torch.device(args.device)
    images = read_images(args.data).to(device)
    model = network(args.backbone, args.width).to(device)
    if args.mode == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    forward = torch.compile(model) if args.mode == "compile" else model
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9, weight_decay=1e-5)
    augment = RandAugment(num_ops=5)
    cosine = nn.CosineSimilarity(dim=1, eps=1e-6)

    def sync() -> None:
        if device.type == "cuda":
            torch.cuda.synchronize()

    augment_ms, step_ms = [], []
    for i in range(args.warmup + args.steps):
        batch = images[torch.randint(0, len(images), (args.batch,), device=device)]
        sync()
        start = time.perf_counter()
        views = [augment(batch).float() / 255 for _ in range(2)]
        if args.mode == "channels_last":
            views = [v.to(memory_format=torch.channels_last) for v in views]
        sync()
        augmented = time.perf_counter()
        optimizer.zero_grad()
        (z1, p1), (z2, p2) = forward(views[0]), forward(views[1])
        loss = -cosine(p1, z2.detach()).mean() / 2 - cosine(p2, z1.detach()).mean() / 2
        loss.backward()
        optimizer.step()
        sync()
        done = time.perf_counter()
        if i >= args.warmup:
            augment_ms.append((augmented - start) * 1e3)
            step_ms.append((done - augmented) * 1e3)

    model.eval()
    with torch.inference_mode():
        images = images[: args.extract]
        for count in (5120, len(images)):  # the first pass warms up
            begun = time.perf_counter()
            for chunk in images[:count].split(512):
                model.backbone(chunk.float() / 255).flatten(1)
            sync()
            extraction = len(images) / (time.perf_counter() - begun)

    # RandAugment's cost depends on the drawn operations, so its mean is the honest figure.
    augment, step = statistics.mean(augment_ms), statistics.median(step_ms)
    print(json.dumps({
        "mode": args.mode, "device": str(device), "threads": torch.get_num_threads(), "batch": args.batch,
        "augment_ms_mean": round(augment, 2), "step_ms_median": round(step, 2),
        "images_per_second": round(args.batch / (augment + step) * 1e3, 1),
        "extraction_images_per_second": round(extraction, 1),
        "torch": torch.__version__,
    }))


if __name__ == "__main__":
    main()
