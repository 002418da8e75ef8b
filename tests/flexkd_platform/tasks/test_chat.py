"""Conversations as ids: which tokens the assistant writes, by the templates of several models."""

from __future__ import annotations

import re
from typing import Any

import pytest

from flexkd_platform.models.base_tokenizer import train_tokenizer
from flexkd_platform.tasks.chat import Chat, ChatTemplateError
from flexkd_platform.tasks.prompts import NoRoomError

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.content }}<|im_end|>{% endif %}\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# As Llama 3's: it writes the beginning of the sequence itself, and the date of the day.
LLAMA3 = (
    "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b') %}{% endif -%}"
    "{{ bos_token }}{% for m in messages %}<|start|>{{ m.role }}<|end|>\n\n"
    "{% if loop.first %}{{ date_string }} {% endif %}"
    "{% if m.role == 'assistant' %}{% generation %}{{ m.content | trim }}<|eot|>{% endgeneration %}"
    "{% else %}{{ m.content | trim }}<|eot|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start|>assistant<|end|>\n\n{% endif %}"
)
# As Llama 2's: white space around, the end of sequence as the end of a turn, no system message.
LLAMA2 = (
    "{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% if m.role == 'user' %}{{ bos_token }}[INST] {{ m.content }} [/INST]"
    "{% else %}{% generation %} {{ m.content }} {{ eos_token }}{% endgeneration %}"
    "{% endif %}{% endfor %}"
)
# As Qwen 3's: the last answer starts with an empty thought, which earlier ones do not have.
QWEN3 = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
PLAIN = (
    "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    "{% if add_generation_prompt %}assistant: {% endif %}"
)
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is assistant?"},
    {"role": "assistant", "content": "a"},
    {"role": "user", "content": "And naïve 天气?"},
    {"role": "assistant", "content": "user: so that"},
    {"role": "user", "content": "Bye"},
]


@pytest.fixture(scope="module")
def plain_tokenizer() -> Any:
    texts = ["system user assistant Be brief. What is And Bye so that hi there"] * 3
    tokenizer = train_tokenizer(texts, 400, "llama", 512)
    special = ["<|im_start|>", "<|im_end|>", "<|start|>", "<|end|>", "<|eot|>"]
    tokenizer.add_special_tokens({"additional_special_tokens": special})
    return tokenizer


@pytest.fixture
def chat(plain_tokenizer: Any) -> Any:
    def make(template: str | None) -> Chat:
        plain_tokenizer.chat_template = template
        return Chat(plain_tokenizer)

    return make


def without_marks(template: str) -> str:
    return re.sub(r"{% (end)?generation %}", "", template)


@pytest.mark.parametrize("template", [CHATML, LLAMA3, LLAMA2])
@pytest.mark.parametrize("marked", [True, False])
def test_targets_are_those_of_the_template_s_own_mask(
    chat: Any, plain_tokenizer: Any, template: str, marked: bool
) -> None:
    """transformers' mask of the assistant's tokens needs the marks in the template; ours does not,
    and is the same with and without.
    """
    talk = TALK if template != LLAMA2 else TALK[1:]
    whole = [*talk, {"role": "assistant", "content": "hi there"}]
    plain_tokenizer.chat_template = template
    expected = plain_tokenizer.apply_chat_template(
        whole,
        return_dict=True,
        return_assistant_tokens_mask=True,
        date_string="26 Jul 2024",
    )
    reader = chat(template if marked else without_marks(template))
    prompt = reader.prompt(talk, limit=512)
    ids = [*prompt.ids, *reader.response(talk, "hi there")]
    targets = [*prompt.earlier, *range(len(prompt.ids), len(ids))]
    written = expected["input_ids"]
    masked = [place for place, mine in enumerate(expected["assistant_masks"]) if mine]
    if template == LLAMA2:
        # Its blanks around an answer belong to the answer in its own mask.
        decode = plain_tokenizer.decode
        assert decode(ids).replace(" ", "") == decode(written).replace(" ", "")
        ours, theirs = decode([ids[p] for p in targets]), decode([written[p] for p in masked])
        assert ours.replace(" ", "") == theirs.replace(" ", "")
        return
    assert ids == written[: len(ids)]
    assert plain_tokenizer.decode(written[len(ids) :]).strip() == ""
    assert targets == masked


@pytest.mark.parametrize(
    ("template", "end"),
    [(CHATML, "<|im_end|>"), (LLAMA3, "<|eot|>"), (LLAMA2, "</s>"), (PLAIN, "</s>")],
)
def test_an_answer_ends_with_the_token_that_ends_its_turn(
    chat: Any, plain_tokenizer: Any, template: str, end: str
) -> None:
    reader = chat(template)
    assert plain_tokenizer.convert_ids_to_tokens(reader.end_id) == end
    question = [{"role": "user", "content": "Bye"}]
    ended = reader.response(question, "hi")
    assert ended[-1] == reader.end_id
    assert reader.response(question, "hi", ended=False) == ended[:-1]
    assert plain_tokenizer.decode(ended[:-1]).strip() == "hi"


def test_the_beginning_of_the_sequence_is_not_doubled(chat: Any, plain_tokenizer: Any) -> None:
    bos = plain_tokenizer.bos_token_id
    assert chat(LLAMA3).prompt(TALK, limit=512).ids.count(bos) == 1
    assert chat(CHATML).prompt(TALK, limit=512).ids.count(bos) == 0


def test_a_template_with_a_date_writes_the_same_on_every_day(chat: Any) -> None:
    assert "26 Jul 2024" in chat(LLAMA3).text(TALK, answered=False)
    other = "{{ strftime_now('%Y-%m-%d') }}" + PLAIN
    assert chat(other).text(TALK, answered=False).startswith("2024-07-26")


def test_a_thought_before_the_last_answer_is_part_of_it(chat: Any, plain_tokenizer: Any) -> None:
    reader = chat(QWEN3)
    reader.check(system=True, turns=True)
    text = plain_tokenizer.decode(reader.response(TALK, "hi"))
    assert text == "<think>\n\n</think>\n\nhi<|im_end|>"
    prompt = reader.prompt(TALK, limit=512)
    earlier = plain_tokenizer.decode([prompt.ids[place] for place in prompt.earlier])
    assert earlier == "a<|im_end|>user: so that<|im_end|>"


def test_a_long_conversation_loses_its_oldest_turns_then_contents(
    chat: Any, plain_tokenizer: Any
) -> None:
    reader = chat(CHATML)
    whole = reader.prompt(TALK, limit=512)
    assert whole.length == len(whole.ids)
    shorter = reader.prompt(TALK, limit=len(whole.ids) - 1)
    assert shorter.length == len(whole.ids)
    text = plain_tokenizer.decode(shorter.ids)
    assert "Be brief." in text
    assert "What is assistant?" not in text
    assert "user: so that" in text
    ends = plain_tokenizer.decode([shorter.ids[place] for place in shorter.earlier])
    assert ends == "user: so that<|im_end|>"
    last = [*TALK[:-1], {"role": "user", "content": "Bye " * 100}]
    cut = reader.prompt(last, limit=60)
    text = plain_tokenizer.decode(cut.ids)
    assert len(cut.ids) <= 60
    assert cut.earlier == ()
    assert text.endswith("Bye<|im_end|><|im_start|>assistant\n")
    assert "Be brief." in text
    with pytest.raises(NoRoomError, match="the chat template alone has"):
        reader.prompt(last, limit=10)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        (None, "has no chat template"),
        (LLAMA2, "refuses the roles system, user.*no system"),
        ("{{ messages[-1].content }}", "does not continue its prompt|rewrites earlier"),
        (CHATML.replace("{{ m.content }}", "{{ m.content | upper }}"), "rewrites earlier"),
    ],
)
def test_templates_that_cannot_be_used(chat: Any, template: str | None, message: str) -> None:
    with pytest.raises(ChatTemplateError, match=message):
        chat(template).check(system=True, turns=True)
    assert ChatTemplateError("what", "remedy").remedy == "remedy"
