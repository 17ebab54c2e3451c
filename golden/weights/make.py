#!/usr/bin/env python3
"""Makes the files of this folder with PyTorch: checkpoints as people save them, and hostile ones.

    python golden/weights/make.py

Every checkpoint holds a narrow version of the article's networks (widths 2, 3, 4 on 8 x 8 images). The values
stand in `values.json`, so that the reader is compared exactly. The hostile files name harmless commands.
"""
import builtins
import json
import os
import sys
from pathlib import Path

import numpy
import safetensors
import torch
from safetensors.torch import save_file
from torch import nn

HERE = Path(__file__).parent


def backbone() -> nn.Sequential:
    layers, channels = [], 1
    for width in (2, 3, 4):
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.ReLU(), nn.BatchNorm2d(width)]
        channels = width
    return nn.Sequential(*layers)


class Classifier(nn.Module):
    """The listing's names; the published files call the head `projection_mlp`."""

    def __init__(self, head: str = "fc") -> None:
        super().__init__()
        self.backbone = backbone()
        setattr(self, head, nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)))
        self.head = head

    def forward(self, x):
        return getattr(self, self.head)(self.backbone(x).flatten(1))


class SimSiam(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.backbone = backbone()
        self.prediction_mlp = nn.Sequential(nn.Linear(4, 2), nn.BatchNorm1d(2), nn.ReLU(), nn.Linear(2, 4))

    def forward(self, x):
        return self.prediction_mlp(self.backbone(x).flatten(1))


def trained(model: nn.Module) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A few steps, so that no BatchNorm value stays at its start."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(16, 1, 8, 8)).square().mean().backward()
        optimizer.step()
    return model, optimizer


class Call:
    """Pickles as a call of `function(*arguments)`."""

    def __init__(self, function, *arguments) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def values(state: dict) -> dict:
    described = {}
    for name, tensor in state.items():
        kind, wide = ("f32", tensor.float()) if tensor.dtype.is_floating_point else ("i64", tensor.long())
        described[name] = {"shape": list(tensor.shape), kind: wide.reshape(-1).tolist()}
    return described


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(7)
    classifier, optimizer = trained(Classifier())
    state = classifier.state_dict()
    simsiam = trained(SimSiam())[0].state_dict()
    published = {name.replace("fc.", "projection_mlp."): tensor for name, tensor in state.items()}
    base = torch.randn(4, 6)
    kinds = {
        "bfloat16": base.bfloat16(),
        "float16": torch.cat([base.half().reshape(-1), torch.tensor([6e-8, 3e-5, -65504.0, 0.0]).half()]),
        "float64": base.double() / 3,
        "int32": torch.tensor([-3, 0, 2**31 - 1], dtype=torch.int32),
        "int64": torch.tensor(-(2**40)),
        "parameter": nn.Parameter(base[0].clone()),
        "empty": torch.zeros(0, 3),
    }
    views = {"transposed": base.t(), "column": base[:, 2], "tied.a": base, "tied.b": base}
    views["expanded"] = base[:1, :1].expand(2, 3)

    torch.save(state, HERE / "classifier.pt")
    torch.save(state, HERE / "classifier-legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(published, HERE / "published.pt")
    torch.save(simsiam, HERE / "simsiam-protocol4.pt", pickle_protocol=4)
    wrapped = {f"module.{name}": tensor for name, tensor in state.items()}
    checkpoint = {"state_dict": wrapped, "optimizer": optimizer.state_dict(), "epoch": 3, "loss": torch.tensor(0.25)}
    torch.save(checkpoint, HERE / "checkpoint.pt")
    deep = {"run": {"model": state, "ema": state}, "epoch": 1}
    torch.save(deep, HERE / "deep-legacy.pt", _use_new_zipfile_serialization=False)
    torch.save(kinds | views, HERE / "kinds.pt")
    save_file(state, HERE / "classifier.safetensors", metadata={"format": "pt"})
    save_file({name: tensor.detach().contiguous() for name, tensor in kinds.items()}, HERE / "kinds.safetensors")
    save_file({"mask": torch.tensor([True, False])}, HERE / "bool.safetensors")

    huge = {"expanded": torch.ones(1).expand(2**30)}
    torch.save(huge, HERE / "huge-view-legacy.pt", _use_new_zipfile_serialization=False)

    # Refused: code, and what is no state dict.
    command = "touch /nonexistent/twinview-was-here"
    hostile = state | {"extra": Call(os.system, command)}
    torch.save(hostile, HERE / "hostile-system.pt")
    torch.save(hostile, HERE / "hostile-legacy.pt", _use_new_zipfile_serialization=False)
    deep = {"state_dict": state, "log": [{"a": (1, [Call(builtins.eval, "1 + 1")])}]}
    torch.save(deep, HERE / "hostile-eval-protocol4.pt", pickle_protocol=4)
    torch.save(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), HERE / "module.pt")
    torch.jit.save(torch.jit.script(nn.Linear(2, 2)), HERE / "torchscript.pt")
    torch.save([base, base], HERE / "list.pt")
    torch.save({"epoch": 3, "name": "no tensors here"}, HERE / "settings.pt")
    torch.save({"generator": state, "critic": simsiam}, HERE / "two-models.pt")
    torch.save({"state_dict": state, "best": numpy.float64(0.5)}, HERE / "numpy-scalar.pt")

    versions = {"python": sys.version.split()[0], "torch": torch.__version__, "safetensors": safetensors.__version__}
    expected = {"classifier": values(state), "simsiam": values(simsiam), "kinds": values(kinds), "views": values(views)}
    (HERE / "values.json").write_text(json.dumps({"versions": versions} | expected) + "\n")
    print(versions)


main()
