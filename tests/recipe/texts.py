"""A recipe of toy kinds with the shape of a real one."""

WHOLE = """
title: A whole recipe
source: {document: "A paper"}
vars: {corpus: recipes/corpus, seed: 3407}
steps:
  papers:
    uses: read
    with: {paths: ["${vars.corpus}/*.md"]}
  chunks:
    uses: cut
    from: papers
    with: {size: 1000, overlap: 150}
  index:
    uses: search
    from: chunks
    with: {engine: {kind: graph, m: 32}}
  manual: {uses: ask, from: chunks}
  made: {uses: ask, from: {chunks: chunks, index: index}, with: {count: 3}}
  qa:
    uses: join
    from: [manual, made]
  splits:
    uses: parts
    from: qa
  base:
    uses: model
    with: {pretrained: {id: org/base}}
  lora:
    uses: tune
    from: {model: base, examples: splits.train}
    with:
      method: {kind: lora, r: 16, lora_alpha: 16}
      seed: "${vars.seed}"
  qlora:
    uses: tune
    like: lora
    with: {method: {kind: qlora, r: 8}}
  gguf:
    uses: pack
    from: {model: lora}
  answers:
    uses: reply
    from: {model: "${matrix.system}", questions: splits.test, index: "${matrix.rag}"}
    with: {prompt: prompts/answer.j2}
  scores:
    uses: judge
    from: answers
matrix:
  system: [base, lora, qlora, gguf]
  rag: [none, index]
claims:
  - says: retrieval helps
    where: section 8
    measure: {step: scores, metric: f1, at: {system: gguf, rag: index}}
    greater_than: {step: scores, metric: f1, at: {system: gguf, rag: none}}
profiles:
  smoke:
    steps:
      base: {from: papers, with: {pretrained: null, width: 8}}
      index: {with: {engine: {kind: flat}}}
      lora: {with: {max_steps: 20}}
"""
