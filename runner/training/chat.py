"""Chat messages, built in one place so that training, answering and export speak to a model in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from runner.errors import StepError

#: The chat template of models built here: ChatML as Qwen2.5 uses it, without tools and without a default system
#: prompt. (Qwen2.5's own template puts in "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
#: wherever no system message is given.)
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

#: The same text, with Transformers' marks around what the assistant says and the end of its turn. Never stored with a model: other
#: readers of templates, llama.cpp among them, do not know the marks.
CHATML_MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)

#: What to do about a template that cannot tell the assistant's words.
MARKS = "set assistant_only_loss to false, or give the model a chat_template with {% generation %} and {% endgeneration %}"

Message = dict[str, str]


def conversation(
    question_message: str, system_prompt: str | None = None, answer: str | None = None, earlier: Sequence[Message] = ()
) -> list[Message]:
    """The messages of one exchange: ``[{"role": ..., "content": ...}, ...]``.

    ``question_message`` is the user's turn, already rendered from its prompt. ``system_prompt`` None gives no system
    message (a template may then put in its own default); an empty string gives an empty one. ``answer`` None leaves
    the assistant's turn to the model. ``earlier`` are turns of user and assistant before the question.
    """
    messages = [] if system_prompt is None else [{"role": "system", "content": system_prompt}]
    messages += [*earlier, {"role": "user", "content": question_message}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    return messages


def marked(tokenizer: Any) -> str:
    """The tokenizer's chat template with marks around the assistant's turns: its own, or its twin where one is known here or to TRL.

    StepError when there is none, or when the marks leave out the end of the turn, so that a model would not learn to stop.
    """
    from trl.chat_template_utils import get_training_chat_template, has_generation_markers, is_chat_template_stop_token_trained

    template: str = tokenizer.chat_template
    if template == CHATML:
        template = CHATML_MARKED
    elif not has_generation_markers(template):
        try:
            template = get_training_chat_template(tokenizer) or template
        except ValueError as error:
            raise StepError("the chat template does not mark the assistant's turns", where="assistant_only_loss", remedy=MARKS) from error
    if not is_chat_template_stop_token_trained(tokenizer, chat_template=template):
        raise StepError(
            "the marks of the chat template leave out the token that ends the assistant's turn: the model would not learn to stop",
            where="assistant_only_loss",
            remedy="put it before {% endgeneration %}",
        )
    return template
