"""The list of jobs: order, names, and the way to the file and back."""

from __future__ import annotations

import json

import pytest

from smartmon.queue.jobs import Job, Jobs, JobState, first_free, job_name


def listed(*jobs: Job) -> Jobs:
    made = Jobs()
    for job in jobs:
        made = made.add(job)
    return made


def test_higher_priorities_go_first_then_the_order_of_arrival():
    jobs = listed(Job("a", "a", 0), Job("b", "b", 0, priority=5), Job("c", "c", 0), Job("d", "d", 0, priority=-1))
    assert [job.name for job in jobs.in_turn()] == ["b", "a", "c", "d"]


def test_a_job_that_was_begun_goes_before_any_priority():
    jobs = listed(Job("urgent", "a", 0, priority=99), Job("begun", "b", 0, state=JobState.INTERRUPTED))
    assert jobs.next() == jobs.named("begun")


def test_a_refused_job_is_never_next():
    assert listed(Job("a", "a", 0, priority=9, state=JobState.REFUSED)).next() is None


def test_the_list_survives_the_way_through_json():
    job = Job("a", "a\udcff.jsonl", 0, 3, JobState.REFUSED, {"epochs": 2}, ("--seed", "1"), stamp=(1, 2, 3), pid=7)
    jobs = Jobs(paused="why", now=True).add(job)
    assert Jobs.from_json(json.loads(json.dumps(jobs.to_json()))) == jobs


def test_a_list_of_a_later_version_is_not_read():
    with pytest.raises(ValueError, match="version 9"):
        Jobs.from_json({"version": 9, "jobs": []})


@pytest.mark.parametrize(
    ("file", "name"),
    [("poems.jsonl", "poems"), ("my data (2).jsonl", "my_data_2"), ("...jsonl", "data"), ("x" * 200, "x" * 40)],
)
def test_a_job_is_named_for_its_file_as_far_as_a_folder_can_be(file: str, name: str):
    assert job_name(file) == name


def test_a_taken_name_gets_a_number():
    assert first_free("a", {"a", "a-2"}) == "a-3"
