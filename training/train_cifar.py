"""Trains the small VOLO of `alula.models.cifar10`: python training/train_cifar.py TRAIN.zip TEST.zip [-o FILE].

It learns on a GPU where PyTorch finds one, otherwise on two cores.

Only the training pictures are learned from; 2,000 of them are kept aside to watch the progress, and nothing is selected
by them: the weights kept are the moving average after the last step.  The test pictures are looked at once, at the end.
`--state FILE` is rewritten every few minutes; started again with the same arguments and `--resume`, the run goes on as
if it had never stopped.

The checkpoint in the project: `--epochs 61`, six minutes on one H200, PyTorch 2.11.
"""

from __future__ import annotations

import argparse
import copy
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from alula.core.files import atomic_write
from alula.models.cifar10 import CIFAR10, PREPROCESS, WEIGHTS, Cifar10, read_cifar10
from alula.models.volo import Volo
from alula.vision.preprocess import cropped

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
# A small batch learns more from each picture; a GPU waits for its next kernel either way.
BATCH = 512 if DEVICE.type == "cuda" else 128
REPLICAS = 1 if DEVICE.type == "cuda" else 2
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 0.05
WARMUP = 1.0  # epochs
DECAY = 0.4  # share of all epochs, the last ones
SMOOTHING = 0.1
AVERAGING = 0.998
CLIP = 1.0  # of the gradient's norm
SHIFT = 4  # pixels of the dataset's pictures
MIXED = 0.5  # share of the pictures that another one is cut into
ASIDE_EVERY = 25  # one picture of 25 is kept aside: 2,000
CHECK_BATCH = 250
STATISTICS = (PREPROCESS.mean, PREPROCESS.std)
SAVE_S = 180.0  # between writing the state
# Without products of bfloat16 in the processor it would take over twice the time of float32.
NARROW = DEVICE.type == "cuda" or any(torch.cpu.get_capabilities().get(name) for name in ("avx512_bf16", "amx_bf16"))


@dataclass(frozen=True)
class Pictures:
    """Enlarged pictures uint8[n,3,64,64] and their labels: classes[n], or the share f32[n,10] of each class."""

    pixels: Tensor
    labels: Tensor

    def part(self, chosen: Tensor) -> Pictures:
        return Pictures(self.pixels[chosen], self.labels[chosen])


def enlarged(data: Cifar10) -> Pictures:
    """The pictures as `PREPROCESS` gives them to the model, but for the normalisation."""
    pixels = np.stack([cropped(picture, PREPROCESS) for picture in data.pixels])
    labels = torch.from_numpy(data.labels)
    return Pictures(torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().to(DEVICE), labels.to(DEVICE))


def normalised(pixels: Tensor) -> Tensor:
    """f32[n,3,h,w] as the model takes it, from uint8[n,3,h,w]."""
    mean, std = (pixels.new_tensor(values, dtype=torch.float32).reshape(3, 1, 1) for values in STATISTICS)
    return (pixels.float() / 255 - mean) / std


def moved(pixels: Tensor) -> Tensor:
    """Each picture shifted, mirrored at its border, and by half a chance flipped.

    Shifts are whole pixels of the small picture, so that the model meets enlarged pixels as it will meet them later.
    """
    (count, _, side, _), device = pixels.shape, pixels.device
    scale = side // 32
    shifts = torch.randint(-SHIFT, SHIFT + 1, (2, count, 1), device=device) * scale
    places = torch.arange(side, device=device)
    rows, columns = (torch.where(spots < 0, -1 - spots, spots) for spots in places + shifts)
    rows, columns = (torch.where(spots >= side, 2 * side - 1 - spots, spots) for spots in (rows, columns))
    columns = torch.where(torch.rand(count, 1, device=device) < 0.5, columns.flip(1), columns)
    spots = (rows[:, :, None] * side + columns[:, None, :]).reshape(count, 1, -1).expand(-1, 3, -1)
    return pixels.reshape(count, 3, -1).gather(2, spots).reshape(pixels.shape)


def mixed(batch: Pictures) -> Pictures:
    """Into some pictures a box of another one of the batch is cut, which takes its share of the label.

    CutMix (Yun et al., 2019): the box has its picture's proportions, any area with equal chance, and its middle
    anywhere; what would stick out is left off.
    """
    (count, _, side, _), device = batch.pixels.shape, batch.pixels.device
    other = torch.randperm(count, device=device)
    areas, chances, *middles = torch.rand(4, count, 1, device=device)
    half = areas.sqrt() * (chances < MIXED) * side / 2
    inside = [(torch.arange(side, device=device) + 0.5 - middle * side).abs() < half for middle in middles]
    box = inside[0][:, :, None] & inside[1][:, None, :]
    share = box.float().mean((1, 2))[:, None]
    classes = functional.one_hot(batch.labels, CIFAR10.num_classes)
    pixels = torch.where(box[:, None], batch.pixels[other], batch.pixels)
    return Pictures(pixels, (1 - share) * classes + share * classes[other])


def backward(model: nn.Module, batch: Pictures) -> Tensor:
    """The loss of one batch, whose gradients are added to the model's."""
    images = normalised(batch.pixels).contiguous(memory_format=torch.channels_last)
    with torch.autocast(DEVICE.type, torch.bfloat16, enabled=NARROW):
        logits = model(images).float()
    loss = functional.cross_entropy(logits, batch.labels, label_smoothing=SMOOTHING)
    loss.backward()
    return loss.detach()


def rate_at(done: float, epochs: int) -> float:
    """The learning rate after `done` epochs: a linear start, level, then linearly down to nothing.

    Level in the middle, so that `--resume` may change the number of epochs for as long as it lasts.
    """
    return LEARNING_RATE * min(1.0, done / WARMUP, (epochs - done) / (epochs * DECAY))


class Run:
    """A training run: the model, its moving average and optimisers, and how many steps are done.

    Matrices of the blocks go by Muon (Jordan et al., 2024), everything else by AdamW.  Each batch is split over
    `REPLICAS` that share the parameters, one thread each: on a busy machine one thread an operation waits for nobody,
    where two wait for each other at every one.
    """

    def __init__(self, epochs: int, seed: int) -> None:
        torch.manual_seed(seed)
        self.epochs, self.seed, self.steps = epochs, seed, 0
        self.model = Volo(CIFAR10).train().to(DEVICE, memory_format=torch.channels_last)
        self.replicas = [self.model, *(_sharing(self.model) for _ in range(REPLICAS - 1))]
        self.averaged = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGING), use_buffers=True)
        blocks = [*self.model.network.parameters(), *self.model.post_network.parameters()]
        matrices = [parameter for parameter in blocks if parameter.ndim == 2]
        taken = {id(parameter) for parameter in matrices}
        others = [parameter for parameter in self.model.parameters() if id(parameter) not in taken]
        groups = [
            {"params": [parameter for parameter in others if parameter.ndim > 1], "weight_decay": WEIGHT_DECAY},
            {"params": [parameter for parameter in others if parameter.ndim <= 1], "weight_decay": 0.0},
        ]
        self.optimizers = [
            torch.optim.Muon(matrices, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"),
            torch.optim.AdamW(groups, fused=True),
        ]
        if DEVICE.type == "cuda":
            self.model.compile()  # fewer kernels to start, which is what bounds the time of a step

    def epoch(self, data: Pictures, state: Path | None = None) -> float:
        """The mean loss of what is left of a pass over `data`, which is kept in `state` every few minutes.

        Its order depends on seed and epoch alone, what is drawn in a step on seed and step.
        """
        length = len(data.labels) // BATCH
        epoch, place = divmod(self.steps, length)
        generator = torch.Generator().manual_seed(self.seed * 100_000 + epoch)
        order = torch.randperm(len(data.labels), generator=generator)[: length * BATCH].to(DEVICE).split(BATCH)[place:]
        total, saved = torch.zeros((), device=DEVICE), time.monotonic()
        with ThreadPoolExecutor(REPLICAS, initializer=torch.set_num_threads, initargs=(1,)) as threads:
            for chosen in order:
                torch.manual_seed(self.seed * 1_000_000_000 + self.steps)
                rate = rate_at(self.steps / length, self.epochs)
                total += self.step(data.part(chosen), rate, threads) / len(order)
                self.steps += 1
                if state and time.monotonic() - saved > SAVE_S:
                    self.save(state)
                    saved = time.monotonic()
        return total.item()

    def step(self, batch: Pictures, rate: float, threads: ThreadPoolExecutor) -> Tensor:
        """The loss of one batch, learned from."""
        batch = mixed(Pictures(moved(batch.pixels), batch.labels))
        halves = map(Pictures, batch.pixels.chunk(REPLICAS), batch.labels.chunk(REPLICAS))
        losses = list(threads.map(backward, self.replicas, halves))
        for shared in zip(*(replica.parameters() for replica in self.replicas), strict=True):
            shared[0].grad = sum(parameter.grad for parameter in shared) / REPLICAS
        nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        for replica in self.replicas:
            replica.zero_grad()
        self.averaged.update_parameters(self.model)
        return torch.stack(losses).mean()

    def save(self, path: Path) -> None:
        state = {"model": self.model.state_dict(), "averaged": self.averaged.state_dict(), "steps": self.steps}
        state["optimizers"] = [optimizer.state_dict() for optimizer in self.optimizers]
        with atomic_write(path) as file:
            torch.save(state, file)

    def restore(self, path: Path) -> None:
        state = torch.load(path, weights_only=True, map_location=DEVICE)
        self.model.load_state_dict(state["model"])
        self.averaged.load_state_dict(state["averaged"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.steps = state["steps"]


def _sharing(model: Volo) -> Volo:
    """A copy with the model's own parameters, and gradients and running statistics to itself."""
    replica = copy.deepcopy(model)
    for own, shared in zip(replica.parameters(), model.parameters(), strict=True):
        own.data = shared.data
    return replica


def correct(model: nn.Module, data: Pictures) -> int:
    """How many pictures the model, in float32 and evaluation mode, gets right."""
    with torch.inference_mode():
        batches = zip(data.pixels.split(CHECK_BATCH), data.labels.split(CHECK_BATCH), strict=True)
        return sum(int((model(normalised(pixels)).argmax(1) == labels).sum()) for pixels, labels in batches)


def train(run: Run, data: Pictures, aside: Pictures, state: Path | None) -> nn.Module:
    """The averaged model after the run's last epoch."""
    length = len(data.labels) // BATCH
    first, start = run.steps, time.monotonic()
    while run.steps < run.epochs * length:
        loss = run.epoch(data, state)
        if state:
            run.save(state)
        right = correct(run.averaged.module.eval(), aside)
        left = (time.monotonic() - start) / (run.steps - first) * (run.epochs * length - run.steps)
        print(
            f"epoch {run.steps // length}/{run.epochs}: mean training loss {loss:.4f}, "
            f"kept aside {right / len(aside.labels):.2%} right, {left / 60:.0f} minutes to go",
            flush=True,
        )
    return run.averaged.module.eval()


def main() -> None:
    """Trains, saves, reports."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="zip of train/<class>/<picture>")
    parser.add_argument("test", type=Path, help="zip of test/<class>/<picture>")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, help="where the run is kept")
    parser.add_argument("--resume", action="store_true", help="go on from --state")
    default = Path(__file__).parent.parent / "alula" / "models" / "data" / WEIGHTS
    parser.add_argument("-o", "--output", type=Path, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures = enlarged(read_cifar10(arguments.train, "train"))
    kept = torch.arange(len(pictures.labels), device=DEVICE) % ASIDE_EVERY == 0
    run = Run(arguments.epochs, arguments.seed)
    if arguments.resume:
        run.restore(arguments.state)
    model = train(run, pictures.part(~kept), pictures.part(kept), arguments.state)
    with atomic_write(arguments.output) as file:
        torch.save({name: tensor.cpu().contiguous().clone() for name, tensor in model.state_dict().items()}, file)
    print(f"{arguments.output}: {arguments.output.stat().st_size:,} bytes")
    test = enlarged(read_cifar10(arguments.test, "test"))
    right, count = correct(model, test), len(test.labels)
    print(f"test pictures: {right:,} of {count:,} right ({right / count:.2%})")


if __name__ == "__main__":
    main()
