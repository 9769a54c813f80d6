"""Prompts and verdicts of lm-evaluation-harness for the small tasks in test/tasks/data/lm-eval.

Writes expected.ndjson beside them, which test/tasks/lm-eval.test.ts compares with. Needs lm_eval 0.4.13, jinja2,
numpy and datasets; nothing is downloaded. `evaluate` is not used by what runs here and may be missing.

Usage, in the repository's root: HF_HUB_OFFLINE=1 python scripts/lm-eval-verdicts.py
"""

import json
import os
import sys
import types

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets  # noqa: E402, F401 - before missing modules get stand-ins: it looks for torch


class Missing(types.ModuleType):
    """A module that is imported and never called."""

    __path__ = []

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Missing(f"{self.__name__}.{name}")

    def __call__(self, *_args, **_kwargs):
        raise RuntimeError(f"{self.__name__} is missing")


for name in ["evaluate", "sklearn", "sklearn.metrics", "sacrebleu", "torch", "transformers", "rouge_score"]:
    try:
        __import__(name)
    except ImportError:
        sys.modules[name] = Missing(name)

from lm_eval.api.task import ConfigurableTask  # noqa: E402
from lm_eval.tasks._yaml_loader import load_yaml  # noqa: E402

for name in [name for name, module in sys.modules.items() if isinstance(module, Missing)]:
    del sys.modules[name]  # datasets looks for torch again, and believes it

FOLDER = "test/tasks/data/lm-eval"
ANSWERS = {
    "sums_generate": [
        *["2", " 2", " It is 2.", "2.0", "1000", "$1,000.", "It is 1,000", "1 000", "-7", "- 7", "−7", "minus seven", ""],
        *["#### 2", "3 - 10 = -7.", "the 2nd", "2 3", "two", "1,000 and 7", "٢"],
    ],
    "sums_words": [
        *["The answer is it's two.", "Answer: its two", " ANSWER: It's Two\n", "answer -- a thousand. Or not.", "the result: 7"],
        *["answer: seven\nmore", "42", "42\n", "٤٢", "answers: it's two", "reanswer it's two", "answer: it’s two", "", "-7"],
        *["result (a thousand)", "Answer: É", "the answer\u00a0a thousand", "answer 3a 5thousand"],
    ],
    "sums_plain": ["2", " 2", "two", "Two", "two.", "a thousand", "1,000", "1000", "-7", ""],
}
# Per document: log-likelihoods of its choices.
LIKELIHOODS = [[-1.0, -2.0, -3.0], [-3.0, -2.0, -1.0], [-2.0, -2.0, -2.0], [-1.5, -3.9, -2.4], [-9.0, -8.0, -9.5]]


def verdicts(task, document):
    if task.OUTPUT_TYPE == "generate_until":
        for answer in ANSWERS[task.config.task]:
            responses = [[answer]]
            for step in task._filters[0].filters:
                responses = list(step().apply(responses, [document]))
            score = task.process_results(document, [responses[0]])["exact_match"]
            yield {"answer": answer, "correct": bool(score == 1)}
        return
    metric = task.config.metric_list[0]["metric"]
    for values in LIKELIHOODS:
        score = task.process_results(document, [(value, False) for value in values])[metric]
        yield {"likelihoods": values, "correct": bool(score == 1)}


def main():
    expected = []
    os.chdir(FOLDER)
    for file in sorted(os.listdir(".")):
        if not file.endswith(".yaml") or file.startswith("_"):
            continue
        task = ConfigurableTask(config=load_yaml(file))
        questions = []
        for document in task.eval_docs:
            prompt = task.fewshot_context(document, num_fewshot=0)
            questions.append({"prompt": prompt, "verdicts": list(verdicts(task, document))})
        entry = {"task": task.config.task, "questions": questions}
        if task.OUTPUT_TYPE == "multiple_choice":
            requests = task.construct_requests(task.eval_docs[0], questions[0]["prompt"])
            entry["continuations"] = [request.args[1] for request in requests]
        else:
            entry["until"] = task.config.generation_kwargs["until"]
        expected.append(entry)
    with open("expected.ndjson", "w", encoding="utf-8") as out:
        for entry in expected:
            out.write(json.dumps(entry, ensure_ascii=False) + "\n")


main()
