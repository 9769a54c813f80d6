"""Trains the tokenizer of the family: a byte-level BPE of 636 tokens with DeepSeek-V3's pre-tokenizer.

V3 puts up to three digits into one token. With so small a vocabulary the merges would then be spent on numbers, so the
merges are trained on single digits, and the saved tokenizer splits as V3 does: "123" stays one piece there, but no
merge joins its digits. Sums can be done digit by digit, and the file still exercises V3's pattern.

The chat's tokens have DeepSeek's names. `<think>` and `</think>` are added tokens but no special ones, as in R1: who
leaves special tokens out of a text still sees the trace. The embedding has 640 rows; the last four have no token.

usage: python training/tokenizer.py [--out out/tokenizer.json]
"""

import argparse
import random
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

import world

PAD = "<｜▁pad▁｜>"
THINK = ("<think>", "</think>")
BPE_SIZE = 632  # three special tokens, 256 bytes, 373 merges; four more tokens are added behind them
TEXTS_PER_STYLE = 8000
TEXT_STYLES = ("base", "direct", "reasoner", "reasoner-open")

# The second and the third pattern of DeepSeek-V3's pre-tokenizer; the first splits digits.
CJK = "[一-龥぀-ゟ゠-ヿ]+"
WORDS_AND_SPACES = "|".join(
    [
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
        r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
        r" ?[\p{P}\p{S}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    ]
)


def pre_tokenizer(digits: str) -> pre_tokenizers.PreTokenizer:
    """DeepSeek-V3's pre-tokenizer, but for its pattern of digits."""
    patterns = (digits, CJK, WORDS_AND_SPACES)
    return pre_tokenizers.Sequence(
        [
            *(pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )


def without_tags(text: str) -> str:
    """The document as the merges see it: tokens that are added later leave no trace but a line's end."""
    for tag in (world.USER, world.ASSISTANT):
        text = text.replace(tag, "\n")
    for tag in (world.BOS, world.EOS, *THINK):
        text = text.replace(tag, "")
    return text


def train(texts: list[str]) -> Tokenizer:
    """The tokenizer whose merges come from these documents."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer(r"\p{N}")
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=BPE_SIZE,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[world.BOS, world.EOS, PAD],
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(without_tags, texts), trainer)
    tokenizer.pre_tokenizer = pre_tokenizer(r"\p{N}{1,3}")
    tokenizer.add_special_tokens(
        [AddedToken(tag, normalized=False, special=True) for tag in (world.USER, world.ASSISTANT)]
    )
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in THINK])
    return tokenizer


def main(out: Path) -> None:
    rng = random.Random(0)
    texts = {style: [world.render(rng, style) for _ in range(TEXTS_PER_STYLE)] for style in TEXT_STYLES}
    tokenizer = train([text for some in texts.values() for text in some])
    out.parent.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(out))
    print(f"{out}: {tokenizer.get_vocab_size()} tokens")
    for style, some in texts.items():
        lengths = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text in some]
        print(f"{style}: {sum(lengths) / len(lengths):.1f} tokens a document, {max(lengths)} at the most")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Trains the tokenizer of the family.")
    parser.add_argument("--out", type=Path, default=Path("out/tokenizer.json"))
    main(parser.parse_args().out)
