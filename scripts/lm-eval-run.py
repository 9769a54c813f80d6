"""Runs tasks of lm-evaluation-harness against a server; scripts/lm-eval-server.mjs starts one and checks what comes.

Needs lm_eval 0.4.13 with requests, aiohttp, tenacity, transformers and datasets; nothing is downloaded. What the
harness imports and does not need here may be missing.

Usage: python scripts/lm-eval-run.py MODEL ARGS TASKS FOLDER OUTPUT
  MODEL   local-completions or local-chat-completions
  ARGS    JSON: model_args
  TASKS   names, with commas; their YAML files lie in FOLDER
  OUTPUT  JSON: {task: [{arguments, responses}]} and {results}
"""

import json
import os
import sys
import types

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_OFFLINE"] = "1"

import datasets  # noqa: E402, F401 - before missing modules get stand-ins


class Missing(types.ModuleType):
    """A module that is imported and never called."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self.__name__}.{name}")

    def __call__(self, *_args, **_kwargs):
        raise RuntimeError(f"{self.__name__} is missing")


for name in ["evaluate", "pytablewriter", "sqlitedict", "word2number", "rouge_score", "jsonlines"]:
    try:
        __import__(name)
    except ImportError:
        sys.modules[name] = Missing(name)

import lm_eval  # noqa: E402
from lm_eval.tasks import TaskManager  # noqa: E402

model, args, tasks, folder, output = sys.argv[1:]
result = lm_eval.simple_evaluate(
    model=model,
    model_args=json.loads(args),
    tasks=tasks.split(","),
    task_manager=TaskManager(include_path=folder, include_defaults=False),
    apply_chat_template=model == "local-chat-completions",
    bootstrap_iters=0,
    log_samples=True,
    random_seed=1,
)


def told(sample):
    return {"arguments": sample["arguments"], "responses": sample["resps"]}


with open(output, "w", encoding="utf-8") as file:
    samples = {name: [told(sample) for sample in group] for name, group in result["samples"].items()}
    json.dump({"samples": samples, "results": result["results"]}, file, default=str)
