"""Tiny random rerankers of the real architectures, written as their hub repositories are."""

import json
from pathlib import Path

import tiny_families as tiny
import transformers
from sentence_transformers import CrossEncoder
from tiny_models import wordpiece

QUERY = "represent the cat"
PASSAGES = [
    "the cat sat on the mat",
    "a red dog, and a blue one",
    "it is not what it was; colours?",
    "",
    "naïve 東京 \t\n",
    "the dog sat " * 5,
    "the cat sat on the mat",
]
LONG = {**tiny.DECODER, "max_position_embeddings": 2048}


def cross(folder: Path, family: str, **config) -> Path:
    """Return a classifier of one label."""
    sizes = {**tiny.SIZES, "initializer_range": 0.3, "num_labels": 1}
    makers = {
        "bert": (transformers.BertConfig, transformers.BertForSequenceClassification, wordpiece, {}),
        "electra": (
            transformers.ElectraConfig,
            transformers.ElectraForSequenceClassification,
            wordpiece,
            {"embedding_size": 16},
        ),
        "xlm-roberta": (
            transformers.XLMRobertaConfig,
            transformers.XLMRobertaForSequenceClassification,
            lambda: tiny.unigram(before=["<s>"]),
            {"type_vocab_size": 1, "pad_token_id": 0},
        ),
        "deberta": (
            transformers.DebertaV2Config,
            transformers.DebertaV2ForSequenceClassification,
            wordpiece,
            {
                "relative_attention": True,
                "pos_att_type": ["p2c", "c2p"],
                "norm_rel_ebd": "layer_norm",
                "share_att_key": True,
                "position_buckets": 16,
                "max_relative_positions": -1,
                "position_biased_input": False,
                "type_vocab_size": 0,
                "pooler_hidden_size": tiny.WIDTH,
            },
        ),
        "modernbert": (
            transformers.ModernBertConfig,
            transformers.ModernBertForSequenceClassification,
            _modernbert_tokenizer,
            {"local_attention": 8, "global_attn_every_n_layers": 2, "classifier_pooling": "mean"},
        ),
        "qwen3": (
            transformers.Qwen3Config,
            transformers.Qwen3ForSequenceClassification,
            lambda: tiny.byte_level(eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="left"),
            {"num_key_value_heads": 2, "head_dim": 8},
        ),
    }
    made, maker, tokenizer, more = makers[family]
    settings = {**sizes, "max_position_embeddings": 96, **more, **config}
    words = tokenizer()
    words.model_max_length = 80
    return tiny.checkpoint(folder, made(**settings), words, maker)


def _modernbert_tokenizer():
    special = ("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]")
    names = {"cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
    return tiny.byte_level(
        before=["[CLS]"], after=["[SEP]"], special=special, model_input_names=["input_ids", "attention_mask"], **names
    )


def saved(base: Path, folder: Path, **arguments) -> Path:
    """Return a checkpoint as sentence-transformers itself saves it."""
    with tiny.quiet():
        model = CrossEncoder(str(base), device="cpu", **arguments)
        model.save_pretrained(str(folder), create_model_card=False)
    return folder


def qwen3_reranker(folder: Path) -> Path:
    """Return Qwen3 with a tokenizer that knows the chat's marks and the two answers."""
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "yes", "no")
    tokenizer = tiny.byte_level(special=special, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="left")
    return tiny.checkpoint(folder, transformers.Qwen3Config(**LONG), tokenizer, transformers.Qwen3ForCausalLM)


def mxbai_reranker(folder: Path) -> Path:
    """Return Qwen2 with its head tied to the embeddings, and a tokenizer that merges a mark with the line's end."""
    special = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer = tiny.byte_level(special=special, eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="left")
    config = transformers.Qwen2Config(**LONG, tie_word_embeddings=True)
    return tiny.checkpoint(folder, config, tokenizer, transformers.Qwen2ForCausalLM)


def gemma_reranker(folder: Path) -> Path:
    """Return Gemma with a tokenizer that begins texts and knows the answer."""
    tokenizer = tiny.metaspace(before=("<s>",), prepend=False)
    tokenizer.add_tokens(["Yes"])
    return tiny.checkpoint(folder, transformers.GemmaConfig(**LONG), tokenizer, transformers.GemmaForCausalLM)


def monot5(folder: Path) -> Path:
    """Return a T5 with a tokenizer that knows the two answers as words."""
    tokenizer = tiny.unigram()
    tokenizer.add_tokens(["▁true", "▁false"])
    config = transformers.T5Config(
        d_model=tiny.WIDTH,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        initializer_factor=3.0,
        decoder_start_token_id=0,
    )
    return tiny.checkpoint(folder, config, tokenizer, transformers.T5ForConditionalGeneration)


def write(folder: Path, name: str, facts: object) -> None:
    """Change one JSON file of a folder."""
    path = folder / name
    known = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**known, **facts} if isinstance(facts, dict) else facts))
