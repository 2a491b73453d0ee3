"""Tiny random checkpoints of the families' real architectures, each with a tokenizer of its family's kind.

A folder holds what a hub repository holds: config.json, safetensors, tokenizer files. `sentence_transformer` adds the
modules that sentence-transformers reads, written by sentence-transformers itself.
"""

import contextlib
import json
import warnings
from pathlib import Path

import torch
import transformers
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling
from tiny_models import wordpiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

WIDTH = 32
SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
DECODER = {**SIZES, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512, "initializer_range": 0.3}
CORPUS = [
    "Represent the sentence for retrieval: the cat sat on the mat.",
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: cats and dogs",
    "task: search result | query: red and blue colours; title: none | text: it is not what it was",
    "search_query: passage: search_document: <instruct> <query> <response> <|user|> <|embed|>",
]


def _trained(tokenizer: Tokenizer, special: list[str], **arguments) -> Tokenizer:
    trainer = trainers.BpeTrainer(vocab_size=420, special_tokens=special, show_progress=False, **arguments)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _around(tokenizer: Tokenizer, before: list[str], after: list[str]) -> None:
    ids = [(each, tokenizer.token_to_id(each)) for each in dict.fromkeys([*before, *after])]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=[*before, "$A", *after], pair=[*before, "$A", *after, "$B", *after], special_tokens=ids
    )


def byte_level(*, before=(), after=(), special=("<|endoftext|>", "<|im_end|>"), **names) -> PreTrainedTokenizerFast:
    """Return a byte-level BPE, as Qwen's, ModernBERT's and RoBERTa's: a blank belongs to the word after it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    _trained(tokenizer, list(special), initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    _around(tokenizer, list(before), list(after))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def metaspace(*, before=("<s>",), after=(), prepend=True, **names) -> PreTrainedTokenizerFast:
    """Return a SentencePiece-like BPE with byte fallback, as Llama's and Mistral's (or Gemma's: nothing prepended)."""
    special = ["<unk>", "<s>", "</s>", "<pad>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    first = [normalizers.Prepend("▁")] if prepend else []
    tokenizer.normalizer = normalizers.Sequence([*first, normalizers.Replace(" ", "▁")])
    _trained(tokenizer, special)
    _around(tokenizer, list(before), list(after))
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"} | names
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names)


def unigram(*, before=(), after=("</s>",)) -> PreTrainedTokenizerFast:
    """Return a SentencePiece Unigram, as T5's and XLM-R's: blanks are folded, and each word begins with one."""
    words = sorted({word for text in CORPUS for word in text.split()})
    letters = "abcdefghijklmnopqrstuvwxyzRIGQT0123456789.,:;!?'-_<>|éï東"
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("<s>", 0.0), ("▁", -4.0)]
    pieces += [(f"▁{word}", -6.0 - at / 100) for at, word in enumerate(words)]
    pieces += [(letter, -8.0 - at / 100) for at, letter in enumerate(letters)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=2, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace(prepend_scheme="always")]
    )
    tokenizer.decoder = decoders.Metaspace()
    _around(tokenizer, list(before), list(after))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def checkpoint(folder: Path, config, tokenizer: PreTrainedTokenizerFast, maker=None) -> Path:
    """Write a model of random weights, large enough to tell texts apart, and its tokenizer."""
    torch.manual_seed(7)
    config.vocab_size = len(tokenizer)
    config.pad_token_id = tokenizer.pad_token_id
    with quiet():
        model = maker(config) if maker else transformers.AutoModel.from_config(config)
        for weight in model.parameters():  # zero biases and unit norms would hide a mistake
            weight.data += 0.05 * torch.randn_like(weight)
        model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def sentence_transformer(
    base: Path, folder: Path, pooling: str, *, include_prompt=True, dense=(), normalize=True, window=48, **prompts
) -> Path:
    """Write `base` again with the modules of sentence-transformers around it; `dense` are (out, bias, activation)."""
    torch.manual_seed(8)
    with quiet():
        modules = [Transformer(str(base), max_seq_length=window), Pooling(WIDTH, pooling, include_prompt)]
        width = WIDTH
        for out, bias, activation in dense:
            modules.append(Dense(width, out, bias=bias, activation_function=activation()))
            width = out
        if normalize:
            modules.append(Normalize())
        model = SentenceTransformer(modules=modules, device="cpu", prompts=prompts)
        model.save_pretrained(str(folder), create_model_card=False)
    return folder


def write_adapter(
    folder: Path, model, targets: tuple[str, ...], *, rank=4, alpha=16, prefix="base_model.model."
) -> dict:
    """Write a LoRA adapter in PEFT's format for the layers whose names end so; return {layer: (A, B)}."""
    generator = torch.Generator().manual_seed(len(str(folder.name)))
    pairs, weights = {}, {}
    for name, layer in model.named_modules():
        if not name.endswith(targets):
            continue
        embedding = isinstance(layer, torch.nn.Embedding)
        out, width = reversed(layer.weight.shape) if embedding else layer.weight.shape
        first = torch.randn(rank, width, generator=generator) * 0.1
        second = torch.randn(out, rank, generator=generator) * 0.1
        kind, suffix = ("lora_embedding_", "") if embedding else ("lora_", ".weight")
        weights |= {f"{prefix}{name}.{kind}A{suffix}": first, f"{prefix}{name}.{kind}B{suffix}": second}
        pairs[name] = (first, second)
    folder.mkdir(parents=True)
    from safetensors.torch import save_file

    save_file(weights, folder / "adapter_model.safetensors")
    facts = {"peft_type": "LORA", "r": rank, "lora_alpha": alpha, "bias": "none", "target_modules": list(targets)}
    (folder / "adapter_config.json").write_text(json.dumps(facts))
    return pairs


@contextlib.contextmanager
def quiet():
    """Keep libraries from drawing bars and from telling what does not concern the test."""
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if bars:
            transformers.logging.enable_progress_bar()


def bert(folder: Path) -> Path:
    """Return BERT with a WordPiece tokenizer: E5, BGE, mxbai, arctic, gte."""
    config = transformers.BertConfig(**SIZES, max_position_embeddings=64, initializer_range=0.3)
    return checkpoint(folder, config, wordpiece())


def xlm_roberta(folder: Path) -> Path:
    """Return XLM-R with a Unigram tokenizer: multilingual E5, arctic v2, bge-m3."""
    config = transformers.XLMRobertaConfig(
        **SIZES, max_position_embeddings=64, type_vocab_size=1, initializer_range=0.3, pad_token_id=0
    )
    return checkpoint(folder, config, unigram(before=["<s>"]))


def mpnet(folder: Path) -> Path:
    """Return MPNet: all-mpnet-base-v2."""
    config = transformers.MPNetConfig(**SIZES, max_position_embeddings=64, initializer_range=0.3)
    return checkpoint(folder, config, wordpiece())


def t5(folder: Path) -> Path:
    """Return a T5 encoder with a Unigram tokenizer: INSTRUCTOR."""
    config = transformers.T5Config(
        d_model=WIDTH,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        initializer_factor=3.0,
        feed_forward_proj="gated-gelu",
    )
    return checkpoint(folder, config, unigram(), transformers.T5EncoderModel)


def modernbert(folder: Path) -> Path:
    """Return ModernBERT with local and global layers: modernbert-embed, gte-modernbert, granite r2."""
    tokenizer = byte_level(
        before=["[CLS]"],
        after=["[SEP]"],
        special=("[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"),
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
    )
    config = transformers.ModernBertConfig(
        **SIZES, local_attention=8, global_attn_every_n_layers=2, initializer_range=0.3, max_position_embeddings=64
    )
    return checkpoint(folder, config, tokenizer)


def nomic_bert(folder: Path) -> Path:
    """Return nomic-bert: nomic-embed-text, arctic-embed-m-long."""
    return checkpoint(folder, transformers.NomicBertConfig(**SIZES, initializer_range=0.3), wordpiece())


def jina(folder: Path) -> Path:
    """Return the XLM-R with rotary positions of jina-embeddings-v3."""
    config = transformers.JinaEmbeddingsV3Config(**SIZES, max_position_embeddings=64, initializer_range=0.3)
    return checkpoint(folder, config, unigram(before=["<s>"]))


def qwen3(folder: Path) -> Path:
    """Return Qwen3 with a tokenizer that ends texts by a token that is not its end of sentence, and pads left."""
    tokenizer = byte_level(
        after=["<|endoftext|>"], eos_token="<|im_end|>", pad_token="<|endoftext|>", padding_side="left"
    )
    return checkpoint(folder, transformers.Qwen3Config(**DECODER), tokenizer)


def qwen2(folder: Path) -> Path:
    """Return Qwen2 with a tokenizer whose files forget to end texts: gte-Qwen2, stella 1.5B."""
    tokenizer = byte_level(eos_token="<|endoftext|>", pad_token="<|endoftext|>")
    return checkpoint(folder, transformers.Qwen2Config(**DECODER), tokenizer)


def mistral(folder: Path) -> Path:
    """Return Mistral with a tokenizer whose files forget to end texts: e5-mistral, GritLM, bge-en-icl."""
    return checkpoint(folder, transformers.MistralConfig(**DECODER, sliding_window=None), metaspace())


def llama(folder: Path) -> Path:
    """Return Llama: RepLLaMA, Promptriever."""
    return checkpoint(folder, transformers.LlamaConfig(**DECODER), metaspace())


def gemma3(folder: Path) -> Path:
    """Return the bidirectional Gemma3 of EmbeddingGemma."""
    config = transformers.Gemma3TextConfig(**DECODER, use_bidirectional_attention=True, sliding_window=16)
    return checkpoint(folder, config, metaspace(after=("</s>",), prepend=False))
