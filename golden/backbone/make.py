#!/usr/bin/env python3
"""Golden values for the ResNet: torchvision's, with a 3 × 3 stem of stride 1 and no max-pooling.

    python golden/backbone/make.py

`resnet.safetensors` has, for each CASE:
    CASE/images                [views * batch, channels, height, width], f32 in 0..1: all first views, then all second ones
    CASE/weights/NAME          parameters and statistics before the pass
    CASE/seed                  [views * batch, features]: the loss is the sum of the features times this
    CASE/features              in training mode, view after view
    CASE/gradients/NAME        of the loss; every 7th value where there are more than 512
    CASE/after/NAME            running statistics after the pass
    CASE/eval                  features in evaluation mode, with the statistics after the pass

`torchvision.pt` is a state dict with torchvision's own names, width 2, and a linear head of ten classes.

All is computed in double precision. Made with torch 2.15.0, torchvision 0.29.2, safetensors 0.8.0.
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import resnet18
from torchvision.models.resnet import BasicBlock

torch.set_num_threads(1)
FOLDER = Path(__file__).parent


class ResNet(nn.Module):
    """torchvision's, of any width, for small images."""

    def __init__(self, in_channels: int, width: int, blocks: list[int]):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        inputs = width
        for index, count in enumerate(blocks):
            outputs, stride = width * 2**index, 2 if index else 1
            stage = []
            for number in range(count):
                downsample = None
                if number == 0 and index:
                    downsample = nn.Sequential(
                        nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
                    )
                stage.append(BasicBlock(inputs, outputs, stride if number == 0 else 1, downsample))
                inputs = outputs
            setattr(self, f"layer{index + 1}", nn.Sequential(*stage))

    def forward(self, images):
        values = torch.relu(self.bn1(self.conv1(images)))
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            values = stage(values)
        return values.mean(dim=(2, 3))


def check_against_torchvision():
    theirs = resnet18()
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool, theirs.fc = nn.Identity(), nn.Identity()
    ours = ResNet(3, 64, [2, 2, 2, 2])
    ours.load_state_dict(theirs.state_dict(), strict=True)
    images = torch.rand(2, 3, 16, 16)
    torch.testing.assert_close(ours(images), theirs(images))


def randomised(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    return model


def case(name: str, size: tuple[int, int, int], width: int, blocks: list[int], views: int, batch: int):
    torch.manual_seed(len(out))
    # The weights are f32, so that both sides begin alike.
    model = randomised(ResNet(size[0], width, blocks)).double()
    images = torch.rand(views * batch, *size).double()
    out[f"{name}/images"] = images
    out.update({f"{name}/weights/{key}": value.clone() for key, value in model.state_dict().items()})
    features = torch.cat([model(view) for view in images.chunk(views)])
    seed = torch.randn(features.shape).double()
    (features * seed).sum().backward()
    out[f"{name}/seed"] = seed
    out[f"{name}/features"] = features.detach()
    for key, parameter in model.named_parameters():
        gradient = parameter.grad.flatten()
        out[f"{name}/gradients/{key}"] = gradient[:: 7 if len(gradient) > 512 else 1]
    out.update({f"{name}/after/{key}": value for key, value in model.state_dict().items() if key not in dict(model.named_parameters())})
    model.eval()
    with torch.no_grad():
        out[f"{name}/eval"] = model(images)


out: dict[str, torch.Tensor] = {}
check_against_torchvision()
case("square", (1, 28, 28), width=4, blocks=[2, 2, 2, 2], views=1, batch=4)
case("odd", (3, 13, 11), width=3, blocks=[1, 2, 1, 1], views=2, batch=6)
arrays = {key: value.float().contiguous() if value.is_floating_point() else value for key, value in out.items()}
save_file(arrays, FOLDER / "resnet.safetensors")

torch.manual_seed(1)
small = randomised(ResNet(1, 2, [1, 1, 1, 1]))
small.fc = nn.Linear(16, 10)
torch.save(small.state_dict(), FOLDER / "torchvision.pt")
