#!/usr/bin/env python3
"""Golden values for optimisers and schedules, made with PyTorch and lightly.

    python golden/optim/make.py

Three tensors get the gradients that stand in the file, several steps long: `body.weight`, `body.bias` and
`head.weight`, which begins as zeros. `body.weight` has one gradient of zeros. Stored are the values after each step,
every float with the digits that tell it from its neighbours.
"""
import json
import platform
from importlib.metadata import version
from pathlib import Path

import torch
from lightly.utils.lars import LARS
from lightly.utils.scheduler import CosineWarmupScheduler, cosine_schedule

STEPS = 6
SHAPES = {"body.weight": (3, 4), "body.bias": (4,), "head.weight": (2, 3)}
torch.set_num_threads(1)
generator = torch.Generator().manual_seed(4)


def flat(tensor):
    return [float(f"{value:.9g}") for value in tensor.detach().flatten().tolist()]


start = {name: torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}
start["head.weight"].zero_()
gradients = [
    {name: torch.randn(shape, generator=generator) * 0.3**step for name, shape in SHAPES.items()} for step in range(STEPS)
]
gradients[2]["body.weight"].zero_()
factors = [1.0, 0.9, 0.7, 0.4, 0.2, 0.1]


def groups(parameters, without=None, head=None):
    """PyTorch's groups: `without` for tensors of one dimension, `head` for the head."""
    vectors = [p for name, p in parameters.items() if p.dim() == 1]
    heads = [p for name, p in parameters.items() if name.startswith("head")] if head else []
    rest = [p for p in parameters.values() if not any(p is q for q in heads + (vectors if without else []))]
    found = [{"params": rest}]
    if without:
        found.append({"params": vectors, **without})
    if head:
        found.append({"params": heads, **head})
    return found


def case(settings, learning_rate, build, plan_groups=(), constant=()):
    """`build` makes the optimiser; the groups in `constant` keep their learning rate."""
    parameters = {name: torch.nn.Parameter(value.clone()) for name, value in start.items()}
    optimizer = build(parameters)
    rates = [group["lr"] for group in optimizer.param_groups]
    values = []
    for step in range(STEPS):
        for number, group in enumerate(optimizer.param_groups):
            group["lr"] = rates[number] * (1.0 if number in constant else factors[step])
        for name, parameter in parameters.items():
            parameter.grad = gradients[step][name].clone()
        optimizer.step()
        values.append({name: flat(parameter) for name, parameter in parameters.items()})
    return {"optimizer": settings, "learning_rate": learning_rate, "groups": list(plan_groups), "values": values}


no_decay = {"weight_decay": 0.0}
cases = [
    case(
        {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1},
        0.1,
        lambda p: torch.optim.SGD(p.values(), lr=0.1, momentum=0.9, weight_decay=0.1),
    ),
    case(
        {"name": "sgd", "momentum": 0.5, "weight_decay": 0.1, "decay_bias_and_norm": False},
        0.1,
        lambda p: torch.optim.SGD(groups(p, no_decay), lr=0.1, momentum=0.5, weight_decay=0.1),
    ),
    case(
        {"name": "sgd", "momentum": 0.9, "weight_decay": 0.1},
        0.1,
        lambda p: torch.optim.SGD(groups(p, head={"lr": 0.03}), lr=0.1, momentum=0.9, weight_decay=0.1),
        [{"prefix": "head", "learning_rate_scale": 0.3, "constant": True}],
        constant=[1],
    ),
    case(
        {"name": "adamw", "weight_decay": 0.1},
        0.01,
        lambda p: torch.optim.AdamW(groups(p, head={"lr": 0.001}), lr=0.01, weight_decay=0.1),
        [{"prefix": "head.weight", "learning_rate_scale": 0.1}],
    ),
    # The large learning rates and trust coefficients make the adaptation show.
    case(
        {"name": "lars", "weight_decay": 0.1, "trust_coefficient": 0.02},
        2.0,
        lambda p: LARS(groups(p, no_decay), lr=2.0, momentum=0.9, weight_decay=0.1, trust_coefficient=0.02),
    ),
    case(
        {"name": "lars"},
        0.3,
        lambda p: LARS(groups(p, no_decay), lr=0.3, momentum=0.9, weight_decay=1e-6),
    ),
    case(
        {"name": "adamw", "betas": [0.8, 0.95], "epsilon": 0.001, "weight_decay": 0.3, "decay_bias_and_norm": False},
        0.05,
        lambda p: torch.optim.AdamW(groups(p, no_decay), lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3),
    ),
]


def warmup(epochs, steps_per_epoch, warmup_epochs, start_factor, final_factor):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    steps = epochs * steps_per_epoch
    scheduler = CosineWarmupScheduler(
        optimizer,
        warmup_epochs=int(warmup_epochs * steps_per_epoch),
        max_epochs=steps,
        end_value=final_factor,
        warmup_start_value=start_factor,
    )
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return {
        "schedule": {
            "name": "cosine",
            "warmup_epochs": warmup_epochs,
            "start_factor": start_factor,
            "final_factor": final_factor,
        },
        "steps_per_epoch": steps_per_epoch,
        "factors": found,
    }


schedules = [warmup(5, 4, 0, 0.0, 0.0), warmup(5, 6, 2, 0.0, 0.001), warmup(4, 8, 1.5, 0.1, 0.5), warmup(1, 1, 0, 0.0, 0.0)]
cosines = [
    {"max_steps": steps, "start": first, "end": last, "values": [cosine_schedule(i, steps, first, last) for i in range(steps)]}
    for steps, first, last in [(10, 0.996, 1.0), (7, 1.0, 0.0), (1, 0.99, 1.0), (2, 0.99, 1.0)]
]
fixture = {
    "versions": {name: version(name) for name in ("torch", "lightly")} | {"python": platform.python_version()},
    "start": {name: flat(value) for name, value in start.items()},
    "gradients": [{name: flat(value) for name, value in step.items()} for step in gradients],
    "factors": factors,
    "cases": cases,
    "schedules": schedules,
    "cosines": cosines,
}
(Path(__file__).parent / "optim.json").write_text(json.dumps(fixture, separators=(",", ":")).replace('"cases"', '\n"cases"') + "\n")
