"""What migrations see when models change in place is what Django would render from their descriptions."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.management.commands import migrate as django_migrate
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import ModelState, ProjectState, StateApps
from django.db.models import CASCADE, CheckConstraint, ForeignKey, IntegerField, Model, Q

from config.management.commands.migrate import Command
from config.migrating import in_place


def test_after_all_migrations_every_model_is_as_if_rendered_from_its_description() -> None:
    loader = MigrationLoader(None)
    state = ProjectState(real_apps=loader.unmigrated_apps)
    assert state.apps.get_models() is not None  # rendered from the first migration on
    with in_place():
        for node in loader.graph._generate_plan(loader.graph.leaf_nodes(), at_end=True):
            loader.graph.nodes[node].mutate_state(state, preserve=False)
    afresh = loader.project_state().apps  # Django's own way, and rendered once
    assert len(state.models) > 100
    assert {key: drawn(state.apps, key) for key in state.models} == {key: drawn(afresh, key) for key in state.models}


def test_a_change_is_made_once_where_two_states_share_the_model() -> None:
    before = shop()
    after = before.clone()
    with in_place():
        for state in (before, after):
            state.add_field("shop", "shelf", "height", IntegerField(null=True), True)
    names = [field.name for field in after.apps.get_model("shop", "Shelf")._meta.local_fields]
    assert names == ["id", "height"]


def test_data_migrations_get_their_models_rendered_afresh() -> None:
    state = shop()
    first = state.apps
    with in_place():
        state.add_constraint("shop", "shelf", CheckConstraint(condition=Q(id__gt=0), name="positive"))
    state.clear_delayed_apps_cache()  # what Django does before it runs Python
    assert state.apps is not first
    assert [rule.name for rule in state.apps.get_model("shop", "Shelf")._meta.constraints] == ["positive"]


def test_a_model_that_is_added_is_known_to_those_it_points_at() -> None:
    state = shop()
    with in_place():
        fields = [("id", IntegerField(primary_key=True)), ("shelf", ForeignKey("shop.Shelf", CASCADE, related_name="books"))]
        state.add_model(ModelState("shop", "Book", fields))
    assert [one.name for one in state.apps.get_model("shop", "Shelf")._meta.related_objects] == ["books"]


@pytest.mark.parametrize(("target", "quick"), [(None, True), ("0001", False)])
def test_a_named_target_which_may_lie_behind_is_reached_djangos_way(
    target: str | None, quick: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    djangos, seen = ProjectState.add_field, []
    monkeypatch.setattr(
        django_migrate.Command, "handle", lambda *_, **__: seen.append(ProjectState.add_field is not djangos)
    )
    Command().handle(migration_name=target)
    assert seen == [quick]
    assert ProjectState.add_field is djangos


def shop() -> ProjectState:
    """One rendered model with a key."""
    state = ProjectState()
    state.add_model(ModelState("shop", "Shelf", [("id", IntegerField(primary_key=True))]))
    assert state.apps.get_model("shop", "Shelf")
    return state


def drawn(apps: StateApps, key: tuple[str, str]) -> Any:
    """A model's fields, rules, and who points at it, as they are in a registry."""
    model: type[Model] = apps.get_model(*key)
    meta: Any = model._meta
    fields = [[field.name, field.column, *field.deconstruct()[1:]] for field in [*meta.local_fields, *meta.local_many_to_many]]
    rules = [one.deconstruct() for one in [*meta.constraints, *meta.indexes]]
    pointing = sorted((one.name, one.related_model._meta.label, one.field.name) for one in meta.related_objects)
    targets = [(one.name, one.related_model._meta.label) for one in meta.local_fields if one.is_relation]
    return repr([fields, rules, pointing, targets, meta.db_table])
