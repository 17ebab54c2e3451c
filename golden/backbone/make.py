#!/usr/bin/env python3
"""Golden values for the ResNet and the vision transformer: torchvision's. The ResNet has a 3 × 3 stem of stride 1 and no
max-pooling, the transformer MoCo v3's fixed positions.

    python golden/backbone/make.py

`resnet.safetensors` has, for each CASE:
    CASE/images                [views * batch, channels, height, width], f32 in 0..1: all first views, then all second ones
    CASE/weights/NAME          parameters and statistics before the pass
    CASE/seed                  [views * batch, features]: the loss is the sum of the features times this
    CASE/features              in training mode, view after view
    CASE/gradients/NAME        of the loss; every 7th value where there are more than 512
    CASE/after/NAME            running statistics after the pass
    CASE/eval                  features in evaluation mode, with the statistics after the pass

`vit.safetensors` has the images, weights (in timm's names), seed, features and gradients of a transformer in the same way, without
a case in front.

`torchvision.pt` is a state dict with torchvision's own names, width 2, and a linear head of ten classes.

All is computed in double precision. Made with torch 2.15.0, torchvision 0.29.2, safetensors 0.8.0.
"""
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models import VisionTransformer, resnet18
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


def positions(side: int, width: int) -> torch.Tensor:
    """Of MoCo v3 (arXiv 2104.02057), for side × side patches and the class token, which has zeros."""
    omega = 1.0 / 10000 ** (torch.arange(width // 4).double() / (width // 4))
    first, second = (grid.flatten().double() for grid in torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij"))
    angles = [torch.outer(first, omega), torch.outer(second, omega)]
    table = torch.cat([wave(angle) for angle in angles for wave in (torch.sin, torch.cos)], dim=1)
    return torch.cat([torch.zeros(1, width).double(), table])[None]


def timm_name(name: str) -> str:
    for theirs, timm in [
        ("class_token", "cls_token"), ("conv_proj.", "patch_embed.proj."), ("encoder.layers.encoder_layer_", "blocks."),
        ("encoder.ln.", "norm."), (".ln_", ".norm"), ("self_attention.in_proj_", "attn.qkv."),
        ("self_attention.out_proj.", "attn.proj."), ("mlp.0.", "mlp.fc1."), ("mlp.3.", "mlp.fc2."),
    ]:
        name = name.replace(theirs, timm)
    return name


def vit(patch: int, width: int, depth: int) -> None:
    torch.manual_seed(2)
    model = VisionTransformer(image_size=8, patch_size=patch, num_layers=depth, num_heads=width // 32, hidden_dim=width, mlp_dim=4 * width)
    model.heads = nn.Identity()
    model.conv_proj = nn.Conv2d(2, width, patch, stride=patch)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    model = model.double()
    model.encoder.pos_embedding = nn.Parameter(positions(8 // patch, width), requires_grad=False)
    images = torch.rand(3, 2, 8, 8).double()
    features = model(images)
    seed = torch.randn(features.shape).double()
    (features * seed).sum().backward()
    arrays = {"images": images, "seed": seed, "features": features.detach()}
    for name, parameter in model.named_parameters():
        if name == "encoder.pos_embedding":
            continue
        arrays[f"weights/{timm_name(name)}"] = parameter.detach()
        gradient = parameter.grad.flatten()
        arrays[f"gradients/{timm_name(name)}"] = gradient[:: 7 if len(gradient) > 512 else 1]
    save_file({name: array.float().contiguous() for name, array in arrays.items()}, FOLDER / "vit.safetensors")


vit(patch=2, width=64, depth=2)
