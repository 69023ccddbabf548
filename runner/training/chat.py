"""Chat messages, built in one place so that training, answering and export speak to a model in the same words."""

from __future__ import annotations

#: The chat template of models built here: ChatML as Qwen2.5 uses it, without tools and without a default system
#: prompt. (Qwen2.5's own template puts in "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
#: wherever no system message is given.)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

Message = dict[str, str]


def conversation(question_message: str, system_prompt: str | None = None, answer: str | None = None) -> list[Message]:
    """The messages of one exchange: ``[{"role": ..., "content": ...}, ...]``.

    ``question_message`` is the user's turn, already rendered from its prompt. ``system_prompt`` None gives no system
    message (a template may then put in its own default); an empty string gives an empty one. ``answer`` None leaves
    the assistant's turn to the model.
    """
    messages = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    messages.append({"role": "user", "content": question_message})
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return messages
