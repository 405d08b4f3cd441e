"""What the data of a trial costs: timm's loader, images in memory, and the set-up of a second trial.

CPU seconds of one thread, the ways in alternation, medians of the ratios of each round. Before anything is timed, the
ways are compared: the bits of a loader's batch with its images augmented one by one, those in memory with what 0.1.0
makes of them, and the batches of a second trial with those of one that decodes for itself.

    python benchmarks/data.py loader                                  beside timm's own create_loader
    python benchmarks/data.py memory --against ../archsweep-0.1.0     a worktree of commit 5ad6dd2
    python benchmarks/data.py disk                                    in memory beside decoding from disk, at 224 pixels
    python benchmarks/data.py setup                                   first and second trial of a run

With `--malloc trial` the process has the settings of malloc that trials on Ray have.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_dataset, create_loader

from runners.data import DataInfo, describe_dataset, load_data
from runners.data.augmentation.auto_augment import with_black_posterising
from runners.data.augmentation.pipeline import training_transform
from runners.data.fingerprint import check_data, fingerprint
from runners.data.random_streams import generator, global_streams, stream_seed
from runners.data.shared.decoded import shared_description
from runners.engines.forkserver.trial_target import TRIAL_ENV
from runners.machine.file_digests import user_file_digests
from runners.machine.node_files import VARIABLE, node_files_kept
from search_space import Resources
from search_space.schema.trial import ClassificationSpec, TimmDatasetSpec, TrainSpec

CPU = torch.device("cpu")
TASK = ClassificationSpec(dataset=TimmDatasetSpec(name="folder/photos"))
LOADERS = {"flip": {}, "flip, RandAugment": {"aa": "rand-m9-mstd0.5-inc1"}, "flip, erasing": {"reprob": 0.25}}
SIZES = {64: (64, 1000), 224: (256, 300)}
"""Side of the input -> side of the images on disk, and their number."""

OF_A_TREE = """
import hashlib, json, sys, time
import torch
from runners.data import DataInfo, Images
from runners.data.tensor_loader import TensorTrainBatches
torch.set_num_threads(1)
for line in sys.stdin:
    side, number, size, padding, epoch = json.loads(line)
    stream = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (number, 3, side, side), dtype=torch.uint8, generator=stream)
    statistics = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
    info = DataInfo("noise", (side, side), 3, 2, number, 0, number, **statistics)
    images, options = Images(pixels, torch.zeros(number).long()), {"crop_padding": padding, "hflip": 0.5}
    shape = {"info": info, "img_size": (side, side), "device": torch.device("cpu"), "seed": 0}
    batches = TensorTrainBatches(images, batch_size=size, **shape, **options)
    began, digest = time.process_time(), hashlib.sha256()
    for inputs, _ in batches.epoch(epoch):
        pass
    took = time.process_time() - began
    if not epoch:
        for inputs, _ in batches.epoch(epoch):
            digest.update(inputs.numpy())
    print(json.dumps([took / (len(batches) * size), digest.hexdigest()]), flush=True)
"""


def write_photos(root: Path, number: int, side: int) -> None:
    """JPEGs of smooth noise in four classes, every tenth one for testing."""
    random = np.random.RandomState(0)
    for index in range(number):
        small = Image.fromarray(random.randint(0, 256, (8, 8, 3)).astype(np.uint8))
        folder = root / "photos" / ("train" if index % 10 else "validation") / f"class{index // 10 % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        small.resize((side, side), Image.Resampling.BICUBIC).save(folder / f"{index:06}.jpg", quality=90)


def load(root: Path, side: int, **train: Any) -> Any:
    memory: dict[str, Any] = {"in_memory_bytes": 0} if train.pop("is_on_disk", False) else {}
    task, resources = TASK, Resources(data_dir=str(root))
    options = TrainSpec(batch_size=100, hflip=0.5, **train)
    return load_data(task, options, resources, CPU, img_size=(side, side), seed=0, **memory)


def per_image(batches: Iterable[Any]) -> float:
    """CPU seconds of an image."""
    began, number = time.process_time(), 0
    for images, _ in batches:
        number += len(images)
    return (time.process_time() - began) / number


def in_alternation(ways: dict[str, Callable[[int], float]], rounds: int) -> dict[str, list[float]]:
    took: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):  # the first one warms up
        for name, way in ways.items():
            took[name].append(way(number + 1))
    return {name: values[1:] for name, values in took.items()}


def ratio(over: list[float], under: list[float]) -> float:
    return statistics.median(one / other for one, other in zip(over, under, strict=True))


def a_second(took: list[float]) -> str:
    return f"{1 / statistics.median(took):10,.0f}"


def measure_loader(rounds: int) -> None:
    titles = ("timm", "prefetcher", "ours", "ours/timm", "/prefetcher")
    print(f"{'images per CPU second':28} " + " ".join(f"{title:>11}" for title in titles))
    for side, (on_disk, number) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_photos(root, number, on_disk)
            for name, options in LOADERS.items():
                ours = load(root, side, is_on_disk=True, **options)
                check_loader(root, ours, side, TrainSpec(batch_size=100, hflip=0.5, **options))
                loaders = {way: timms(root, side, ours.info, options, way) for way in ("timm", "prefetcher")}
                ways: dict[str, Callable[[int], float]] = {
                    way: lambda epoch, loader=loader: per_image(loader) for way, loader in loaders.items()
                }
                ways["ours"] = lambda epoch, ours=ours: per_image(ours.train.epoch(epoch))
                took = in_alternation(ways, rounds)
                shown = " ".join(f"{a_second(took[way]):>11}" for way in ways)
                ratios = " ".join(f"{ratio(took[way], took['ours']):11.2f}" for way in loaders)
                print(f"{f'{side} px: {name}':28} {shown} {ratios}", flush=True)


def timms(root: Path, side: int, info: DataInfo, options: dict[str, Any], way: str) -> Any:
    of_timm = {{"aa": "auto_augment", "reprob": "re_prob"}[name]: value for name, value in options.items()}
    dataset: Any = create_dataset("folder/photos", root=str(root / "photos"), split="train")
    loader = create_loader(
        dataset,
        (3, side, side),
        100,
        is_training=True,
        color_jitter=0.0,
        mean=info.mean,
        std=info.std,
        num_workers=0,
        persistent_workers=False,
        device=CPU,
        use_prefetcher=way == "prefetcher",
        **of_timm,
    )
    dataset.transform = with_black_posterising(dataset.transform)  # timm's own fails with Pillow 13
    return loader


def check_loader(root: Path, ours: Any, side: int, train: TrainSpec) -> None:
    """The first batch is its images, each augmented with the generators seeded and restored for it alone."""
    dataset: Any = create_dataset("folder/photos", root=str(root / "photos"), split="train")
    transform = training_transform(train, ours.info, (side, side))
    order = torch.randperm(len(dataset), generator=generator(0, "order", 0))[:100].tolist()
    found, _ = next(iter(ours.train.epoch(0)))
    for image, index in zip(found, order, strict=True):
        with global_streams(stream_seed(0, "augmentation", 0, index)):
            assert torch.equal(image, transform(dataset[index][0])), "other bits than image by image"


def measure_memory(rounds: int, against: Path) -> None:
    print(f"{'images per CPU second':28} {'0.1.0':>10} {'now':>10} {'now/0.1.0':>10}")
    trees = {"0.1.0": against.resolve(), "now": Path(__file__).resolve().parents[1]}
    processes = {name: started(tree) for name, tree in trees.items()}
    for side, number, size in ((32, 5000, 128), (64, 2000, 100), (224, 200, 50)):
        for title, padding in (("flip", 0), ("crop, flip", 4)):
            shape = [side, number, size, padding]
            digests = {asked(process, [*shape, 0])[1] for process in processes.values()}
            assert len(digests) == 1, "other bits than 0.1.0"
            ways = {
                name: lambda epoch, process=process, shape=shape: asked(process, [*shape, epoch])[0]
                for name, process in processes.items()
            }
            took = in_alternation(ways, rounds)
            shown = " ".join(a_second(took[way]) for way in ways)
            print(f"{f'{side} px: {title}':28} {shown} {ratio(took['0.1.0'], took['now']):10.2f}", flush=True)


def started(tree: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree)}
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-c", OF_A_TREE], env=environment, cwd=tree, **pipes)


def asked(process: subprocess.Popen[str], question: list[int]) -> tuple[float, str]:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(question) + "\n")
    process.stdin.flush()
    took, digest = json.loads(process.stdout.readline())
    return took, digest


def measure_disk(rounds: int) -> None:
    """At 224 pixels: crop and flip in memory, beside a loader that decodes, crops and flips."""
    side, (on_disk, number) = 224, SIZES[224]
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_photos(root, number, on_disk)
        loader = load(root, side, is_on_disk=True)
        memory = load(root, side, crop_padding=4)
        assert (loader.info.storage, memory.info.storage) == ("loader", "memory")
        ways = {"disk": loader.train.epoch, "memory": memory.train.epoch}
        took = in_alternation(
            {name: lambda epoch, way=way: per_image(way(epoch)) for name, way in ways.items()}, rounds
        )
        print(f"{'images per CPU second':28} {'disk':>10} {'memory':>10} {'memory/disk':>11}")
        shown = " ".join(a_second(took[way]) for way in ways)
        print(f"{f'{side} px: crop, flip':28} {shown} {ratio(took['disk'], took['memory']):11.2f}")


def set_up(root: Path, digest: str, side: int, answers: Any) -> None:
    """What a trial does before it trains: CPU seconds, and the digest of its batches."""
    torch.set_num_threads(1)
    resources, began = Resources(data_dir=str(root)), time.process_time()
    check_data(TASK, resources, digest)
    info = shared_description(TASK, resources, digest, describe_dataset)
    train = TrainSpec(batch_size=100, hflip=0.5)
    data = load_data(TASK, train, resources, CPU, img_size=(side, side), seed=0, info=info)
    took, batches = time.process_time() - began, hashlib.sha256()
    for part in (data.train.epoch(0), data.test):
        for images, _ in part:
            batches.update(images.numpy())
    answers.put((took, batches.hexdigest()))


def measure_setup(rounds: int) -> None:
    print(f"{'CPU seconds of the set-up':28} {'alone':>10} {'first':>10} {'second':>10} {'second/first':>12}")
    for side, number in ((32, 5000), (64, 2000), (224, 400)):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["ARCHSWEEP_CACHE"] = str(Path(folder) / "cache")
            root = Path(folder)
            write_photos(root, number, side)
            time.sleep(2.5)  # files that changed just now are read again for the fingerprint
            digest = fingerprint(TASK, Resources(data_dir=str(root)), user_file_digests()).digest
            took: dict[str, list[float]] = {"alone": [], "first": [], "second": []}
            for number_of_round in range(rounds):
                place = Path(folder) / f"node{number_of_round}"
                place.mkdir()
                os.environ[VARIABLE] = "off"
                answers = {"alone": in_a_child(root, digest, side)}
                os.environ[VARIABLE] = str(place)
                with node_files_kept():
                    answers |= {name: in_a_child(root, digest, side) for name in ("first", "second")}
                assert len({batches for _, batches in answers.values()}) == 1, "other batches than a trial alone"
                for name, (seconds, _) in answers.items():
                    took[name].append(seconds)
            shown = " ".join(f"{statistics.median(values):10.3f}" for values in took.values())
            print(
                f"{f'{number} images of {side} px':28} {shown} {ratio(took['second'], took['first']):12.3f}", flush=True
            )


def in_a_child(root: Path, digest: str, side: int) -> tuple[float, str]:
    context = multiprocessing.get_context("fork")  # as a trial on Ray, with everything imported
    answers = context.SimpleQueue()
    child = context.Process(target=set_up, args=(root, digest, side, answers))
    child.start()
    child.join()
    assert child.exitcode == 0
    return answers.get()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("what", choices=("loader", "memory", "disk", "setup"))
    parser.add_argument("--against", type=Path, help="folder of archsweep 0.1.0, for `memory`")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--malloc", choices=("default", "trial"), default="default")
    given = parser.parse_args()
    if given.malloc == "trial" and "MALLOC_TOP_PAD_" not in os.environ:  # read when a process starts
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **TRIAL_ENV})
    torch.set_num_threads(1)
    if given.what == "memory":
        if given.against is None:
            parser.error("`memory` needs --against")
        measure_memory(given.rounds, given.against)
    else:
        {"loader": measure_loader, "disk": measure_disk, "setup": measure_setup}[given.what](given.rounds)


if __name__ == "__main__":
    main()
