"""How a capability's results are proved: the manifest's `verify`, read, completed, and strengthened by users. Pure.

    none                            nothing is compared
    exact                           two results with the same files, by SHA-256 (bit-stable programs)
    tolerance: {files, ...}         numbers in .csv and .json files may differ by so much; other files are the same
    validator: {run, ...}           the publisher's own program says which results are right, and which are the same
    quorum: {of, need, compare}     so many results at once, of which so many must agree

A policy that compares has `need` (results that must agree), `initial` (results asked for at once) and `max_total`
(results asked for before giving up): the three numbers of BOINC's quorum. A user may only strengthen it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

from core.errors import Invalid
from marketplace.paths import safe_glob

CODE: Final = "invalid_verify"
MOST: Final = 15  # results of one unit
_STRENGTH: Final = {"none": 0, "tolerance": 1, "validator": 1, "exact": 2}


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Two numbers agree when |a - b| <= max(absolute, relative * max(|a|, |b|)), as in Python's math.isclose."""

    files: tuple[str, ...]
    absolute: float = 0.0
    relative: float = 0.0
    columns: tuple[str, ...] = ()  # of .csv files; none named: all of them

    def same(self, one: float, other: float) -> bool:
        return one == other or abs(one - other) <= max(self.absolute, self.relative * max(abs(one), abs(other)))


@dataclass(frozen=True, slots=True)
class Validator:
    """A program that is run like a unit, on a pool of an owner who gave none of the results (scheduler/services/validating.py)."""

    run: tuple[str, ...]
    run_s: int = 600
    cores: int = 1
    memory_mib: int = 512
    disk_mib: int = 1024


@dataclass(frozen=True, slots=True)
class Policy:
    """A completed policy. `adaptive`: pools that have earned it are only spot-checked (scheduler/verification/trust.py).

    `homogeneous`: all results of a unit come from one instruction set and accelerator, for programs whose last bits
    differ between machines. `commit_reveal`: every pool is bound to its result by a hash before anybody's result leaves
    its machine (scheduler/services/revealing.py).
    """

    compare: str = "none"
    need: int = 1
    initial: int = 1
    max_total: int = 1
    adaptive: bool = False
    homogeneous: bool = False
    commit_reveal: bool = False
    tolerance: Tolerance | None = None
    validator: Validator | None = None

    @property
    def compares(self) -> bool:
        return self.compare != "none"

    def document(self) -> dict[str, Any]:
        """As JSON values; `Policy.of` reads it back."""
        return asdict(self)

    def in_plan(self) -> Any:
        """As it stands in a task's plan."""
        return self.document() if self.compares else "none"

    @classmethod
    def of(cls, document: Any) -> Policy:
        """From a plan: what `document` gave, or the `none` of plans that compare nothing."""
        if not isinstance(document, Mapping):
            return cls()
        numbers = document.get("tolerance")
        lists = {name: tuple(numbers[name]) for name in ("files", "columns")} if numbers else {}
        program = document.get("validator")
        parts = {
            "tolerance": Tolerance(**{**numbers, **lists}) if numbers else None,
            "validator": Validator(**{**program, "run": tuple(program["run"])}) if program else None,
        }
        return cls(**{**document, **parts})


def _flag(value: Any, at: str) -> bool:
    if not isinstance(value, bool):
        raise Invalid(CODE, "true or false", field=at)
    return value


NONE: Final = Policy()
_SHARED: Final[Mapping[str, Callable[[Any, str], Any]]] = {
    "need": lambda value, at: _whole(value, at, least=1),
    "initial": lambda value, at: _whole(value, at, least=1),
    "max_total": lambda value, at: _whole(value, at, least=2),
    **dict.fromkeys(("adaptive", "homogeneous", "commit_reveal"), _flag),
}


def parse_policy(value: Any, *, at: str = "verify") -> Policy:
    """A policy from a manifest's or a task's `verify`. Raises Invalid `invalid_verify` with the field at fault."""
    if value == "none":
        return NONE
    kind, options = _kind(value, at)
    match kind:
        case "exact":
            return _completed({"compare": "exact"}, _options(options, f"{at}.exact", _SHARED), f"{at}.exact")
        case "tolerance":
            given = _options(options, f"{at}.tolerance", _SHARED, _NUMBERS)
            parts: dict[str, Any] = {"compare": "tolerance", "tolerance": _tolerance(options, at)}
            return _completed(parts, given, f"{at}.tolerance")
        case "validator":
            given = _options(options, f"{at}.validator", _SHARED, _PROGRAM)
            parts = {"compare": "validator", "validator": _validator(options, f"{at}.validator")}
            return _completed(parts, given, f"{at}.validator")
        case "quorum":
            return _quorum(options, at)
    raise Invalid(CODE, "one of none, exact, tolerance, validator, quorum", field=at)


def _kind(value: Any, at: str) -> tuple[str, Any]:
    if value == "exact":
        return "exact", {}
    if not isinstance(value, dict) or len(value) != 1:
        raise Invalid(CODE, "none, exact, or an object with one of exact, tolerance, validator, quorum", field=at)
    ((kind, options),) = value.items()
    if not isinstance(options, dict):
        raise Invalid(CODE, "must be an object", field=f"{at}.{kind}")
    return kind, options


def _options(options: dict[str, Any], at: str, *known: Mapping[str, Any]) -> dict[str, Any]:
    """Options that belong to the policy itself, checked; a name that nobody knows is an error."""
    names = {name for one in known for name in one}
    if unknown := sorted(set(options) - names):
        raise Invalid(CODE, f"does not know {unknown[0][:50]!r}", field=at)
    return {name: check(options[name], f"{at}.{name}") for name, check in _SHARED.items() if name in options}


def _completed(parts: dict[str, Any], given: dict[str, Any], at: str) -> Policy:
    """Only a validator can say of a single result whether it is right; who else compares needs two."""
    least = 1 if parts["compare"] == "validator" else 2
    need = _whole(given.get("need", least), f"{at}.need", least=least)
    adaptive = given.get("adaptive", True)
    initial = given.get("initial", need)
    policy = Policy(
        **parts,
        need=need,
        initial=initial,
        max_total=given.get("max_total", min(max(initial, need) + 3, MOST)),
        adaptive=adaptive,
        homogeneous=given.get("homogeneous", False),
        commit_reveal=given.get("commit_reveal", False),
    )
    if not policy.need <= policy.initial <= policy.max_total:
        raise Invalid(CODE, "must hold: need <= initial <= max_total", field=at)
    return policy


_QUORUM: Final = dict.fromkeys(("of", "compare", "need", "max_total", "homogeneous", "commit_reveal"))


def _quorum(options: dict[str, Any], at: str) -> Policy:
    """So many results at once, from the first unit on, whoever is trusted."""
    here = f"{at}.quorum"
    if missing := [name for name in ("of", "need") if name not in options]:
        raise Invalid(CODE, f"needs {missing[0]}", field=here)
    given = _options(options, here, _QUORUM)
    initial = _whole(options["of"], f"{here}.of", least=2)
    inner = parse_policy(options.get("compare", "exact"), at=f"{here}.compare")
    if not inner.compares:
        raise Invalid(CODE, "a quorum compares results", field=f"{here}.compare")
    parts = {name: getattr(inner, name) for name in ("compare", "tolerance", "validator")}
    return _completed(parts, given | {"initial": initial, "adaptive": False}, here)


_NUMBERS: Final = {"files": None, "absolute": None, "relative": None, "columns": None}


def _tolerance(options: dict[str, Any], at: str) -> Tolerance:
    here = f"{at}.tolerance"
    files = _texts(options.get("files"), f"{here}.files")
    if not files:
        raise Invalid(CODE, "names the files with numbers", field=f"{here}.files")
    for index, glob in enumerate(files):
        safe_glob(glob, field=f"{here}.files.{index}")
    return Tolerance(
        files=files,
        absolute=_bound(options.get("absolute", 0), f"{here}.absolute"),
        relative=_bound(options.get("relative", 0), f"{here}.relative"),
        columns=_texts(options.get("columns", []), f"{here}.columns"),
    )


_PROGRAM: Final = {"run": None, "run_s": None, "cores": None, "memory_mib": None, "disk_mib": None}


def _validator(options: dict[str, Any], at: str) -> Validator:
    run = _texts(options.get("run", []), f"{at}.run")
    if not run or not run[0].strip():
        raise Invalid(CODE, "names its program", field=f"{at}.run")
    given = {name: options[name] for name in _PROGRAM if name in options and name != "run"}
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
            raise Invalid(CODE, "a whole number from 1 to 1000000", field=f"{at}.{name}")
    return Validator(run=run, **given)


def _texts(value: Any, at: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > 100 or not all(isinstance(one, str) and one for one in value):
        raise Invalid(CODE, "a list of texts", field=at)
    return tuple(value)


def _bound(value: Any, at: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1e300:
        raise Invalid(CODE, "a number, not negative", field=at)
    return float(value)


def _whole(value: Any, at: str, *, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        raise Invalid(CODE, f"a whole number from {least} to {MOST}", field=at)
    return value


def strengthen(base: Policy, wanted: Policy, *, at: str = "verify") -> Policy:
    """What a task's policy becomes when its user asks for `wanted`. Raises Invalid `verify_weaker`.

    Each part may only grow: the comparison from none over tolerance to exact, the counts upwards, and `adaptive`
    from spot checks to checking everything; `homogeneous` and `commit_reveal` only begin. Monotone and idempotent, so a
    policy asked for twice is asked for once.
    """
    if _STRENGTH[wanted.compare] < _STRENGTH[base.compare]:
        raise Invalid("verify_weaker", f"the capability compares results by {base.compare}", field=at)
    if not base.compares:
        if wanted.validator is not None:
            raise Invalid(CODE, "a validator is the publisher's to bring", field=at)
        return wanted
    for name in ("need", "initial", "max_total"):
        if getattr(wanted, name) < getattr(base, name):
            detail = f"the capability asks for {name} {getattr(base, name)} at least"
            raise Invalid("verify_weaker", detail, field=at)
    if wanted.adaptive and not base.adaptive:
        raise Invalid("verify_weaker", "the capability has every unit checked", field=at)
    if wanted.compare != "exact" and (wanted.tolerance, wanted.validator) != (base.tolerance, base.validator):
        raise Invalid("verify_weaker", "when two results are the same is the publisher's to say", field=at)
    return replace(
        wanted,
        homogeneous=base.homogeneous or wanted.homogeneous,
        commit_reveal=base.commit_reveal or wanted.commit_reveal,
    )


def at_least(policy: Policy, other: Policy) -> bool:
    """Whether `policy` proves whatever `other` proves."""
    counts = all(getattr(policy, name) >= getattr(other, name) for name in ("need", "initial", "max_total"))
    flags = (not policy.adaptive or other.adaptive or not other.compares) and policy.homogeneous >= other.homogeneous
    flags = flags and policy.commit_reveal >= other.commit_reveal
    return _STRENGTH[policy.compare] >= _STRENGTH[other.compare] and counts and flags
