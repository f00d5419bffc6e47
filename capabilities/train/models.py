"""The model families a configuration may name, and the pipeline around them."""

from __future__ import annotations

from typing import Any

from data import Table
from problems import BadInput
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC

# family: estimator, what is always set, and the parameters a configuration may set
FAMILIES: dict[str, tuple[type[BaseEstimator], dict[str, Any], set[str]]] = {
    "logistic": (LogisticRegression, {"max_iter": 1000}, {"C"}),
    "svm": (SVC, {}, {"C", "gamma", "kernel", "degree"}),
    "neighbours": (KNeighborsClassifier, {}, {"n_neighbors", "weights", "p"}),
    "forest": (RandomForestClassifier, {}, {"n_estimators", "max_depth", "max_features", "min_samples_leaf"}),
    "boosting": (
        HistGradientBoostingClassifier,
        {},
        {"learning_rate", "max_iter", "max_leaf_nodes", "max_depth"},
    ),
    "network": (
        MLPClassifier,
        {"max_iter": 200, "hidden_layer_sizes": (64,)},
        {"hidden", "alpha", "learning_rate_init"},
    ),
}
SEEDED = {"logistic", "svm", "forest", "boosting", "network"}


def build(table: Table, configuration: dict[str, Any], seed: int) -> BaseEstimator:
    """An untrained pipeline for a configuration {"model", "parameters"}. Raises BadInput."""
    family, parameters = configuration["model"], dict(configuration.get("parameters") or {})
    estimator, fixed, allowed = FAMILIES[family]
    strange = sorted(set(parameters) - allowed)
    if strange:
        raise BadInput(f"The model {family!r} has no parameter {strange[0]!r}; it has {', '.join(sorted(allowed))}.")
    if "hidden" in parameters:
        parameters["hidden_layer_sizes"] = (int(parameters.pop("hidden")),)
    seeded = {"random_state": seed} if family in SEEDED else {}
    return make_pipeline(preparation(table), estimator(**{**fixed, **parameters, **seeded}))


def preparation(table: Table) -> BaseEstimator:
    """Fill gaps, scale numbers, turn words into columns of zero and one."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    if not table.words:
        return numbers
    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return ColumnTransformer([("numbers", numbers, table.numbers), ("words", words, table.words)])


def title(configuration: dict[str, Any]) -> str:
    """A configuration in one line, such as `svm C=10 gamma=0.01`."""
    parameters = configuration.get("parameters") or {}
    return " ".join([configuration["model"], *(f"{name}={value}" for name, value in parameters.items())])
