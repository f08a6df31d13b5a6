"""What is learned of a row: the assistant's words, whatever the chat template."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from smartmon.demo.tiny import TEMPLATE
from smartmon.trainer.chat import PLAIN, Unclear, beginning, give_template
from smartmon.trainer.masking import Masker
from smartmon.trainer.spellings import BadRow, Example, example

UNTAGGED = TEMPLATE.replace("{% generation %}", "").replace("{% endgeneration %}", "")
FORGETFUL = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n"
    "{% if m['role'] == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""Shows the last answer with what the model thought, and earlier ones without, as Qwen3's does."""
THINKING = (
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'assistant' %}<A>{{ m['content'] }}{{ eos_token }}"
    "{% else %}<U>{{ m['content'] }}{% endif %}{% endfor %}{% if add_generation_prompt %}<A><think>\n{% endif %}"
)
"""Asks for an answer with the beginning of a thought that it does not show again, as DeepSeek-R1's does."""
STRICT = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}"
    "[{{ m['role'] }}]{{ m['content'] | trim }}{% if m['role'] == 'assistant' %}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}[assistant]{% endif %}"
)
"""Knows neither system messages nor two in a row of one role, as Gemma's and Mistral's do not."""

ASKED = [
    {"role": "user", "content": "What is 1 plus 2?"},
    {"role": "assistant", "content": '{"sum": 3}'},
    {"role": "user", "content": "What is 2 plus 2?"},
    {"role": "assistant", "content": '{"sum": 4}'},
]


@pytest.fixture(scope="module")
def loaded(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


@pytest.fixture
def tokenizer(loaded: Any) -> Any:
    return copy.deepcopy(loaded)


def learned(tokenizer: Any, row: Any, **settings: Any) -> list[str]:
    """The stretches of a row that are learned, as text."""
    masker = Masker(tokenizer, **settings)
    [(ids, spans)] = masker.encode([masker.mark(row if isinstance(row, Example) else example(row))])
    return [tokenizer.decode(ids[begin:end]) for begin, end in spans]


def whole(tokenizer: Any, row: Any, **settings: Any) -> str:
    """The text of all tokens of a row."""
    masker = Masker(tokenizer, **settings)
    [(ids, _spans)] = masker.encode([masker.mark(example(row))])
    return tokenizer.decode(ids)


def test_the_template_s_marks_say_what_is_learned(tokenizer: Any):
    assert learned(tokenizer, {"messages": ASKED}) == ['{"sum": 3}<|im_end|>', '{"sum": 4}<|im_end|>']


def test_the_marks_agree_with_the_mask_of_transformers(tokenizer: Any):
    masker = Masker(tokenizer)
    [(ids, spans)] = masker.encode([masker.mark(example({"messages": ASKED}))])
    theirs = tokenizer.apply_chat_template(ASKED, return_assistant_tokens_mask=True, return_dict=True)
    assert ids == theirs["input_ids"]
    assert [any(a <= at < b for a, b in spans) for at in range(len(ids))] == [
        bool(m) for m in theirs["assistant_masks"]
    ]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (UNTAGGED, ['{"sum": 3}<|im_end|>\n', '{"sum": 4}<|im_end|>\n']),
        (FORGETFUL, ['{"sum": 3}<|im_end|>\n', '<think>\n\n</think>\n\n{"sum": 4}<|im_end|>\n']),
        (THINKING, ['{"sum": 3}<|im_end|>', '{"sum": 4}<|im_end|>']),
        (STRICT, ['{"sum": 3}<|im_end|>', '{"sum": 4}<|im_end|>']),
    ],
)
def test_without_marks_answers_are_found_by_what_stays_the_same(tokenizer: Any, template: str, expected: list[str]):
    tokenizer.chat_template = template
    assert learned(tokenizer, {"messages": ASKED}) == expected


def test_marks_that_mark_nothing_are_not_believed(tokenizer: Any):
    tokenizer.chat_template = UNTAGGED + "{% if false %}{% generation %}{% endgeneration %}{% endif %}"
    assert learned(tokenizer, {"messages": ASKED})[0] == '{"sum": 3}<|im_end|>\n'


def test_a_conversation_that_begins_with_an_answer_is_learned(tokenizer: Any):
    tokenizer.chat_template = UNTAGGED
    assert learned(tokenizer, {"messages": ASKED[1:]})[0] == '{"sum": 3}<|im_end|>\n'


def test_a_template_that_shuffles_its_text_is_refused(tokenizer: Any):
    tokenizer.chat_template = "{% for m in messages | reverse %}{{ m['content'] }}|{{ loop.length }}{% endfor %}"
    tokenizer.chat_template += "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    with pytest.raises(Unclear, match="in one piece"):
        learned(tokenizer, {"messages": ASKED})


def test_what_the_template_complains_of_is_said(tokenizer: Any):
    tokenizer.chat_template = STRICT
    with pytest.raises(BadRow, match="refused by the chat template: Roles must alternate"):
        learned(tokenizer, {"messages": [ASKED[0], ASKED[0], ASKED[1]]})


def test_an_answer_that_ends_in_a_character_of_several_tokens_is_learned_whole(tokenizer: Any):
    tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "fine 🦘"}, ASKED[0]]}
    assert learned(tokenizer, row) == ["fine 🦘"]


def test_a_row_has_one_beginning_of_text(tokenizer: Any):
    tokenizer.chat_template = STRICT
    row = {"messages": ASKED[:2]}
    assert whole(tokenizer, row).count("<|im_start|>") == 1
    tokenizer.chat_template = None
    adding = with_beginning(tokenizer)
    assert whole(adding, {"text": "a text"}) == "<|im_start|>a text<|im_end|>"
    assert whole(adding, {"text": "<|im_start|>a text<|im_end|>"}) == "<|im_start|>a text<|im_end|>"
    assert whole(adding, row).count("<|im_start|>") == 1


def with_beginning(tokenizer: Any) -> Any:
    """Let a tokenizer put its first token before every text, as Llama's does."""
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|im_start|> $A", special_tokens=[("<|im_start|>", tokenizer.bos_token_id)]
    )
    assert beginning(tokenizer) == [tokenizer.bos_token_id]
    return tokenizer


def test_everything_is_learned_if_asked(tokenizer: Any):
    [text] = learned(tokenizer, {"messages": ASKED}, assistant_only=False)
    assert text == whole(tokenizer, {"messages": ASKED})


def test_a_system_prompt_is_put_where_there_is_none(tokenizer: Any):
    own = [{"role": "system", "content": "Be brief."}, *ASKED]
    assert whole(tokenizer, {"messages": ASKED}, system_prompt="In JSON.").startswith("<|im_start|>system\nIn JSON.")
    assert "In JSON." not in whole(tokenizer, {"messages": own}, system_prompt="In JSON.")


def test_a_template_without_system_messages_gets_them_in_the_user_s_and_it_is_said(tokenizer: Any):
    tokenizer.chat_template = STRICT
    masker = Masker(tokenizer, system_prompt="In JSON.")
    assert masker.mark(example({"messages": ASKED})).text.startswith("<|im_start|>[user]In JSON.\n\nWhat is 1")
    assert masker.notes == ["no system role in the template; it goes into the user's first message"]


def test_a_system_message_that_the_template_leaves_out_is_noticed(tokenizer: Any):
    tokenizer.chat_template = UNTAGGED.replace("messages %}", "messages if m['role'] != 'system' %}")
    assert "In JSON." in whole(tokenizer, {"messages": ASKED}, system_prompt="In JSON.")


def test_a_model_without_a_template_gets_a_plain_one_that_ends_answers_as_the_model_does(tokenizer: Any):
    tokenizer.chat_template = None
    masker = Masker(tokenizer)
    marked = masker.mark(example({"messages": ASKED[:2]}))
    assert marked.text == '### User:\nWhat is 1 plus 2?\n\n### Assistant:\n{"sum": 3}<|im_end|>\n\n'
    assert [marked.text[a:b] for a, b in marked.spans] == ['{"sum": 3}<|im_end|>']
    assert tokenizer.chat_template == PLAIN  # saved with the adapter, and so used for asking
    assert "no chat template" in masker.notes[0]
    assert give_template(tokenizer) == ""


def test_a_pair_without_a_template_learns_the_completion_and_the_end_of_text(tokenizer: Any):
    tokenizer.chat_template = None
    row = {"prompt": "1 plus 2 is", "completion": " 3."}
    assert learned(tokenizer, row) == [" 3.<|im_end|>"]
    assert whole(tokenizer, row) == "1 plus 2 is 3.<|im_end|>"
    assert learned(tokenizer, row, assistant_only=False) == ["1 plus 2 is 3.<|im_end|>"]


def test_a_pair_with_a_template_is_a_conversation_unless_a_template_wrote_it(tokenizer: Any):
    assert learned(tokenizer, {"prompt": "1 plus 2?", "completion": "3"}) == ["3<|im_end|>"]
    assert "<|im_start|>user\n1 plus 2?" in whole(tokenizer, {"prompt": "1 plus 2?", "completion": "3"})
    written = {"prompt": "<|im_start|>user\n1 plus 2?<|im_end|>\n<|im_start|>assistant\n", "completion": "3<|im_end|>"}
    assert whole(tokenizer, written) == written["prompt"] + written["completion"]


def test_of_a_pair_of_message_lists_only_the_completion_is_learned(tokenizer: Any):
    row = {"prompt": ASKED[:3], "completion": ASKED[3:]}
    assert learned(tokenizer, row) == ['{"sum": 4}<|im_end|>']


def test_an_answer_of_weight_0_is_not_learned(tokenizer: Any):
    row = {"messages": [ASKED[0], ASKED[1] | {"weight": 0}, *ASKED[2:]]}
    assert learned(tokenizer, row) == ['{"sum": 4}<|im_end|>']


def test_a_tokenizer_that_cannot_say_where_tokens_come_from_finds_the_same(tiny_model: Path):
    from transformers import ByT5Tokenizer

    slow = ByT5Tokenizer()
    slow.chat_template = UNTAGGED
    assert not slow.is_fast
    assert learned(slow, {"messages": ASKED}) == ['{"sum": 3}<|im_end|>\n', '{"sum": 4}<|im_end|>\n']
