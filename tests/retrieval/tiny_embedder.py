"""A random BERT of a few thousand parameters, saved as a sentence-transformers model."""

from __future__ import annotations

from pathlib import Path

WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "home", "fast", "slow", "big", "small", "house", "tree", "bird", "sang", "of"]


def save(folder: Path, seed: int = 0, prompts: dict[str, str] | None = None) -> Path:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    plain = folder.with_name(folder.name + "-plain")
    plain.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", ":", ".", "query", "passage", *WORDS]
    (plain / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    BertModel(config).eval().save_pretrained(plain)
    BertTokenizerFast(str(plain / "vocab.txt"), model_max_length=32).save_pretrained(plain)
    words = Transformer(str(plain), max_seq_length=32)
    model = SentenceTransformer(modules=[words, Pooling(16)], device="cpu", prompts=prompts)
    model.save(str(folder), create_model_card=False)
    return folder
