"""A declarative runner for published fine-tuning methods: one recipe, from papers to a 4-bit GGUF and an evaluation."""

__version__ = "0.1.0"
