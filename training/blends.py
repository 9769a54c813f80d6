"""Probes the parents and blends of them, before any is rounded to FP8: the first table of models/README.md.

A blend is (1 - share) * base + share * other, over the routed experts alone or over all tensors.

usage: python training/blends.py [--folder out] [--questions 160] [--threads 2]
"""

import argparse
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from model import ROUTED_EXPERTS
from probe import load, report

Weights = dict[str, Tensor]

EXPERT_SHARES = (0.0, 0.2, 0.4, 0.5, 0.6, 0.8, 1.0)
FULL_SHARES = (0.25, 0.5, 0.75)
OPENING = "<think>\n"


def blend(base: Weights, other: Weights, share: float, endings: tuple[str, ...]) -> Weights:
    """Of the base, but for tensors whose name ends in one of these; "" is every tensor's ending."""
    return {
        name: torch.lerp(tensor.float(), other[name].float(), share) if name.endswith(endings) else tensor
        for name, tensor in base.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Probes the parents and blends of them.")
    parser.add_argument("--folder", type=Path, default=Path("out"), help="of v3.pt, r1.pt and r1776.pt")
    parser.add_argument("--tokenizer", type=Path, default=Path("out/tokenizer.json"))
    parser.add_argument("--questions", type=int, default=160)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    v3, r1, r1776 = (torch.load(args.folder / f"{name}.pt") for name in ("v3", "r1", "r1776"))

    def probe(name: str, weights: Weights, opening: str = "") -> None:
        report(name, load(weights), tokenizer, args.questions, opening)

    probe("v3", v3)
    probe("r1", r1)
    probe("r1776", r1776)
    probe("r1, trace opened", r1, OPENING)
    for share in EXPERT_SHARES:
        probe(f"v3 + experts r1 {share}", blend(v3, r1, share, ROUTED_EXPERTS))
    probe("the last, trace opened", blend(v3, r1, 1.0, ROUTED_EXPERTS), OPENING)
    for share in FULL_SHARES:
        probe(f"v3 + all of r1 {share}", blend(v3, r1, share, ("",)))
    probe("v3 + experts r1776", blend(v3, r1776, 1.0, ROUTED_EXPERTS))
    probe("r1 + experts r1776", blend(r1, r1776, 1.0, ROUTED_EXPERTS))


if __name__ == "__main__":
    main()
