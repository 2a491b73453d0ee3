"""Tiny random checkpoints of real architectures, in the on-disk format of sentence-transformers."""

import json
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,:;!?'-"
WORDS = ("the", "cat", "dog", "sat", "on", "mat", "represent", "sentence", "colour", "red", "blue")


def wordpiece() -> PreTrainedTokenizerFast:
    """Return a BERT tokenizer over single letters and a few whole words."""
    pieces = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), *WORDS]
    tokenizer = Tokenizer(models.WordPiece({piece: at for at, piece in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIAL, strict=True)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **dict(names))


def tiny_bert(
    folder: Path, *, max_tokens: int = 32, pooling: str = "mean", include_prompt: bool = True, **prompts
) -> Path:
    """Write a BERT of 2 layers and 32 dimensions, whose random weights are large enough to tell texts apart."""
    torch.manual_seed(7)
    tokenizer = wordpiece()
    config = BertConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.3,
    )
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    BertModel(config).save_pretrained(folder)
    if bars:
        transformers.logging.enable_progress_bar()
    tokenizer.save_pretrained(folder)
    write(folder / "modules.json", _modules("Transformer", "Pooling", "Normalize"))
    write(folder / "sentence_bert_config.json", {"max_seq_length": max_tokens, "do_lower_case": False})
    modes = {"mean": "mean_tokens", "cls": "cls_token", "last": "lasttoken", "weighted": "weightedmean_tokens"}
    chosen = {f"pooling_mode_{mode}": name == pooling for name, mode in modes.items()}
    write(
        folder / "1_Pooling" / "config.json",
        {"word_embedding_dimension": 32, **chosen, "include_prompt": include_prompt},
    )
    write(folder / "config_sentence_transformers.json", {"prompts": prompts, "default_prompt_name": None})
    return folder


def add_dense(folder: Path, out: int) -> Path:
    """Put a Dense layer with a hyperbolic tangent after the pooling."""
    write(folder / "modules.json", _modules("Transformer", "Pooling", "Dense", "Normalize"))
    activation = "torch.nn.modules.activation.Tanh"
    facts = {"in_features": 32, "out_features": out, "bias": True, "activation_function": activation}
    write(folder / "2_Dense" / "config.json", facts)
    generator = torch.Generator().manual_seed(9)
    weights = {"linear.weight": (out, 32), "linear.bias": (out,)}
    weights = {name: torch.randn(shape, generator=generator) for name, shape in weights.items()}
    save_file(weights, folder / "2_Dense" / "model.safetensors")
    return folder


def break_weights(folder: Path) -> None:
    """Put NaN into the model's last layer."""
    weights = load_file(folder / "model.safetensors")
    weights["encoder.layer.1.output.dense.weight"].fill_(torch.nan)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def write(path: Path, facts: object) -> None:
    """Write JSON, making the folder where it goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts), "utf-8")


def _modules(*names: str) -> list[dict[str, object]]:
    paths = ["", *(f"{at}_{name}" for at, name in enumerate(names[1:], 1))]
    return [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{name}"}
        for at, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
