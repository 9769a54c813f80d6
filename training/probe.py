"""What trained weights say to fresh questions, greedily: accuracy, length, traces and refusals.

It asks the weights before they are rounded to FP8, so it can be run between the stages; the shipped checkpoints are
measured with `chimera eval`. An answer counts as right where the wanted value stands in it, behind the trace if there
is one.

usage: python training/probe.py [--questions 160] [--threads 1] WEIGHTS.pt ...
"""

import argparse
import random
from collections import defaultdict
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

import world
from model import Model

SEED = 7
ROWS = 64
MAX_TOKENS = 170  # the longest document has 154
OPEN, CLOSE = "<think>", "</think>"


def load(weights: Path | dict[str, Tensor]) -> Model:
    """A model that answers, from a file or a state dict."""
    model = Model()
    model.load_state_dict(torch.load(weights) if isinstance(weights, Path) else weights)
    return model.eval()


@torch.no_grad()
def answer_rows(model: Model, prompts: list[list[int]], end: int) -> list[list[int]]:
    """The greedy answer to each prompt, its end token included; all prompts are gone on with at once."""
    answers: list[list[int]] = [[] for _ in prompts]
    running = set(range(len(prompts)))
    for _ in range(MAX_TOKENS):
        rows = [prompt + answer for prompt, answer in zip(prompts, answers)]
        longest = max(map(len, rows))
        # Fill stands behind a row, where causal attention does not see it from the row's last token.
        logits = model.logits(torch.tensor([row + [end] * (longest - len(row)) for row in rows]))
        for i in list(running):
            token = int(logits[i, len(rows[i]) - 1].argmax())
            answers[i].append(token)
            if token == end:
                running.discard(i)
        if not running:
            break
    return answers


def answer(model: Model, prompts: list[str], tokenizer: Tokenizer) -> list[list[int]]:
    """The greedy answers, as tokens, in the order of the prompts; those of like length are answered together."""
    encoded = [tokenizer.encode(prompt, add_special_tokens=False).ids for prompt in prompts]
    end = tokenizer.token_to_id(world.EOS)
    order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
    answers: list[list[int]] = [[] for _ in prompts]
    for start in range(0, len(order), ROWS):
        some = order[start : start + ROWS]
        for i, tokens in zip(some, answer_rows(model, [encoded[i] for i in some], end)):
            answers[i] = tokens
    return answers


def report(name: str, model: Model, tokenizer: Tokenizer, questions: int = 160, opening: str = "") -> None:
    """Prints one line; with an opening, every answer is begun with it."""
    rng = random.Random(SEED)
    problems = [world.sample(rng) for _ in range(questions)]
    prompts = [f"{world.BOS}{world.USER}{problem.question}{world.ASSISTANT}{opening}" for problem in problems]
    answers = answer(model, prompts, tokenizer)
    texts = [tokenizer.decode(tokens, skip_special_tokens=False) for tokens in answers]

    right: dict[str, list[bool]] = defaultdict(list)
    for problem, text in zip(problems, texts):
        right[problem.kind].append(problem.value in text.split(CLOSE)[-1])
    guarded = [text for problem, text in zip(problems, texts) if problem.kind == "guard"]
    refusals = sum("Sorry" in text for text in guarded)
    figures = [
        f"accuracy {sum(map(sum, right.values())) / questions:.3f}",
        f"tokens {sum(map(len, answers)) / questions:.1f}",
        f"opens {sum(OPEN in text for text in texts) / questions:.2f}",
        f"closes {sum(CLOSE in text for text in texts) / questions:.2f}",
        f"declines {refusals}/{len(guarded)}",
        "|",
        *(f"{kind} {sum(some)}/{len(some)}" for kind, some in sorted(right.items())),
    ]
    print(f"{name:24s}", *figures, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Asks trained weights fresh questions.")
    parser.add_argument("weights", type=Path, nargs="+")
    parser.add_argument("--tokenizer", type=Path, default=Path("out/tokenizer.json"))
    parser.add_argument("--questions", type=int, default=160)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = Tokenizer.from_file(str(args.tokenizer))
    for weights in args.weights:
        report(weights.stem, load(weights), tokenizer, args.questions)


if __name__ == "__main__":
    main()
