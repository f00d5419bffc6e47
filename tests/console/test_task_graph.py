"""A task's page where tasks are graphs: its stages, the tasks it needs, the tasks that need it; and why, term by term."""

from __future__ import annotations

from typing import Any

import pytest

from console.reasons import compared, stages_shown
from marketplace.models import Task
from scheduler.services.advancing import advance_task
from scheduler.services.expanding import expand_task
from scheduler.services.placing import run_round
from tests import builders as build
from tests.builders_tasks import FakeAgent, a_task, a_version
from tests.console.browser import browser_of, text_of

pytestmark = pytest.mark.django_db
FILES = {"type": "object", "properties": {"files": {"type": "array", "items": {"type": "string", "format": "artifact"}}}}


def page_of(task: Task, person: build.Person | None = None) -> Any:
    return browser_of(person or build.alice()).get(f"/tasks/{task.pk}/")


def a_film() -> Task:
    """Two frames, each denoised for itself, and a film of all."""
    one = {"run": ["true"], "outputs": [{"path": "*", "required": False}]}
    denoise = {"name": "denoise", "split": {"by": "units", "over": "unit", "chunk": "1"}, **one}
    return a_task(version=a_version(stages=[denoise, {"name": "film", **one}]), inputs={"count": 2})


def a_reader(source: Task, person: build.Person | None = None, **fields: Any) -> Task:
    version = a_version(inputs=FILES, split={"by": "files", "over": "files"}, tests=[])
    return a_task(person, version=version, inputs={"files": {"task": str(source.pk), "path": "*.png"}}, **fields)


def test_stages_are_shown_in_their_order_with_how_far_each_is() -> None:
    agent = FakeAgent.of(build.a_pool(cores=8))
    task = a_film()
    assert "unit 0 0 of 2 open denoise 0 0 of 2 later film 0 0 of 1 later" in text_of(page_of(task))
    run_round()
    agent.beat(want=2)
    agent.done()
    advance_task(task.pk)
    expand_task(task.pk)
    assert "unit 2 2 of 2 done denoise 0 0 of 2 open film 0 0 of 1 later" in text_of(page_of(task))


def test_a_task_of_one_stage_shows_none() -> None:
    build.a_pool()
    assert "Stages" not in text_of(page_of(a_task()))


def test_a_merge_is_a_stage_that_comes_later() -> None:
    build.a_pool()
    task = a_task(version=a_version(merge={"run": ["true"], "outputs": []}), inputs={"count": 3})
    assert "unit 0 0 of 3 open merge 0 0 of 1 later" in text_of(page_of(task))


def test_results_that_several_pools_gave_are_counted_once() -> None:
    rows = [{"stage": 0, "state": "done", "units": 2}, {"stage": 0, "state": "superseded", "units": 2}]
    plan = {"units": 2, "merge_stage": {"run": ["x"]}, "split": {}}
    assert [(one["done"], one["state"]) for one in stages_shown(plan, rows)] == [(2, "done"), (0, "later")]


def test_a_task_that_needs_another_leads_to_it_and_back() -> None:
    build.a_pool()
    source = a_task(name="the source")
    reader = a_reader(source, name="the reader")
    page = page_of(reader)
    assert "1 unit waiting: waiting for task" in text_of(page)
    assert "needs the source *.png as files queued" in text_of(page)
    assert f'href="/tasks/{source.pk}/"' in page.content.decode()
    assert "needed by the reader *.png as files queued" in text_of(page_of(source))
    assert f'href="/tasks/{reader.pk}/"' in page_of(source).content.decode()


def test_a_stranger_sees_neither_the_one_nor_the_other() -> None:
    build.a_pool()
    source = a_task(name="the source")
    reader = a_reader(source, name="the reader")
    for task in (source, reader):
        page = page_of(task, build.mallory())
        assert page.status_code == 404
        assert "the source" not in text_of(page)
        assert "the reader" not in text_of(page)


def test_candidates_are_compared_term_by_term_and_the_chosen_one_is_marked() -> None:
    agent = FakeAgent.of(build.a_pool())
    task = a_task()
    run_round()
    page = text_of(page_of(task))
    assert "Candidate Region Wait Run Finish Price" in page
    assert f"{agent.agent.pool.identifier} chosen ningxia" in page
    assert "worth to cheapest , in CNY. Only the price is charged" in page
    assert "by optimum" in page


def test_terms_that_are_nothing_everywhere_are_left_out() -> None:
    one = {"pool": "a", "region": "x", "price": 0.5, "egress": 0.0, "wait_s": 0, "run_s": 2.0, "finish_s": 2.0, "cost": 0.5}
    other = one | {"pool": "b", "carbon_cost": 0.1, "cost": 0.6}
    table = compared([one, other], [{"pool": "b", "units": 1}])
    assert table["titles"] == ["Wait", "Run", "Finish", "Price", "Carbon", "Cost"]
    assert [row["chosen"] for row in table["rows"]] == [False, True]
    assert [cell.value for cell in table["rows"][1]["cells"]] == [0, 2.0, 2.0, 0.5, 0.1, 0.6]


def test_own_weights_are_said_instead_of_an_objective() -> None:
    build.a_pool()
    task = a_task(constraints={"weights": {"price": 1, "hour": 5}})
    run_round()
    page = text_of(page_of(task))
    assert "Objective own weights" in page
    assert "worth to the task's own weights" in page


def test_a_task_that_fits_nowhere_names_the_nearest_misses_and_what_would_admit_it() -> None:
    pool = build.a_pool()
    task = a_task(constraints={"regions": ["ningxia"]})
    pool.region = build.a_region("guizhou")
    pool.save()
    page = text_of(page_of(task))
    assert "1 unit waiting: no pool fits" in page
    admits = 'would take it with constraints.regions = ["guizhou", "ningxia"]'
    assert f"{pool.identifier} in guizhou, left out by region; {admits}" in page
