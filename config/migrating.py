"""Migrations that render what they change, and leave the other models as they are.

Between two operations Django renders anew every model that is related to the changed one, over any number of keys: here
that is nearly all of them, hundreds of times, and nine tenths of the time of a first start. A field, constraint or index
that is added is put on the model that is there; a model that is added is rendered alone. All else, and whatever goes back,
goes Django's way, which starts from the same descriptions; what data migrations see is rendered afresh in any case.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db.migrations.state import ModelState, ProjectState
from django.db.models import NOT_PROVIDED

Key = tuple[str, str]


@contextmanager
def in_place() -> Iterator[None]:
    """Within it, Django's states of the project change in place where that is enough. For migrations that go forward."""
    changes = {"add_model": _add_model, "add_field": _add_field, "_append_option": _append, "_remove_option": _remove}
    djangos = {name: getattr(ProjectState, name) for name in changes}
    try:
        for name, change in changes.items():
            setattr(ProjectState, name, change)
        yield
    finally:
        for name, method in djangos.items():
            setattr(ProjectState, name, method)


def _add_model(state: Any, described: ModelState) -> None:
    key = described.app_label, described.name_lower
    state.models[key] = described
    if state._relations is not None:
        state.resolve_model_relations(key)
    if _rendered(state):
        state.apps.render_multiple([described])


def _add_field(state: Any, app_label: str, model_name: str, name: str, field: Any, preserve_default: bool) -> None:
    if not preserve_default:
        field = field.clone()
        field.default = NOT_PROVIDED
    key = app_label, model_name
    state.models[key].fields[name] = field
    if state._relations is not None:
        state.resolve_model_field_relations(key, name, field)
    if _rendered(state):
        _put_field(state, key, name, field)


def _put_field(state: Any, key: Key, name: str, field: Any) -> None:
    model = state.apps.get_model(*key)
    if any(known.name == name for known in model._meta.local_fields + model._meta.local_many_to_many):
        state.reload_model(*key)  # another state shares the model, and has it already
        return
    model.add_to_class(name, field.clone())
    state.apps.clear_cache()


def _append(state: Any, app_label: str, model_name: str, option: str, added: Any) -> None:
    _put_option(state, (app_label, model_name), option, lambda kept: [*kept, added])


def _remove(state: Any, app_label: str, model_name: str, option: str, name: str) -> None:
    _put_option(state, (app_label, model_name), option, lambda kept: [one for one in kept if one.name != name])


def _put_option(state: Any, key: Key, option: str, change: Any) -> None:
    """`option`: "constraints" or "indexes"."""
    described = state.models[key].options
    described[option] = change(described[option])
    if _rendered(state):
        meta = state.apps.get_model(*key)._meta
        setattr(meta, option, meta._format_names(described[option]))


def _rendered(state: Any) -> bool:
    """Whether there are models at all; if so, those that a data migration sees are to be rendered afresh."""
    there = "apps" in state.__dict__
    state.is_delayed = state.is_delayed or there
    return there
