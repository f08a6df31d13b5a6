"""Packing loses no row and mixes none, batches are as the model expects them, and a model that mixes rows is caught."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmon.errors import UsageError
from smartmon.trainer.data import IGNORED, Collator, Rows, Table, pack
from smartmon.trainer.isolation import packing_isolates
from smartmon.trainer.packing import decide, gain, pack_length, padding

SHORT = [[5, 6, 7, 8, 9], [50, 51, 52, 53, 54, 55, 56], [90, 91, 92]]


@pytest.fixture(scope="module")
def llama(tiny_model: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(tiny_model)


@pytest.fixture
def model(llama: Any) -> Any:
    llama.config.use_cache = False
    return llama.train()


def table(*rows: list[int]) -> Table:
    made = Table()
    for line, ids in enumerate(rows, 1):
        made.add(ids, [(len(ids) // 2, len(ids))], line)
    return made


def of_lengths(lengths: list[int]) -> Table:
    return table(*([1] * length for length in lengths))


lengths = st.lists(st.integers(1, 40), max_size=60)


@given(lengths, st.integers(0, 2**32))
def test_every_row_is_in_one_pack_and_no_pack_is_too_long(sizes: list[int], seed: int):
    packs = pack(of_lengths(sizes), 30, seed)
    assert sorted(place for one in packs for place in one.rows) == list(range(len(sizes)))
    assert all(one.length == sum(sizes[place] for place in one.rows) for one in packs)
    assert all(one.length <= 30 or len(one.rows) == 1 for one in packs)


@given(lengths)
def test_no_two_packs_would_fit_into_one(sizes: list[int]):
    packed = sorted(one.length for one in pack(of_lengths(sizes), 30, 0))
    assert len(packed) < 2 or packed[0] + packed[1] > 30


def test_short_rows_of_one_length_are_not_packed_among_themselves():
    sizes = [20] * 200 + [30] * 200
    packs = pack(of_lengths(sizes), 200, 0)
    mixed = [one for one in packs if len({sizes[place] for place in one.rows}) > 1]
    assert len(mixed) > 0.9 * len(packs)
    assert sum(one.length for one in packs) > 0.95 * 200 * len(packs)


def test_the_same_seed_packs_alike_and_another_otherwise():
    rows = of_lengths([5, 7, 11] * 20)
    assert pack(rows, 30, 1) == pack(rows, 30, 1)
    assert pack(rows, 30, 1) != pack(rows, 30, 2)


def test_a_pack_holds_what_a_batch_would():
    assert pack_length(of_lengths([10, 20, 30]), 8) == 160
    assert pack_length(of_lengths([10, 2000]), 1) == 1005
    assert pack_length(of_lengths([2000] * 3), 16) == 8192


def test_rows_are_padded_on_the_right_to_a_multiple_of_8():
    rows = Rows(table(*SHORT))
    batch = Collator(0)([rows[0], rows[2]])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 8, 9, 0, 0, 0], [90, 91, 92, 0, 0, 0, 0, 0]]
    assert batch["attention_mask"].sum(1).tolist() == [5, 3]
    assert batch["labels"].tolist() == [[IGNORED] * 2 + [7, 8, 9] + [IGNORED] * 3, [IGNORED, 91, 92] + [IGNORED] * 5]


def test_packed_rows_begin_anew_and_none_is_predicted_from_another():
    rows = table(*SHORT)
    [one] = pack(rows, 15, 0)
    item = Rows(rows, [one])[0] | {"labels": list(range(15))}
    batch = Collator(0)([item])
    assert one.rows == (1, 0, 2)
    assert batch["position_ids"].tolist() == [[*range(7), *range(5), *range(3)]]
    assert (batch["labels"][0] == IGNORED).nonzero().flatten().tolist() == [0, 7, 12]
    assert "attention_mask" not in batch


def summed_loss(model: Any, batch: dict[str, Any]) -> float:
    number = (batch["labels"][:, 1:] != IGNORED).sum()
    return float(model(**batch).loss.detach() * number)


def test_packed_padded_and_single_rows_have_the_same_loss(model: Any):
    rows = table(*SHORT)
    collate = Collator(0)
    packed = summed_loss(model, collate([Rows(rows, pack(rows, 15, 0))[0]]))
    padded = summed_loss(model, collate([Rows(rows)[at] for at in range(3)]))
    single = sum(summed_loss(model, collate([Rows(rows)[at]])) for at in range(3))
    assert packed == pytest.approx(single, rel=1e-5)
    assert padded == pytest.approx(single, rel=1e-5)


def test_a_model_with_a_cache_mixes_packed_rows_and_is_caught(model: Any):
    rows = table(*SHORT)
    batch = Collator(0)([Rows(rows, pack(rows, 15, 0))[0]])
    apart = summed_loss(model, batch)
    assert packing_isolates(model)[0]
    model.config.use_cache = True
    assert summed_loss(model, batch) != pytest.approx(apart, rel=1e-4)  # and nothing else tells
    assert packing_isolates(model) == (False, "a row would see the one before it")


@pytest.mark.parametrize("kind", ["qwen2", "gpt2", "mistral"])
def test_other_models_keep_rows_apart(tiny_model: Path, kind: str):
    model = random_model(kind)
    assert packing_isolates(model) == (True, "two rows tried packed did not see each other")
    model.config.use_cache = True
    assert not packing_isolates(model)[0]


def test_a_model_that_goes_by_no_positions_is_caught(tiny_model: Path):
    assert packing_isolates(random_model("opt")) == (False, "a row would see the one before it")


def random_model(kind: str) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    shape: dict[str, Any] = {"num_hidden_layers": 1, "num_attention_heads": 4, "hidden_size": 32, "vocab_size": 128}
    if kind in ("qwen2", "mistral"):
        shape |= {"num_key_value_heads": 2, "intermediate_size": 64}
    if kind == "opt":
        shape |= {"ffn_dim": 64, "word_embed_proj_dim": 32}
    config = AutoConfig.for_model(kind, **shape, bos_token_id=1, eos_token_id=2, use_cache=False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return AutoModelForCausalLM.from_config(config).train()


def test_trying_a_model_leaves_it_and_the_random_state_as_they_were(model: Any):
    import torch

    model.lm_head.eval()
    modes, state = [module.training for module in model.modules()], torch.get_rng_state()
    packing_isolates(model)
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), state)


@pytest.fixture(scope="module")
def broken(tiny_model: Path) -> Any:
    """A model that cannot be run: its last layer expects another width."""
    import torch

    made = random_model("qwen2")
    made.lm_head = torch.nn.Linear(8, 128)
    return made


def test_a_model_that_cannot_be_tried_is_not_trusted(broken: Any):
    safe, reason = packing_isolates(broken)
    assert not safe
    assert reason.startswith("trying it failed (mat1 and mat2")


MIXED, EVEN = [2, 30] * 20, [16] * 40


def test_packing_is_for_rows_of_mixed_lengths(model: Any):
    assert padding(of_lengths(EVEN).lengths(), 4) == (0, 16)
    assert decide("auto", of_lengths(EVEN), 4, model) == (
        False,
        "rows are padded: 0 % of a padded batch of 4 is padding, and packed a step would be 0.8 times as fast",
    )
    packed, reason = decide("auto", of_lengths(MIXED), 4, model)
    assert packed
    assert reason == (
        "rows are packed: 48 % of a padded batch of 4 is padding, so a step is about 1.7 times as fast; "
        "two rows tried packed did not see each other"
    )


def test_packing_does_not_pay_where_attention_costs_more_than_padding(model: Any):
    long = of_lengths([100, 200] * 20)
    assert padding(long.lengths(), 16)[0] > 0.2
    assert gain(long, 16, model.config)[1] < 0.5  # a pack of 2,400 tokens, each set against all, at a width of 64


def test_one_asks_for_packing_and_gets_it_or_is_told_why_not(model: Any, broken: Any):
    assert decide("on", of_lengths(EVEN), 4, model)[0]
    assert decide("off", of_lengths(MIXED), 4, model) == (False, "rows are padded, as asked")
    packed, reason = decide("auto", of_lengths(MIXED), 4, broken)
    assert (packed, reason[:44]) == (False, "rows are padded: packed, trying it failed (m")
    with pytest.raises(UsageError, match="rows cannot be packed for this model"):
        decide("on", of_lengths(EVEN), 4, broken)
