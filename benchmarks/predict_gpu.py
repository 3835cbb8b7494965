"""How long a step should take on an H100, from its kernels: counted, compiled, and multiplied by what the card can do.

    python -m benchmarks.predict_gpu               the tables of docs/gpu.md
    python -m benchmarks.predict_gpu --resources   registers, spills and shared memory of every kernel, as JSON

Nothing here was timed. A kernel takes the time of its launch, and the longer of the time for its bytes and for its
products; both are stretched where it has fewer programs than the card has multiprocessors. Each tensor of a launch
counts once, as if caches caught every second look. `ASSUMED` has the two ends between which we expect the truth.
"""

import argparse
import json
from dataclasses import asdict, dataclass

import torch

from benchmarks.compiled import Launch, all_compiled, recorded
from sweeper.config.model import Objective, Precision
from sweeper.space import hyperparameters
from sweeper.tasks.modular_arithmetic import ModularArithmetic
from sweeper.training import evaluation
from sweeper.training.cohort import Cohort
from sweeper.training.learners.learner import Run
from sweeper.training.learners.modular_arithmetic import ModularArithmeticLearner
from sweeper.training.techniques import Techniques
from sweeper.trial import seeds_of

MULTIPROCESSORS = 132
BYTES_A_SECOND = 3.0e12
PRODUCTS_A_SECOND = {"float32": 130e12, "tf32": 400e12, "bfloat16": 790e12}
"""Measured on such a card, float32 as three tf32 products."""
OLDER_INSTRUCTIONS = 0.62
"""What mma reaches of wgmma's rate on an H100; tiles of 32 rows use it."""
EVALUATE_EVERY = 10
TORCH_KERNELS = 2
"""Of an update, beside ours: the clocks of the runs, and the place in the tables."""
SCREEN_KERNELS = 24
"""Of a screen, beside ours: how many examples it has, and for which runs the event is possible."""


@dataclass(frozen=True)
class Assumed:
    """What cannot be known before a GPU has been seen: a launch in a graph, and the share of peak rates reached."""

    launch: float
    products: float
    bytes: float


ASSUMED = {"fast": Assumed(2.0e-6, 0.7, 0.9), "slow": Assumed(3.5e-6, 0.35, 0.6)}


def cohort(  # noqa: PLR0917  # a table's columns
    runs: int, batch: int, precision: Precision, width: int = 128, sampled: bool = False, screen: bool = False
) -> Cohort:
    """x + y mod 97 at the published size; training is recorded, never done."""
    task = ModularArithmetic(
        name="modular_arithmetic", operation=("x_plus_y",), modulus=97, evaluation="sampled" if sampled else "whole"
    )
    flat = {"width": width, "heads": 4, "depth": 2, "batch.max": batch}
    settings = hyperparameters.canonical_form(hyperparameters.from_flat(flat), 200)
    each = [Run("x_plus_y", replicate, settings, seeds_of(replicate)) for replicate in range(runs)]
    objective = Objective(horizon=200, evaluate_every=EVALUATE_EVERY, screen=screen)
    techniques = Techniques(merge=False, graphs=False)
    return Cohort(
        ModularArithmeticLearner(task), each, objective, torch.device("cpu"), precision=precision, techniques=techniques
    )


def launches(runs: int, batch: int, precision: Precision, screen: bool = False) -> tuple[list[Launch], list[Launch]]:
    """Those of one update, and of one evaluation; with a screen, of one that ends with it."""
    # A GPU takes so many examples of all runs together; on a CPU each run is divided alike.
    evaluation._EXAMPLES = evaluation._ROWS // runs
    with recorded() as found:
        of = cohort(runs, batch, precision, screen=screen)
        of._advance(1)
        of._buffers.cursor.zero_()
        found.clear()
        of._updates.update(of._stack, of._buffers, batch, diagnose=False, measure=False)
        update = found.copy()
        found.clear()
        of._evaluation.validate(of._stack, of._buffers, of._graphs)
        of._evaluation.columns(of._stack, of._buffers, 1)
        return update, found.copy()


def products(launch: Launch) -> float:
    """Multiplications and additions of its matrix products."""
    a = launch.arguments
    match launch.name:
        case "product":
            runs, rows = a["y"].shape[:2]
            return 2.0 * runs * rows * a["K"] * a["N"]
        case "feed" | "feed_backward":
            runs = a["normal1"].shape[0]
            return 2.0 * runs * a["rows"] * a["WIDTH"] * (a["WIDTH"] + 2 * a["HIDDEN"])
        case "weights":
            tasks = a["tasks"].tolist()
            return 2.0 * len(a["gradients"]) * sum(task[3] * task[4] * task[8] for task in tasks)
        case "embed_backward":
            return 2.0 * a["dx"].numel() * (a["VOCABULARY"] + a["POSITIONS"])
        case "gather":
            return 2.0 * len(a["qkv"]) * a["WIDTH_2"] * _one_hot_entries(launch)
    return 0.0


def _one_hot_entries(launch: Launch) -> int:
    """Entries of the one-hot matrices of a run's `gather`, over its four parts."""
    a, total = launch.arguments, 0
    regions = a["regions"].tolist()
    for position, (_, rows, shared, *_) in enumerate(regions):
        for other in range(position, len(regions)):
            _, _, _, start, readers, _ = regions[other]
            if start >= a["first"]:
                parts = 4 if other == position else 2
                total += parts * rows * (readers if shared else a["ROWS"])
    return total


def moved(launch: Launch) -> int:
    """Bytes of its tensors, each once."""
    tensors = {}
    for each in launch.arguments.values():
        for tensor in each if isinstance(each, tuple) else (each,):
            if isinstance(tensor, torch.Tensor):
                tensors[tensor.data_ptr(), tensor.shape] = tensor.numel() * tensor.element_size()
    # AdamW writes three of what it reads.
    return sum(tensors.values()) + (3 * launch.arguments["gradients"].nbytes if launch.name == "adamw" else 0)


def seconds(launch: Launch, precision: Precision, assumed: Assumed) -> float:
    """Of one launch within a graph."""
    waves = -(-launch.programs // MULTIPROCESSORS)
    full = launch.programs / (waves * MULTIPROCESSORS)
    # One-hot products are float32 in any precision.
    rate = PRODUCTS_A_SECOND["float32" if launch.name in {"gather", "embed_backward"} else precision]
    if launch.name == "embed_backward" or (launch.name.startswith("feed") and launch.arguments["ROWS"] < 64):
        rate *= OLDER_INSTRUCTIONS
    of_products = products(launch) / (rate * assumed.products * full)
    of_bytes = moved(launch) / (BYTES_A_SECOND * assumed.bytes * min(1.0, launch.programs / MULTIPROCESSORS))
    return assumed.launch + max(of_products, of_bytes)


def model_step(runs: int, batch: int, precision: Precision, screen: bool = False) -> dict[str, float]:
    """Microseconds of one update of one model, its share of an evaluation included, and what they come from."""
    update, evaluated = launches(runs, batch, precision, screen)
    row: dict[str, float] = {"kernels": len(update) + TORCH_KERNELS, "evaluation_kernels": len(evaluated)}
    row["gflop"] = sum(map(products, update)) / runs / 1e9
    row["megabytes"] = sum(map(moved, update)) / runs / 1e6
    for name, assumed in ASSUMED.items():
        of_update = sum(seconds(each, precision, assumed) for each in update) + TORCH_KERNELS * assumed.launch
        of_evaluation = sum(seconds(each, precision, assumed) for each in evaluated)
        of_evaluation += SCREEN_KERNELS * assumed.launch * screen
        row[name] = (of_update + of_evaluation / EVALUATE_EVERY) / runs * 1e6
    return row


def resources() -> list[dict[str, object]]:
    """What each kernel takes at the published size, float32."""
    update, evaluated = launches(24, 512, "float32")
    with recorded() as found:
        of = cohort(24, 512, "float32", sampled=True)
        of._advance(1)
        found.clear()
        of._evaluation.validate(of._stack, of._buffers, of._graphs)
        sampled = [each for each in found if each.name == "draw"]
    # One of each: kernels of the same name differ in sizes alone.
    chosen = {each.name: each for each in [*evaluated, *sampled, *update]}
    return [
        {"name": launch.name, "programs": launch.programs, **asdict(found), "at_once": found.programs_at_once}
        for launch, found in all_compiled(list(chosen.values())).values()
    ]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resources", action="store_true")
    if parser.parse_args().resources:
        print(json.dumps(resources(), indent=1))
        return
    headings = ("batch", "precision", "R", "kernels", "GFLOP", "MB", "us a model-step", "with `objective.screen`")
    print(f"| {' | '.join(headings)} |\n{'|---' * len(headings)}|")
    for batch, stacks in ((512, (1, 3, 8, 24, 96)), (32, (1, 3, 8, 32, 96))):
        for precision in PRODUCTS_A_SECOND:
            for runs in stacks:
                row, screened = (model_step(runs, batch, precision, screen) for screen in (False, True))  # type: ignore[arg-type]
                print(
                    f"| {batch} | {precision} | {runs} | {row['kernels']} + {row['evaluation_kernels']} / 10 "
                    f"| {row['gflop']:.2f} | {row['megabytes']:.0f} | {row['fast']:.0f} to {row['slow']:.0f} "
                    f"| {screened['fast']:.0f} to {screened['slow']:.0f} |"
                )


if __name__ == "__main__":
    main()
