"""Tiny random language models of the architectures of InBedder, with the files that its checkpoints come with."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from instructsearch import embed

TEMPLATE = "### Input:\n{text}\n\n### Instruction:\n{instruction}\n\n### Response:"
WINDOW = 80
_SAMPLE = [
    TEMPLATE,
    "the cat sat on the mat",
    "What is the colour of the house?",
    "Who is angry, and how does the customer feel?",
]


def tiny_opt(folder: Path) -> Path:
    """Write an OPT with learned positions; like the published ones, it has a BOS and no tokenizer.json."""
    vocabulary = _byte_level(folder, ["<s>", "<pad>", "</s>"])
    names = {"bos_token": "</s>", "eos_token": "</s>", "unk_token": "</s>", "pad_token": "<pad>"}
    _settings(folder, tokenizer_class="GPT2Tokenizer", add_bos_token=True, **names)
    config = transformers.OPTConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        word_embed_proj_dim=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        ffn_dim=64,
        max_position_embeddings=WINDOW + 10,
        init_std=0.2,
    )
    return _save(transformers.OPTForCausalLM, config, folder)


def tiny_llama(folder: Path, *, window: int = 0) -> Path:
    """Write a Llama with rotary positions and grouped heads, whose tokenizer knows no borders between words.

    With `window` it is a Mistral that attends no further than that.
    """
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer.train_from_iterator(
        [*_SAMPLE, "mat\n\n### Instr", "yes\n\n\n###"],
        trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False),
    )
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    facts: dict[str, Any] = dict(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=64,
        max_position_embeddings=256,
        initializer_range=0.3,
    )
    if window:
        return _save(
            transformers.MistralForCausalLM, transformers.MistralConfig(sliding_window=window, **facts), folder
        )
    return _save(transformers.LlamaForCausalLM, transformers.LlamaConfig(**facts), folder)


def tiny_roberta(folder: Path) -> Path:
    """Write a RoBERTa with its masked-language-model head; like the published one, it has no tokenizer.json."""
    vocabulary = _byte_level(folder, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    names = {"bos_token": "<s>", "cls_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "unk_token": "<unk>"}
    _settings(folder, tokenizer_class="RobertaTokenizer", pad_token="<pad>", mask_token="<mask>", **names)
    config = transformers.RobertaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=WINDOW + 2,
        type_vocab_size=1,
        initializer_range=0.3,
    )
    return _save(transformers.RobertaForMaskedLM, config, folder)


def profile(folder: Path, like: str, **changes) -> embed.Profile:
    """Return a built-in profile turned to a tiny model."""
    facts = {**embed.find(like).to_dict(), "name": folder.name, "model": str(folder), "dim": 32, "max_tokens": WINDOW}
    return embed.Profile.from_dict({**{key: facts[key] for key in facts if key != "revision"}, **changes})


def _byte_level(folder: Path, special: list[str]) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(_SAMPLE, trainer)
    tokenizer.model.save(str(folder))
    return tokenizer.get_vocab_size()


def _settings(folder: Path, **facts: object) -> None:
    tokens = {key: value for key, value in facts.items() if key.endswith("_token") and isinstance(value, str)}
    (folder / "special_tokens_map.json").write_text(json.dumps(tokens), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"add_prefix_space": False, **facts}), "utf-8")


def _save(kind: type, config: transformers.PretrainedConfig, folder: Path) -> Path:
    torch.manual_seed(7)
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    kind(config).save_pretrained(folder)
    if bars:
        transformers.logging.enable_progress_bar()
    return folder
