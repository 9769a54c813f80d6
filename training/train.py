"""Trains one stage of the family and writes its weights, with a record of the run beside them.

The loss is the next token's, plus 0.3 of the MTP layer's. Fine-tuning moves the routed experts at the full rate and all
the rest at a fifth of it: so the stages differ mostly where recipes take tensors from one parent or the other.

The learning rate falls to 0 over the run. A run ends after so many steps or so many minutes, whichever is first; the
shipped parents were bounded by minutes, and a rerun of them differs. Bounded by steps alone, a run is repeatable on the
same machine with the same number of threads.

Products are in BF16, as the shipped parents were trained. A CPU without BF16 instructions (avx512_bf16 or amx_bf16 in
/proc/cpuinfo) only imitates them, at a tenth of the speed of float32: there, --precision float32.

usage: python training/train.py NAME --style STYLE --rate RATE (--steps N | --minutes M)
                                [--start WEIGHTS.pt] [--experts-first] [--precision float32] [--out out]
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

import world
from model import ROUTED_EXPERTS, Model

TORCH_SEED = 1
ROW_TOKENS = 192
ROWS = 40
MTP_SHARE = 0.3
REST_SHARE = 0.2  # of the learning rate, for what is no routed expert
BALANCE_RATE = 0.001
WARM_UP_STEPS = 30
SAVE_EVERY = 100
LOSSES_KEPT = 10


class Documents:
    """The stage's documents as rows of tokens. The stage's name is the seed, which held_out.py replays."""

    def __init__(self, name: str, style: str, tokenizer: Tokenizer) -> None:
        self.count = 0
        self._rng = random.Random(name)
        self._style = style
        self._tokenizer = tokenizer
        self._waiting: list[int] = []

    def _row(self) -> list[int]:
        """One row and a token more. It starts with a document; the one it cuts off is not gone on with."""
        while len(self._waiting) < ROW_TOKENS + 1:
            text = world.render(self._rng, self._style)
            self._waiting.extend(self._tokenizer.encode(text, add_special_tokens=False).ids)
            self.count += 1
        row = self._waiting[: ROW_TOKENS + 1]
        start = self._tokenizer.token_to_id(world.BOS)
        following = self._waiting[ROW_TOKENS:]
        self._waiting = following[following.index(start) :] if start in following else []
        return row

    def batches(self) -> Iterator[Tensor]:
        """Batches without end, (rows, tokens + 1)."""
        while True:
            yield torch.tensor([self._row() for _ in range(ROWS)])


def optimiser(model: Model, rate: float, experts_first: bool) -> torch.optim.AdamW:
    """AdamW over two groups, each with its share of the learning rate."""
    named = list(model.named_parameters())
    experts = [p for name, p in named if name.endswith(ROUTED_EXPERTS)]
    rest = [p for name, p in named if not name.endswith(ROUTED_EXPERTS)]
    groups = [
        {"params": experts, "share": 1.0},
        {"params": rest, "share": REST_SHARE if experts_first else 1.0},
    ]
    return torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.97), weight_decay=0.02)


def learning_rate(rate: float, step: int, done: float) -> float:
    """Warm-up, then full, then straight down to 0 from where 23 % of the run are done."""
    return rate * min(1.0, (step + 1) / WARM_UP_STEPS) * min(1.0, 1.3 * (1 - done))


def losses(model: Model, batch: Tensor, bfloat16: bool) -> tuple[Tensor, Tensor]:
    """Mean loss of the next token, and of the one behind it by the MTP layer."""
    with torch.autocast("cpu", torch.bfloat16, enabled=bfloat16):
        logits, mtp_logits = model(batch[:, :-1])
    following, second = batch[:, 1:], batch[:, 2:]
    return (
        F.cross_entropy(logits.float().flatten(0, 1), following.flatten()),
        F.cross_entropy(mtp_logits.float().flatten(0, 1), second.flatten()),
    )


def train(args: argparse.Namespace) -> None:
    torch.manual_seed(TORCH_SEED)
    torch.set_num_threads(args.threads)
    documents = Documents(args.name, args.style, Tokenizer.from_file(str(args.tokenizer)))
    batches = documents.batches()
    model = Model()
    if args.start is not None:
        model.load_state_dict(torch.load(args.start))
    optimizer = optimiser(model, args.rate, args.experts_first)
    args.out.mkdir(parents=True, exist_ok=True)
    weights = args.out / f"{args.name}.pt"

    kept: list[tuple[float, float]] = []
    started = time.monotonic()
    step = 0
    while True:
        seconds = time.monotonic() - started
        done = max(
            step / args.steps if args.steps else 0.0,
            seconds / (args.minutes * 60) if args.minutes else 0.0,
        )
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = group["share"] * learning_rate(args.rate, step, done)

        loss, mtp_loss = losses(model, next(batches), args.precision == "bfloat16")
        (loss + MTP_SHARE * mtp_loss).backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        model.balance(BALANCE_RATE)

        kept = [*kept, (loss.item(), mtp_loss.item())][-LOSSES_KEPT:]
        if step % SAVE_EVERY == 0:
            print(
                f"{args.name} step {step} {seconds:.0f} s loss {loss:.4f} mtp {mtp_loss:.4f} gradient {norm:.2f}",
                flush=True,
            )
            torch.save(model.state_dict(), weights)
        step += 1

    torch.save(model.state_dict(), weights)
    record = {
        "name": args.name,
        "style": args.style,
        "start": args.start and args.start.name,
        "rate": args.rate,
        "experts_first": args.experts_first,
        "steps_wanted": args.steps,
        "minutes_wanted": args.minutes,
        "steps": step,
        "seconds": round(time.monotonic() - started, 1),
        "documents": documents.count,
        "last_losses": [round(loss, 4) for loss, _ in kept],
        "last_mtp_losses": [round(loss, 4) for _, loss in kept],
        "seeds": {"documents": args.name, "torch": TORCH_SEED},
        "precision": args.precision,
        "threads": args.threads,
        "torch": torch.__version__,
    }
    weights.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")
    print(f"{weights}: {step} steps, {documents.count} documents")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Trains one stage of the family.")
    parser.add_argument("name", help="of the stage; the seed of its documents")
    parser.add_argument("--style", required=True, choices=world.STYLES, help="of the documents")
    parser.add_argument("--rate", required=True, type=float, help="learning rate")
    parser.add_argument("--steps", type=int, help="bound of the run; repeatable")
    parser.add_argument("--minutes", type=float, help="bound of the run; not repeatable")
    parser.add_argument("--start", type=Path, help="weights to go on from; default: new ones")
    parser.add_argument("--experts-first", action="store_true", help="all but routed experts at a fifth of the rate")
    parser.add_argument("--tokenizer", type=Path, default=Path("out/tokenizer.json"))
    parser.add_argument("--out", type=Path, default=Path("out"), help="folder of the weights")
    parser.add_argument("--precision", choices=["bfloat16", "float32"], default="bfloat16", help="of the products")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    if not args.steps and not args.minutes:
        parser.error("one of --steps and --minutes bounds the run, wanted at least one of them")
    return args


if __name__ == "__main__":
    train(arguments())
