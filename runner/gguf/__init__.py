"""GGUF files: written from safetensors, checked, and run by llama.cpp.

``runner.gguf.export.export`` merges an adapter and quantises, a tensor at a time; ``runner.gguf.check.verify`` proves the result;
``runner.gguf.bundle.add_script`` puts an inference script beside it, ``runner.gguf.card.add_card`` a model card and a Modelfile;
``runner.gguf.llama.Model`` runs it. Each of these modules imports what it needs (torch, gguf, llama_cpp); importing the package itself
imports nothing.
"""
