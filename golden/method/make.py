#!/usr/bin/env python3
"""Golden values for the losses: lightly's, or the papers' formulas where lightly has none or another.

    python golden/method/make.py

Names in `losses.safetensors`, for case NUMBER of a function LOSS of `twinview::method::loss`:
    LOSS/NUMBER/INPUT               f32: an input
    LOSS/NUMBER/PARAMETER           f64, no dimensions: a number the function takes
    LOSS/NUMBER/loss                f32 [1], or the name of what comes out where that is no loss
    LOSS/NUMBER/gradient/INPUT      f32: the loss' gradient; absent for a target and where it is 0

All is computed in double precision from the f32 inputs. Made with lightly 1.6.0, torch 2.15.0, safetensors 0.8.0.
"""
from pathlib import Path

import torch
import torch.nn.functional as F
from lightly.loss import BarlowTwinsLoss, DCLLoss, DCLWLoss, DINOLoss, NTXentLoss, SwaVLoss, VICRegLoss
from lightly.loss.swav_loss import sinkhorn
from lightly.models.modules import NNMemoryBankModule
from safetensors.torch import save_file

torch.set_num_threads(1)
torch.manual_seed(20)
out: dict[str, torch.Tensor] = {}


def rows(count: int, width: int, scale: float = 1.0) -> torch.Tensor:
    return torch.randn(count, width) * scale


def like(tensor: torch.Tensor, noise: float = 0.5) -> torch.Tensor:
    """Another view: the same and noise, at another scale."""
    return (tensor + noise * tensor.std() * torch.randn_like(tensor)) * 1.7


def write(name: str, tensors: dict[str, torch.Tensor], parameters: dict[str, float]) -> str:
    """Writes a case under the next free number; gives `NAME/NUMBER`."""
    number = 0
    while any(key.startswith(f"{name}/{number}/") for key in out):
        number += 1
    tensors |= {key: torch.tensor(float(value), dtype=torch.float64) for key, value in parameters.items()}
    for key, value in tensors.items():
        out[f"{name}/{number}/{key}"] = value.contiguous()
    print(f"{name}/{number}", tensors["loss"].item() if "loss" in tensors else "")
    return f"{name}/{number}"


def case(name: str, loss_of, inputs: dict[str, torch.Tensor], targets=(), **parameters: float) -> str:
    """Writes one case; `loss_of` takes the inputs in double precision by name."""
    doubles = {key: value.double().requires_grad_(key not in targets) for key, value in inputs.items()}
    loss = loss_of(**doubles, **parameters).reshape(1)
    loss.backward()
    tensors = dict(inputs, loss=loss.detach().float())
    gradients = {key: value.grad.float() for key, value in doubles.items() if key not in targets}
    tensors |= {f"gradient/{key}": gradient for key, gradient in gradients.items() if gradient.any()}
    return write(name, tensors, parameters)


def unit(tensor):
    return F.normalize(tensor, dim=1)


def nt_xent(first, second, temperature):
    return NTXentLoss(temperature)(first, second)


# Views differ enough, here and below, that no loss is next to 0, where a relative error would mean little.
for count, width, scale, temperature in ((8, 16, 1.0, 0.5), (6, 8, 7.0, 0.1), (12, 24, 0.01, 0.07)):
    first = rows(count, width, scale)
    case("nt_xent", nt_xent, {"first": first, "second": like(first, 1.5)}, temperature=temperature)



def info_nce(queries, keys, negatives, temperature):
    """lightly's with a memory bank that holds the negatives."""
    loss = NTXentLoss(temperature, memory_bank_size=(len(negatives), negatives.shape[1]))
    loss.memory_bank.bank = unit(negatives)
    return loss(queries, keys)


for count, memory, width, scale, temperature in ((8, 20, 16, 1.0, 0.2), (6, 33, 8, 9.0, 0.07)):
    inputs = {"queries": rows(count, width, scale), "negatives": rows(memory, width, 0.3)}
    inputs["keys"] = like(inputs["queries"])
    case("info_nce", info_nce, inputs, ("keys", "negatives"), temperature=temperature)


def contrast(queries, keys, temperature):
    """MoCo v3's algorithm 1; lightly has none."""
    logits = unit(queries) @ unit(keys).T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits))) * 2 * temperature


for count, width, scale, temperature in ((8, 16, 1.0, 0.2), (11, 8, 5.0, 1.0)):
    queries = rows(count, width, scale)
    case("contrast", contrast, {"queries": queries, "keys": like(queries, 2)}, ("keys",), temperature=temperature)


def dcl(first, second, temperature, sigma=None):
    return (DCLWLoss(temperature, sigma) if sigma else DCLLoss(temperature))(first, second)


for count, width, scale, parameters in (
    (8, 16, 1.0, {"temperature": 0.1}),
    (3, 8, 3.0, {"temperature": 0.5}),
    (8, 16, 1.0, {"temperature": 0.25, "sigma": 0.5}),
    (12, 8, 0.2, {"temperature": 0.3, "sigma": 0.2}),
):
    first = rows(count, width, scale)
    case("dcl", dcl, {"first": first, "second": like(first, 2)}, **parameters)


def sup_con(rows, labels, views, temperature):
    """L_out, equation 2 of the paper, term by term; lightly has none."""
    classes = labels.repeat(int(views))
    terms = []
    for i, row in enumerate(unit(rows)):
        others = [a for a in range(len(rows)) if a != i]
        logits = unit(rows)[others] @ row / temperature
        positive = classes[others] == classes[i]
        if positive.any():
            terms.append(-(logits - logits.logsumexp(0))[positive].mean())
    return torch.stack(terms).sum() / len(rows)


for count, views, width, scale, temperature in ((8, 2, 12, 1.0, 0.1), (5, 3, 8, 4.0, 0.5), (9, 1, 8, 1.0, 0.07)):
    labels = torch.randint(0, 3, (count,))
    if views == 1:
        labels[0] = 7
    inputs, parameters = {"rows": rows(views * count, width, scale)}, {"views": views, "temperature": temperature}
    name = case("sup_con", lambda rows, **rest: sup_con(rows, labels, **rest), inputs, **parameters)
    out[f"{name}/labels"] = labels.float()


def barlow_twins(first, second, **parameters):
    return BarlowTwinsLoss(parameters["lambda"])(first, second)


for count, width, scale, parameter in ((8, 16, 1.0, 0.005), (16, 8, 6.0, 0.2), (12, 6, 0.02, 0.005)):
    first = rows(count, width, scale) + 3 * scale * rows(1, width)
    case("barlow_twins", barlow_twins, {"first": first, "second": like(first)}, **{"lambda": parameter})


def vicreg(first, second, invariance, variance, covariance):
    """lightly's, which takes the mean of the views' variance terms where the paper takes the sum."""
    return VICRegLoss(invariance, 2 * variance, covariance)(first, second)


for count, width, scale, weights in ((8, 16, 0.8, (25, 25, 1)), (12, 8, 4.0, (1, 2, 3)), (10, 6, 0.05, (25, 25, 1))):
    first = rows(count, width, scale) + rows(1, width)
    weights = dict(zip(("invariance", "variance", "covariance"), weights))
    case("vicreg", vicreg, {"first": first, "second": like(first)}, **weights)

for count, memory, width in ((8, 30, 12), (5, 4, 8)):
    inputs = {"queries": rows(count, width, 3), "memory": rows(memory, width) * torch.rand(memory, 1)}
    bank = NNMemoryBankModule((memory, width))
    bank.bank = inputs["memory"].double()
    found = unit(bank(inputs["queries"].double()))
    write("nearest_neighbours", inputs | {"neighbours": found.float()}, {})


def nnclr(neighbours, predictions, temperature):
    """The paper's loss; lightly proposes NTXentLoss instead, with negatives among the neighbours too."""
    logits = unit(neighbours) @ unit(predictions).T / temperature
    return F.cross_entropy(logits, torch.arange(len(logits)))


for count, width, scale, temperature in ((8, 16, 1.0, 0.1), (9, 8, 5.0, 0.5)):
    neighbours = rows(count, width)
    inputs = {"neighbours": neighbours, "predictions": like(neighbours, 2) * scale}
    case("nnclr", nnclr, inputs, ("neighbours",), temperature=temperature)

for count, width, scale, epsilon, iterations in ((8, 12, 0.5, 0.05, 3), (16, 5, 1.0, 0.5, 1), (6, 10, 4.0, 0.3, 6)):
    scores = rows(count, width, scale)
    parameters = {"epsilon": epsilon, "iterations": iterations}
    codes = sinkhorn(scores.double(), iterations=iterations, epsilon=epsilon).float()
    write("sinkhorn", {"scores": scores, "codes": codes}, parameters)


def views_of(name, views):
    """The tensors `NAME-0`, `NAME-1` and so on."""
    return [views[f"{name}-{number}"] for number in range(sum(key.startswith(name) for key in views))]


def swapped_prediction(assigned, temperature, epsilon, iterations, **scores):
    scores = views_of("scores", scores)
    loss = SwaVLoss(temperature, sinkhorn_iterations=iterations, sinkhorn_epsilon=epsilon)
    return loss(scores[:assigned], scores[assigned:])


for views, assigned, count, width, temperature, epsilon in ((2, 2, 8, 12, 0.1, 0.05), (5, 2, 6, 8, 0.3, 0.2)):
    scores = {f"scores-{view}": rows(count, width, 0.4) for view in range(views)}
    parameters = {"temperature": temperature, "epsilon": epsilon, "iterations": 3}
    case("swapped_prediction", swapped_prediction, scores, assigned=assigned, **parameters)


def dino(center, teacher_temperature, student_temperature, momentum, **views):
    loss = DINOLoss(center.shape[1], student_temp=student_temperature, center_momentum=momentum)
    loss.center = center.detach()[None].clone()
    temperature = torch.tensor(teacher_temperature, dtype=torch.float64)
    value = loss(views_of("teacher", views), views_of("student", views), teacher_temp=temperature)
    dino.next_center = loss.center[0].float()
    return value


for targets, views, count, width, temperature in ((2, 2, 8, 12, 0.04), (2, 5, 6, 8, 0.07), (1, 2, 5, 9, 0.5)):
    teacher = {f"teacher-{view}": rows(count, width, 0.3) for view in range(targets)}
    student = {f"student-{view}": rows(count, width, 0.5) for view in range(views)}
    inputs = teacher | student | {"center": rows(1, width, 0.1)}
    parameters = {"teacher_temperature": temperature, "student_temperature": 0.1, "momentum": 0.9}
    name = case("dino", dino, inputs, (*teacher, "center"), **parameters)
    out[f"{name}/next-center"] = dino.next_center

save_file(out, Path(__file__).parent / "losses.safetensors")
