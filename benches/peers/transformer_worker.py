"""Runs the model of `transformer.py` for the program in `src/transformer`.

    python transformer_worker.py THREADS        a request a line on stdin, an answer a line on stdout, both JSON

A folder that a request names holds `setting.json`, `weights.safetensors`, and `batch0.safetensors` and so on.
"""

import json
import logging
import sys
import time
from functools import cache
from itertools import cycle, islice
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

import transformer


@cache
def load(folder):
    """A folder's setting, its weights, and its batches in the order of their numbers."""
    folder = Path(folder)
    setting = json.loads((folder / "setting.json").read_text())
    w = load_file(folder / "weights.safetensors")
    files = [folder / f"batch{number}.safetensors" for number in range(setting["batches"])]
    return setting, w, [transformer.prepare(load_file(file), w, setting["length"]) for file in files]


def check(folder):
    """Writes logits, losses and gradients of a folder's first batch to its `results.safetensors`, and how near to zero,
    where its gradient jumps, a rectifier's input came."""
    setting, w, (b, *_) = load(folder)
    shape, length = setting["transformer"], setting["length"]
    w = {name: values.clone().requires_grad_() for name, values in w.items()}
    inputs = []
    h = transformer.hidden(w, shape, b, length, inputs)
    logits = transformer.candidate_logits(w, b, h, inputs)
    transformer.mean_loss(w, shape, b, length, setting["training"]["next_weight"]).backward()
    results = {
        "logits": logits.detach()[b["cell"]],
        "nearest_kink": torch.stack([values.abs().min() for values in inputs]).min(),
        "losses": torch.stack(transformer.losses(w, shape, b, length)).detach(),
    }
    nothing = torch.zeros_like  # the gradient of a weight that no loss depends on
    gradients = {name: nothing(values) if values.grad is None else values.grad for name, values in w.items()}
    save_file(results | gradients, Path(folder) / "results.safetensors")
    return {}


class Trainer:
    """Training steps, the model as it is or compiled."""

    def __init__(self, folder, compiled):
        setting, w, batches = load(folder)
        shape, length, training = setting["transformer"], setting["length"], setting["training"]
        self.w = {name: values.clone().requires_grad_() for name, values in w.items()}
        self.clip_norm = training["clip_norm"]
        self.batches = cycle(batches)
        loss = lambda w, b: transformer.mean_loss(w, shape, b, length, training["next_weight"])
        self.loss = torch.compile(loss, dynamic=False) if compiled else loss
        groups = [
            {"params": [self.w[name] for name in setting["decaying"]], "weight_decay": training["weight_decay"]},
            {"params": [self.w[name] for name in w if name not in setting["decaying"]], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(
            groups,
            lr=training["learning_rate"],
            betas=(training["beta1"], training["beta2"]),
            eps=training["epsilon"],
            fused=True,
        )

    def train(self, steps):
        for b in islice(self.batches, steps):
            self.optimizer.zero_grad(set_to_none=True)
            loss = self.loss(self.w, b)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.w.values(), self.clip_norm)
            self.optimizer.step()
        return loss.item()


trainer = cache(Trainer)


def train(folder, compiled, steps):
    """Seconds of so many more steps, and the last one's loss."""
    of_folder = trainer(folder, compiled)
    start = time.perf_counter()
    loss = of_folder.train(steps)
    return {"seconds": time.perf_counter() - start, "loss": loss}


@cache
def answerer(folder, compiled):
    setting, w, _ = load(folder)
    shape, length = setting["transformer"], setting["length"]
    answer = lambda b: transformer.candidate_logits(w, b, transformer.hidden(w, shape, b, length))
    return torch.compile(answer, dynamic=False) if compiled else answer


@torch.inference_mode()
def latency(folder, compiled, sweeps):
    """Seconds that each question took, the batches asked in turn."""
    answer, (_, _, batches) = answerer(folder, compiled), load(folder)
    seconds = []
    for b in batches * sweeps:
        start = time.perf_counter()
        answer(b)
        seconds.append(time.perf_counter() - start)
    return {"seconds": seconds}


torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(0)
logging.getLogger("torch").setLevel(logging.ERROR)  # it misses triton, which only graphics cards need
requests = {"check": check, "train": train, "latency": latency}
print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}), flush=True)
for line in sys.stdin:
    request = json.loads(line)
    try:
        answer = requests[request.pop("do")](**request)
    except Exception as error:  # told to whoever asked
        answer = {"error": f"{type(error).__name__}: {error}"}
    print(json.dumps(answer), flush=True)
