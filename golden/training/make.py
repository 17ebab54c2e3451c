#!/usr/bin/env python3
"""Golden values for training: 20 steps of the article's two models in PyTorch.

    python golden/training/make.py

Weights and images come from a small integer hash that the Rust test computes too, so the fixture holds
only what PyTorch makes of them: the loss of each step, and every 37th value of each final tensor (all of
the small ones). Made with torch 2.15.0, numpy 2.4.6, safetensors 0.8.0.
"""
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

STEPS, BATCH = 20, 48
# Where the salts of the weights begin: chosen so that changing every weight by 2e-6 of itself, six times at random, moves no
# result by more than 3e-5. Elsewhere some value lies so near ReLU's kink that PyTorch then differs from itself by up to 2e-3.
WEIGHTS = 1150


def hashed(count: int, salt: int) -> np.ndarray:
    """`count` numbers in [0, 1), multiples of 2^-24; the same in Rust."""
    x = np.arange(count, dtype=np.uint32) + np.uint32(salt * 0x9E3779B1 & 0xFFFFFFFF)
    for shift, factor in ((16, 0x7FEB352D), (15, 0x846CA68B)):
        x = (x ^ (x >> np.uint32(shift))) * np.uint32(factor)
    x = x ^ (x >> np.uint32(16))
    return (x >> np.uint32(8)).astype(np.float32) / np.float32(1 << 24)


def stage(channels_in: int, channels_out: int) -> list[nn.Module]:
    return [nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1), nn.ReLU(), nn.BatchNorm2d(channels_out)]


class SimSiam(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*stage(1, 32), *stage(32, 64), *stage(64, 128))
        self.prediction_mlp = nn.Sequential(nn.Linear(2048, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 2048))

    def forward(self, x):
        z = self.backbone(x).flatten(1)
        return z, self.prediction_mlp(z)


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(*stage(1, 32), *stage(32, 64), *stage(64, 128))
        self.fc = nn.Sequential(nn.Linear(2048, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, x):
        return self.fc(self.backbone(x).flatten(1))


def fill(model: nn.Module) -> None:
    """Hashed weights, in the order of the sorted names; the scale where a layer normalises stays 1.

    Biases are from 0.5 to 1, so that no channel is next to dead: one that is has hardly any variance, its
    normalisation blows rounding errors up, and PyTorch would not agree with itself after 20 steps.
    """
    with torch.no_grad():
        for salt, name in enumerate(sorted(model.state_dict())):
            tensor = model.state_dict()[name]
            if "running" in name or "tracked" in name or (tensor.dim() == 1 and bool((tensor == 1).all())):
                continue
            values = hashed(tensor.numel(), WEIGHTS + salt)
            if tensor.dim() > 1:
                values = (values * 2 - 1) / np.float32(np.sqrt(tensor[0].numel()))
            else:
                values = values * np.float32(0.5) + np.float32(0.5)
            tensor.copy_(torch.from_numpy(values.reshape(tensor.shape)))
        if hasattr(model, "prediction_mlp"):
            # Out as in, so that the prediction starts in line with the features and the loss away from 0,
            # where a relative error would mean nothing.
            model.prediction_mlp[3].weight.copy_(model.prediction_mlp[0].weight.T)


def images(step: int, view: int) -> torch.Tensor:
    """Patches of 7 × 7 pixels that the views share, and noise that they do not."""
    patches = hashed(BATCH * 16, 3000 + step).reshape(BATCH, 1, 4, 4).repeat(7, axis=2).repeat(7, axis=3)
    noise = hashed(BATCH * 784, 1000 + 2 * step + view).reshape(BATCH, 1, 28, 28)
    return torch.from_numpy(patches * np.float32(0.75) + noise * np.float32(0.25))


def train(model: nn.Module, loss_of, learning_rate: float) -> dict[str, torch.Tensor]:
    fill(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=learning_rate, momentum=0.9, weight_decay=1e-5)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, step)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print([round(loss, 4) for loss in losses])
    out = {"losses": torch.tensor(losses, dtype=torch.float64)}
    for name, tensor in model.state_dict().items():
        values = tensor.detach().flatten().to(torch.float32)
        out[name] = values[:: 37 if len(values) > 512 else 1].clone()
    return out


def simsiam_loss(model, step):
    cosine = nn.CosineSimilarity(dim=1, eps=1e-6)
    (z1, p1), (z2, p2) = model(images(step, 0)), model(images(step, 1))
    return -cosine(p1, z2.detach()).mean() / 2 - cosine(p2, z1.detach()).mean() / 2


def classifier_loss(model, step):
    labels = torch.from_numpy((hashed(BATCH, 5000 + step) * 10).astype(np.int64))
    return nn.functional.cross_entropy(model(images(step, 0)), labels)


if __name__ == "__main__":
    torch.set_num_threads(1)
    here = Path(__file__).parent
    save_file(train(SimSiam(), simsiam_loss, 0.05), here / "simsiam.safetensors", {"torch": torch.__version__})
    save_file(train(Classifier(), classifier_loss, 0.001), here / "classifier.safetensors", {"torch": torch.__version__})
