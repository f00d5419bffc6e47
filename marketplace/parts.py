"""What one unit of a stage needs, runs and leaves, from its manifest's words and the task's inputs. Pure.

The other half of a plan beside its split (`splitting.py`). Every function raises Invalid, its `field` the input at fault.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from core.errors import Invalid
from marketplace.amounts import LIMITS, RESOURCES, amount, field_of, short
from marketplace.expressions import decimal_text, evaluate
from marketplace.paths import safe_glob

Names = Mapping[str, Any]
MAX_TFLOP: Final = 10**12
NO_ACCELERATOR: Final = ({"accelerator": None},)


def need_of(resources: Mapping[str, Any], variants: Sequence[Any], names: Names) -> dict[str, Any]:
    need: dict[str, Any] = {key: amount(key, resources[key], names) for key in RESOURCES}
    accelerator = variants[0]["accelerator"]
    return need | {"accelerators": [accelerator] if accelerator else []}


OWN_OF_VARIANT = ("run", "requirements", "env", "resources", "demand")


def variants_of(manifest: Mapping[str, Any], inputs: Names, names: Names) -> list[dict[str, Any]]:
    """The variants in the manifest's order, complete where one of them differs in what it needs or runs."""
    variants = manifest["variants"]
    alike = all(one["accelerator"] == variants[0]["accelerator"] for one in variants)
    if alike and not any(key in one for one in variants for key in OWN_OF_VARIANT):
        return list(variants)
    return [variant_of(manifest, variant, inputs, names) for variant in variants]


def variant_of(manifest: Mapping[str, Any], variant: Mapping[str, Any], inputs: Names, names: Names) -> dict[str, Any]:
    """What a variant does not say is as in the manifest."""
    need = need_of(manifest["resources"] | variant.get("resources", {}), [variant], names)
    env = {**manifest, "env": {**manifest["env"], **variant.get("env", {})}}
    return {
        "instruction_set": variant["instruction_set"],
        "accelerator": variant["accelerator"],
        "need": need,
        "limits": limits_of(manifest["limits"], need, names),
        "tflop": tflop_of({**manifest["demand"], **variant.get("demand", {})}["tflop"], names),
        "run": variant.get("run") or run_of(manifest, inputs),
        "env": env_of(env, inputs),
        **({"requirements": variant["requirements"]} if "requirements" in variant else {}),
    }


def limits_of(limits: Mapping[str, Any], need: Mapping[str, Any], names: Names) -> dict[str, int]:
    """A limit is never below what is reserved for the unit anyway."""
    values = {key: amount(key, limits[key], names) for key in LIMITS}
    return values | {key: max(values[key], need[key]) for key in ("memory_mib", "disk_mib")}


def tflop_of(expression: Any, names: Names) -> str:
    value = evaluate(expression, names, field=field_of(expression))
    if not 0 <= value <= MAX_TFLOP:
        detail = f"the work of a unit would be {short(value)} TFLOP; it must be 0 to {MAX_TFLOP}"
        raise Invalid("amount_out_of_bounds", detail, field=field_of(expression))
    return decimal_text(value)


def said_of(demand: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """What a demand may say beside its work."""
    said: dict[str, Any] = {"unsure": True} if demand.get("unsure") else {}
    if "bytes_out" in demand:
        said["bytes_out"] = amount("bytes_out", demand["bytes_out"], names)
    return said


def run_of(manifest: Mapping[str, Any], inputs: Names) -> list[str]:
    """The words of the program: the manifest's, or those of the input that `run_from` names."""
    if (name := manifest.get("run_from")) is None:
        return list(manifest["run"])
    words = inputs.get(name)
    if not isinstance(words, list) or not words or not all(isinstance(word, str) for word in words):
        raise Invalid("invalid_run", f"{name} must be a list of words", field=f"inputs.{name}")
    if any("\0" in word for word in words) or not words[0].strip():
        raise Invalid("invalid_run", f"{name} must begin with a program", field=f"inputs.{name}.0")
    return words


def env_of(manifest: Mapping[str, Any], inputs: Names) -> dict[str, str]:
    if (name := manifest.get("env_from")) is None:
        return dict(manifest["env"])
    own = inputs.get(name, {})
    if not isinstance(own, dict) or not all(isinstance(value, str) for value in own.values()):
        raise Invalid("invalid_env", f"{name} must be an object of texts", field=f"inputs.{name}")
    for key, value in own.items():
        if not key.isidentifier() or not key.isascii() or "\0" in value:
            raise Invalid("invalid_env", f"{key[:50]!r} is no variable's name", field=f"inputs.{name}")
    return {**manifest["env"], **own}


def outputs_of(manifest: Mapping[str, Any], inputs: Names) -> list[dict[str, Any]]:
    """The manifest's globs, and those of the input that `outputs_from` names, which must each match."""
    outputs = list(manifest["outputs"])
    if (name := manifest.get("outputs_from")) is None:
        return outputs
    globs = inputs.get(name, [])
    if not isinstance(globs, list) or not all(isinstance(glob, str) for glob in globs):
        raise Invalid("invalid_outputs", f"{name} must be a list of globs", field=f"inputs.{name}")
    fields = (f"inputs.{name}.{index}" for index in range(len(globs)))
    own = [safe_glob(glob, field=field) for glob, field in zip(globs, fields, strict=True)]
    return outputs + [{"path": glob, "required": True} for glob in dict.fromkeys(own)]
