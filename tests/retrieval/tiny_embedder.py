"""A random BERT of a few thousand parameters, saved as a sentence-transformers model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "home", "fast", "slow", "big", "small", "house", "tree", "bird", "sang", "of"]


def _config(vocabulary: list[str], **more: Any) -> Any:
    from transformers import BertConfig

    return BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        **more,
    )


def save(folder: Path, seed: int = 0, prompts: dict[str, str] | None = None) -> Path:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertModel, BertTokenizerFast

    plain = folder.with_name(folder.name + "-plain")
    plain.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", ".", "query", "passage", *WORDS]
    (plain / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    torch.manual_seed(seed)
    config = _config(vocabulary)
    BertModel(config).eval().save_pretrained(plain)
    BertTokenizerFast(str(plain / "vocab.txt"), model_max_length=32).save_pretrained(plain)
    words = Transformer(str(plain), max_seq_length=32)
    model = SentenceTransformer(modules=[words, Pooling(16)], device="cpu", prompts=prompts)
    model.save(str(folder), create_model_card=False)
    return folder


def save_colbert(folder: Path, seed: int = 0) -> Path:
    """A random ColBERT of a few thousand parameters, in the layout of Stanford's checkpoints (ColBERTv2)."""
    import json

    import torch
    from safetensors.torch import save_file
    from transformers import BertModel, BertTokenizerFast

    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[unused0]", "[unused1]", ":", ".", ",", "query", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    torch.manual_seed(seed)
    config = _config(vocabulary, architectures=["HF_ColBERT"])
    weights = {f"bert.{name}": tensor.contiguous() for name, tensor in BertModel(config).state_dict().items()}
    weights["linear.weight"] = torch.randn(8, 16)
    save_file(weights, str(folder / "model.safetensors"), metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config.to_dict()), encoding="utf-8")
    metadata = {"query_maxlen": 16, "doc_maxlen": 24, "query_token_id": "[unused0]", "doc_token_id": "[unused1]", "mask_punctuation": True}
    (folder / "artifact.metadata").write_text(json.dumps(metadata), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return folder


def save_reranker(folder: Path, seed: int = 0, labels: int = 1) -> Path:
    """A random cross-encoder of a few thousand parameters."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

    folder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ".", *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
        num_labels=labels,
        initializer_range=0.5,
    )
    BertForSequenceClassification(config).eval().save_pretrained(folder)
    BertTokenizerFast(str(folder / "vocab.txt"), model_max_length=64).save_pretrained(folder)
    return folder


def save_static(folder: Path, seed: int = 0) -> Path:
    """A table of random word vectors, of which a text's are averaged (sentence-transformers' StaticEmbedding)."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({word: number for number, word in enumerate(["[UNK]", *WORDS])}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    torch.manual_seed(seed)
    words = StaticEmbedding(tokenizer, embedding_weights=torch.randn(len(WORDS) + 1, 16).numpy())
    SentenceTransformer(modules=[words], device="cpu").save(str(folder), create_model_card=False)
    return folder
