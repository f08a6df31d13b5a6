"""The settings: bounds, descriptions, phases and profiles."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from smartmon.detectors.settings import PROFILES, Detectors, JudgeSettings, Phase, apply_profile


@pytest.mark.parametrize(
    ("profile", "spike", "drop", "interval"),
    [
        ("conservative", 0.1, 5, 250),
        ("moderate", 0.3, 10, 500),
        ("aggressive", 0.5, 20, 1000),
        ("stable", 0.3, 10, 500),
        ("fine-tune", 0.1, 10, 1000),
    ],
)
def test_a_profile_sets_what_its_name_promises(profile: str, spike: float, drop: float, interval: int) -> None:
    settings = JudgeSettings(**apply_profile(profile))
    assert settings.detectors.loss_spike.threshold == spike
    assert settings.detectors.accuracy_drop.threshold == drop
    assert settings.min_steps_between_saves == interval


def test_the_early_profile_is_a_phase() -> None:
    settings = JudgeSettings(**apply_profile("early"))
    early = Phase(until_step=5000, loss_spike_threshold=0.5, accuracy_drop_threshold=5)
    assert settings.phase(5000) == early
    assert settings.phase(5001) is None


def test_an_unknown_profile_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        apply_profile("reckless")
    assert list(PROFILES) == ["conservative", "moderate", "aggressive", "early", "stable", "fine-tune"]


@pytest.mark.parametrize(
    "section", [JudgeSettings, Phase, Detectors, *(f.annotation for f in Detectors.model_fields.values())]
)
def test_every_parameter_is_described(section: type[BaseModel]) -> None:
    assert section.__doc__
    for name, field in section.model_fields.items():
        if (section, name) != (Phase, "until_step"):
            assert field.description, name
            assert field.description.endswith("."), name


@pytest.mark.parametrize("kind", list(Detectors.model_fields))
def test_every_detector_can_be_switched_off(kind: str) -> None:
    assert getattr(Detectors(**{kind: {"enabled": False}}), kind).enabled is False


@pytest.mark.parametrize(
    "wrong",
    [
        {"loss_window": 2},
        {"detectors": {"loss_spike": {"threshold": 0}}},
        {"detectors": {"accuracy_drop": {"threshold": 101}}},
        {"detectors": {"best_model": {"min_improvement": 1}}},
        {"phases": [{"until_step": 10}, {"until_step": 5}]},
        {"reminder": "soon"},
    ],
)
def test_values_out_of_bounds_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        JudgeSettings(**wrong)
