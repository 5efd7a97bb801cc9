"""Trains the small VOLO of `alula.models.digits`: python training/train_digits.py [--epochs 160] [--seed 0] [-o FILE].

Only the training side of the split is read, and nothing is selected on it: the weights kept are the moving average
after the last epoch.  Takes a few minutes on one core.  The held-out pictures are looked at once, at the end.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from alula.core.files import atomic_write
from alula.models.digits import CLASS_NAMES, DIGITS, PREPROCESS, WEIGHTS, load_digits, write_digits_images
from alula.models.volo import Volo

BATCH = 64
LEARNING_RATE = 1.5e-3
WEIGHT_DECAY = 0.05
WARMUP = 0.05  # share of all steps
SMOOTHING = 0.1
AVERAGING = 0.998
ROTATION = math.radians(12)
SCALING = 0.1
SHEAR = 0.15
SHIFT = 0.15  # of half the picture's side


def normalised(pixels: np.ndarray) -> Tensor:
    """f32[n,3,h,w] as the model takes it, from uint8[n,h,w,3]."""
    mean, std = torch.tensor(PREPROCESS.mean), torch.tensor(PREPROCESS.std)
    return ((torch.from_numpy(pixels).float() / 255 - mean) / std).permute(0, 3, 1, 2).contiguous()


def jittered(images: Tensor) -> Tensor:
    """Each picture turned, stretched, sheared and shifted by its own small amounts; the border is repeated."""
    spread = torch.rand(len(images), 6) * 2 - 1
    turn, shear = spread[:, 0] * ROTATION, spread[:, 1] * SHEAR
    wide, tall = 1 + spread[:, 2] * SCALING, 1 + spread[:, 3] * SCALING
    cosine, sine = torch.cos(turn), torch.sin(turn)
    rows = [
        torch.stack([wide * cosine, -sine + shear, spread[:, 4] * SHIFT], dim=1),
        torch.stack([sine, tall * cosine, spread[:, 5] * SHIFT], dim=1),
    ]
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="border", align_corners=False)


def train(epochs: int, seed: int) -> nn.Module:
    """The averaged model after `epochs` passes over the training side."""
    torch.manual_seed(seed)
    digits = load_digits("train")
    images, labels = normalised(digits.pixels), torch.from_numpy(digits.labels)
    model = Volo(DIGITS).train()
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING), use_buffers=True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps = epochs * (len(images) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps, pct_start=WARMUP)
    for epoch in range(epochs):
        order = torch.randperm(len(images))[: len(images) // BATCH * BATCH]
        total = 0.0
        for batch in order.split(BATCH):
            loss = functional.cross_entropy(model(jittered(images[batch])), labels[batch], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            averaged.update_parameters(model)
            total += loss.item() * len(batch)
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}/{epochs}: mean training loss {total / len(order):.4f}", flush=True)
    return averaged.module.eval()


def correct_on_held_out(model: nn.Module) -> tuple[int, int]:
    """(correct, all) of the held-out pictures, read back from PNG files."""
    with tempfile.TemporaryDirectory() as folder:
        write_digits_images(Path(folder))
        paths = sorted(Path(folder).glob("*/*.png"))
        pixels = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    labels = torch.tensor([CLASS_NAMES.index(path.parent.name) for path in paths])
    with torch.no_grad():
        return int((model(normalised(pixels)).argmax(1) == labels).sum()), len(labels)


def main() -> None:
    """Trains, saves, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=160)
    parser.add_argument("--seed", type=int, default=0)
    default = Path(__file__).parent.parent / "alula" / "models" / "data" / WEIGHTS
    parser.add_argument("-o", "--output", type=Path, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = train(arguments.epochs, arguments.seed)
    with atomic_write(arguments.output) as file:
        torch.save({name: tensor.detach().clone() for name, tensor in model.state_dict().items()}, file)
    correct, count = correct_on_held_out(model)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")
    print(f"held-out pictures: {correct} of {count} right ({correct / count:.2%})")


if __name__ == "__main__":
    main()
