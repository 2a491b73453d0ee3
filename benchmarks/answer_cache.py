"""Measure what several views of the same texts save when a causal answer model reads each text once for all of them.

    python benchmarks/answer_cache.py [--views 4] [--texts 6] [--tokens 200] [--rounds 3] [--models opt llama]

Weights are random, in the shapes of OPT-125M and of a Llama of 150M: neither time nor equality depends on what they
hold. Texts are pieces of the standard library's sources, all of the same number of tokens. Both ways are timed in
turn, so that a busy machine slows both; figures are medians. The last line is JSON.
"""

import argparse
import json
import statistics
import sys
import sysconfig
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers
from results import file
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers

from instructsearch import embed
from instructsearch.embed.answer import AnswerEmbedder
from instructsearch.embed.encoder import native_bfloat16

QUESTIONS = (
    "What is the topic of the text?",
    "What does the author want the reader to do?",
    "Which technology does it belong to?",
    "How difficult is it, and for whom was it written?",
    "What can go wrong?",
    "Who is responsible for it?",
    "What does it depend on?",
    "Where would one look for more?",
)


def opt():
    return transformers.OPTForCausalLM(transformers.OPTConfig(vocab_size=50272))


def llama():
    config = transformers.LlamaConfig(
        vocab_size=32000,
        hidden_size=1024,
        intermediate_size=2816,
        num_hidden_layers=10,
        num_attention_heads=16,
        tie_word_embeddings=True,
    )
    return transformers.LlamaForCausalLM(config)


MODELS = {"opt": ("OPT 125M", opt), "llama": ("Llama 150M", llama)}


def sources():
    """Yield the standard library's sources, one long string for each package or module."""
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        yield path.read_text("utf-8", "replace")


def write_model(folder, make):
    """Save a random model and a byte-level tokenizer; return its profile."""
    torch.manual_seed(0)
    make().save_pretrained(folder)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    special = ["<s>", "<pad>", "</s>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=8000, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator((text[:20_000] for text, _ in zip(sources(), range(60), strict=False)), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="</s> $A", special_tokens=[("</s>", 2)])
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"bos_token": "</s>", "eos_token": "</s>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(names), "utf-8")
    width = json.loads((folder / "config.json").read_text("utf-8"))["hidden_size"]
    facts = {**embed.find("inbedder-opt-1.3b").to_dict(), "name": folder.name, "model": str(folder), "dim": width}
    return embed.Profile.from_dict(facts)


def pieces(tokenizer, count, tokens):
    """Return texts of so many tokens each, cut from different places of the sources."""
    found = []
    for text in sources():
        offsets = tokenizer.encode(text[:50_000], add_special_tokens=False).offsets
        if len(offsets) > 2 * tokens:
            found.append(text[offsets[tokens][0] : offsets[2 * tokens][0]])
        if len(found) == count:
            return found
    raise SystemExit(f"the standard library has only {len(found)} texts of {tokens} tokens; ask for fewer")


def seconds(run):
    start = time.perf_counter()
    result = run()
    return time.perf_counter() - start, result


def measure(embedder, texts, questions, rounds):
    """Return the figures of one model in one precision."""
    embedder.encode_many(texts[:1], questions[:2])  # whatever is done once
    apart, together = [], []
    for _ in range(rounds):
        spent, alone = seconds(lambda: [embedder.encode(texts, each) for each in questions])
        apart.append(spent)
        spent, shared = seconds(lambda: embedder.encode_many(texts, questions))
        together.append(spent)
    cosine = min(float((a * b).sum(axis=1).min()) for a, b in zip(alone, shared, strict=True))
    return {
        "apart_s": statistics.median(apart),
        "together_s": statistics.median(together),
        "speedup": statistics.median(apart) / statistics.median(together),
        "difference": max(float(np.abs(a - b).max()) for a, b in zip(alone, shared, strict=True)),
        "cosine": cosine,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--views", type=int, default=4, choices=range(2, len(QUESTIONS) + 1))
    parser.add_argument("--texts", type=int, default=6)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--device", default="auto")
    given = parser.parse_args()
    transformers.logging.disable_progress_bar()
    questions = QUESTIONS[: given.views]
    rows = []
    print("model       precision   one by one  shared   speed-up  largest difference  least cosine")
    for name in given.models:
        title, make = MODELS[name]
        with tempfile.TemporaryDirectory() as folder:
            profile = write_model(Path(folder), make)
            exact = AnswerEmbedder(profile, device=given.device, precision="float32")
            texts = pieces(exact.tokenizer, given.texts, given.tokens)
            for precision in ("float32", "bfloat16") if native_bfloat16(exact.device) else ("float32",):
                exact.precision = precision
                found = measure(exact, texts, questions, given.rounds)
                rows.append({"model": title, "precision": precision, "device": exact.device, **found})
                print(
                    f"{title:<11} {precision:<11} {found['apart_s']:>8.2f} s {found['together_s']:>6.2f} s"
                    f" {found['speedup']:>8.2f} x {found['difference']:>19.1e} {found['cosine']:>13.6f}",
                    flush=True,
                )
    settings = {"views": given.views, "texts": given.texts, "tokens": given.tokens, "rounds": given.rounds}
    file("answer_cache", {"torch": torch.__version__, **settings, "rows": rows})


if __name__ == "__main__":
    sys.exit(main())
