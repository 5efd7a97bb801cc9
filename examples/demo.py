"""`make run`: VOLO-D2 and a small trained VOLO, from PyTorch to answers, checked against PyTorch at every step."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Console
from rich.table import Table

import alula
from alula.cli.classifier import Predictions, open_classifier, predict
from alula.cli.evaluation import print_account
from alula.cli.progress import progress, stage
from alula.vision.folder import Picture, list_pictures
from alula.vision.names import read_names

if TYPE_CHECKING:
    from alula.models.zoo import ReadyModel

ROUNDS = {1: 15, 8: 4}  # batch -> timed runs of each side
CHECKED_BATCH = 8
EVALUATED_BATCH = 32
SETTLE_S = 0.03  # between runs: a thread pool that still spins after its run would slow the other side's
PEAK_TRIES = 3  # the best counts: whatever else runs only lowers it
TOLERANCE = 5e-6  # of the largest score; PyTorch itself is at 5e-7 of float64
console = Console(highlight=False)


def main() -> int:
    """0 when everything held; 1 when a check failed; 2 for unusable input; 130 when interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, metavar="F", help="published VOLO-D2 weights (default: random ones)")
    parser.add_argument("--imagenet", type=Path, metavar="DIR", help="class folders, or pictures and a label file")
    parser.add_argument("--output", type=Path, default=Path("out"), metavar="DIR", help="for model files and pictures")
    arguments = parser.parse_args()
    began = time.perf_counter()
    try:
        if arguments.imagenet and not arguments.checkpoint:
            raise alula.AlulaError("--imagenet: expected --checkpoint with it, for random weights know no classes")
        make_folder(arguments.output)
        introduce()
        held = [flagship(arguments.checkpoint, arguments.imagenet, arguments.output), digits(arguments.output)]
    except alula.AlulaError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    console.print(
        f"\n[bold]{'Everything held' if all(held) else 'A check FAILED'}[/] after {since(began):.0f} s.  Next:"
    )
    for words in ("classify {0}/volo_digits.alula {0}/digits/7/*.png", "inspect {0}/volo_d2.alula", "doctor"):
        print(f"  {command()} {words.format(arguments.output)}")
    return 0 if all(held) else 1


def introduce() -> None:
    """What runs where."""
    import torch

    from alula.runtime.host import default_threads, native_target, processor_name

    threads, why = default_threads()
    torch.set_num_threads(threads)
    console.print(f"[bold]Alula {alula.__version__}[/] beside PyTorch {torch.__version__}")
    say("machine", f"{processor_name()}, target {native_target().name}")
    say("threads", f"{threads} for both ({why})")


def flagship(checkpoint: Path | None, imagenet: Path | None, output: Path) -> bool:
    """VOLO-D2 at full size: the same scores as PyTorch, in less time.  True when the scores are the same
    and every picture of `imagenet` could be read."""
    from alula.models.zoo import ready_model

    with stage("making VOLO-D2"):
        ready = ready_model("volo_d2", checkpoint)
    millions = sum(parameter.numel() for parameter in ready.module.parameters()) / 1e6
    title(f"VOLO-D2: {ready.module.config.image_size} pixels, {millions:.1f} M parameters")
    for note in ready.notes or [str(ready.provenance["weights"])]:
        say("weights", note)
    path = output / "volo_d2.alula"
    with compiled(ready, path) as session:
        held = agrees(ready, session)
        compare_speed(ready, session)
    if imagenet is not None:
        labels, names = beside(imagenet, "labels.txt", "val.txt"), beside(imagenet, "synset_words.txt")
        listed = list_pictures(imagenet, labels, read_names(names) if names else (), session.outputs[0].shape[-1])
        say("pictures", f"{len(listed)} in {imagenet}")
        held = held and not evaluated(path, listed).failures
    return held


def digits(output: Path) -> bool:
    """The trained model on held-out pictures.  True when every prediction is PyTorch's."""
    from alula.models.digits import write_digits_images
    from alula.models.zoo import ready_model

    title("A small VOLO trained on handwritten digits, on the pictures that its training never saw")
    ready = ready_model("volo_digits")
    path, folder = output / "volo_digits.alula", output / "digits"
    with compiled(ready, path):
        pass
    say("pictures", f"{write_digits_images(folder)} PNG files in {folder}")
    predictions = evaluated(path, list_pictures(folder))
    theirs = pytorch_predictions(ready, [picture.path for picture in predictions.listed])
    equal = sum(int(predictions.classes[index][0]) == their for index, their in enumerate(theirs))
    say("PyTorch", f"predicts the same class for {equal} of {len(theirs)} pictures")
    return equal == len(theirs)


@contextmanager
def compiled(ready: ReadyModel, path: Path) -> Iterator[alula.Session]:
    """The model through the compiler, into a file, and out of it again."""
    import torch

    size = ready.module.config.image_size
    with timed("imported"):
        graph = alula.from_torch(ready.module, (torch.zeros(1, 3, size, size),))
    with timed("built"):
        model = alula.build(graph, alula.BuildConfig(preprocess=ready.preprocess))
    with timed(f"saved {path}"):
        model.save(path)
    with timed("loaded"):
        session = alula.load(path)
    code = "code from the cache" if session.from_cache else "code generated"
    say("", f"{path.stat().st_size / 1e6:.1f} MB, {len(session.steps)} kernels, {code}, takes {session.inputs[0]}")
    with session:
        yield session


def agrees(ready: ReadyModel, session: alula.Session) -> bool:
    """Says how far the scores are from PyTorch's on pictures of noise."""
    pictures = noise(ready, CHECKED_BATCH)
    (ours,) = session.run(pictures)
    theirs = pytorch_scores(ready, pictures)
    error = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
    same = int((ours.argmax(1) == theirs.argmax(1)).sum())
    say("PyTorch", f"max abs difference / max abs logit {error:.1e}; same class for {same} of {len(ours)} pictures")
    return error <= TOLERANCE and same == len(ours)


def compare_speed(ready: ReadyModel, session: alula.Session) -> None:
    """A table of medians; runs of both sides alternate, so that what else the machine does meets both."""
    from alula.runtime.host import measure_peak, native_target

    medians: dict[int, tuple[float, float]] = {}
    for batch, rounds in ROUNDS.items():
        with stage(f"timing batch {batch}"):
            medians[batch] = alternating(ready, session, batch, rounds)
    peak = max(measure_peak(native_target(), "f32", session.threads) for _ in range(PEAK_TRIES))
    table = Table(box=box.SIMPLE_HEAD)
    for column in ("float32", "batch", "ms", "images/s", f"of {peak:.0f} GFLOP/s"):
        table.add_column(column, justify="left" if column == "float32" else "right")
    for batch, both in medians.items():
        for name, seconds in zip(("Alula", "PyTorch"), both, strict=True):
            share = 2 * session.macs * batch / seconds / 1e9 / peak
            table.add_row(name, str(batch), f"{seconds * 1e3:.1f}", f"{batch / seconds:.2f}", f"{share:.0%}")
        table.add_row("Alula / PyTorch", str(batch), f"{both[0] / both[1]:.2f}", "", "", end_section=True)
    console.print(table)
    say("", "medians of alternating runs; GFLOP/s is what the same threads reach in registers, measured here")


def alternating(ready: ReadyModel, session: alula.Session, batch: int, rounds: int) -> tuple[float, float]:
    """Median seconds of Alula and of PyTorch, after one run of each that is not counted."""
    import torch

    pictures = noise(ready, batch)
    tensor = normalised(ready, pictures)
    ours, theirs = [], []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            time.sleep(SETTLE_S)
            began = time.perf_counter()
            session.run(pictures)
            ours.append(since(began))
            time.sleep(SETTLE_S)
            began = time.perf_counter()
            ready.module(tensor)
            theirs.append(since(began))
    return median(ours[1:]), median(theirs[1:])


def evaluated(path: Path, pictures: Sequence[Picture]) -> Predictions:
    """Decodes and predicts the pictures as `alula eval` does, and says how it went."""
    with open_classifier(path, None) as classifier, progress("images", len(pictures)) as shown:
        predictions = predict(classifier, pictures, EVALUATED_BATCH, shown.advance)
    print_account(predictions)
    return predictions


def pytorch_predictions(ready: ReadyModel, paths: Sequence[Path]) -> list[int]:
    """PyTorch's class for each picture file, which has the crop's size already."""
    from PIL import Image

    pictures = np.stack([np.asarray(Image.open(path).convert("RGB")) for path in paths])
    return [int(best) for best in pytorch_scores(ready, pictures).argmax(1)]


def pytorch_scores(ready: ReadyModel, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """The module's scores of pictures[n,h,w,3]."""
    import torch

    with torch.inference_mode():
        scores: NDArray[np.float32] = ready.module(normalised(ready, pictures)).numpy()
    return scores


def normalised(ready: ReadyModel, pictures: NDArray[np.uint8]) -> Any:
    """What the module takes for pictures[n,h,w,3]: a float32 tensor [n,3,h,w]."""
    import torch

    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (ready.preprocess.mean, ready.preprocess.std))
    return (torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255 - mean) / std


def noise(ready: ReadyModel, batch: int) -> NDArray[np.uint8]:
    """Seeded pictures[batch,size,size,3]."""
    size = ready.module.config.image_size
    return np.random.default_rng(batch).integers(0, 256, (batch, size, size, 3), np.uint8)


def beside(folder: Path, *names: str) -> Path | None:
    """The first of these files that is in a folder or next to it."""
    places = [place / name for name in names for place in (folder, folder.absolute().parent)]
    return next((path for path in places if path.is_file()), None)


def make_folder(folder: Path) -> None:
    """Raises AlulaError where it cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise alula.AlulaError(f"folder {folder}: expected a writable place, got {error.strerror or error}") from error


def command() -> str:
    """How to call `alula` from here: the script beside this interpreter."""
    script = Path(sys.executable).with_name("alula")
    return os.path.relpath(script) if script.exists() else "python -m alula"


@contextmanager
def timed(what: str) -> Iterator[None]:
    """A spinner while it lasts, then a line with the seconds."""
    began = time.perf_counter()
    with stage(what):
        yield
    say(what.split()[0], f"{what.partition(' ')[2]} {since(began):.1f} s".strip())


def title(text: str) -> None:
    """A heading."""
    console.print(f"\n[bold]{text}[/]", soft_wrap=True)


def say(what: str, text: str) -> None:
    """One line of the account."""
    print(f"{what:<9} {text}", flush=True)


def since(began: float) -> float:
    """Seconds."""
    return time.perf_counter() - began


if __name__ == "__main__":
    sys.exit(main())
