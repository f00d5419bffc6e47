"""Load a Mitsuba XML scene that a stranger wrote.

Deny by default: the scene is read as plain XML, then given to Mitsuba. None of its words may name a file,
except `filename` values that name one of the task's own assets; includes, search paths and document types
are refused. The scene keeps its shapes, materials, lights and integrator; the flight replaces its cameras.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import camera
import mitsuba as mi
import numpy as np
import studio
from problems import BadInput

MOST_BYTES = 16 * 1024 * 1024
REFUSED_TAGS = {"include", "path"}
PLUGIN = re.compile(r"[A-Za-z0-9_]{1,64}")


def load(path: Path, assets: Path, inputs: dict[str, Any]) -> Any:
    """The scene at `path`, its files taken from `assets` only. Raises BadInput."""
    root = parse(path)
    fill_parameters(root)
    for element in root.iter():
        check(element, assets)
    for old in root.findall("sensor"):
        root.remove(old)
    scene = read(root, path.name)
    if root.find(".//emitter") is None:
        add_light(root, scene, inputs)
        scene = read(root, path.name)
    return scene


def read(root: ElementTree.Element, name: str) -> Any:
    """Give a checked scene to Mitsuba; its message becomes a sentence."""
    try:
        return mi.load_string(ElementTree.tostring(root, encoding="unicode"), parallel=False, optimize=False)
    except Exception as error:
        raise BadInput(f"Mitsuba refused the scene {name}: {str(error).strip()[:400]}") from error


def parse(path: Path) -> ElementTree.Element:
    """The XML tree of a scene; refuses document types, which could name files or grow without end."""
    data = path.read_bytes()
    if len(data) > MOST_BYTES:
        raise BadInput(f"The scene {path.name} is larger than 16 MiB; give its meshes as assets.")
    try:
        text = data.decode("utf-8-sig")
        if "<!DOCTYPE" in text.upper() or "<!ENTITY" in text.upper():
            raise BadInput(f"The scene {path.name} holds a document type; remove it.")
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, UnicodeDecodeError) as error:
        raise BadInput(f"The scene {path.name} is not well-formed XML: {error}.") from error
    if root.tag != "scene":
        raise BadInput(f"The scene {path.name} does not begin with <scene>.")
    return root


def fill_parameters(root: ElementTree.Element) -> None:
    """Put the values of <default> in place of $name here, so that what is checked is what Mitsuba reads."""
    values = {part.get("name", ""): part.get("value", "") for part in root.findall("default")}
    for part in root.findall("default"):
        root.remove(part)
    longest_first = sorted(filter(None, values), key=len, reverse=True)
    for element in root.iter():
        for key, text in element.attrib.items():
            element.set(key, filled(text, longest_first, values))


def filled(text: str, names: list[str], values: dict[str, str]) -> str:
    """A text with each $name replaced by its value."""
    for name in names:
        text = text.replace(f"${name}", values[name])
    return text


def check(element: ElementTree.Element, assets: Path) -> None:
    """Refuse one element's words that could lead to a file; resolve those that name an asset."""
    if element.tag in REFUSED_TAGS:
        raise BadInput(f"The scene uses <{element.tag}>, which is not allowed here.")
    if "type" in element.attrib and not PLUGIN.fullmatch(element.attrib["type"]):
        raise BadInput(f"The scene names a strange plugin: {element.attrib['type'][:80]!r}.")
    for key, text in element.attrib.items():
        if names_file(element, key):
            element.set(key, str(asset(text, assets)))
        elif any(sign in text for sign in ("/", "\\", "..", "$")):
            raise BadInput(f"The scene holds {text[:80]!r} in <{element.tag} {key}>, which is not allowed here.")


def names_file(element: ElementTree.Element, key: str) -> bool:
    """Whether an attribute is the name of a file."""
    return key == "filename" or (key == "value" and element.get("name") == "filename")


def asset(name: str, assets: Path) -> Path:
    """The task's asset of that name; the folder in the scene's own name does not count."""
    word = name.replace("\\", "/").rsplit("/", 1)[-1]
    found = assets / word
    if word in ("", ".", "..") or not found.is_file() or found.is_symlink():
        raise BadInput(f"The scene asks for the file {name[:80]!r}; give it as one of the task's assets.")
    return found.resolve()


def add_light(root: ElementTree.Element, scene: Any, inputs: dict[str, Any]) -> None:
    """Put the studio's light around a scene that has none."""
    low, high = bounds(scene)
    distance = camera.distance_for(float(np.linalg.norm(high - low)) / 2, inputs)
    for light in studio.lights(((low + high) / 2).tolist(), camera.farthest(distance, inputs)).values():
        emitter = light.get("emitter", light)
        holder = ElementTree.SubElement(root, "shape", type="rectangle") if emitter is not light else root
        if holder is not root:
            place = ElementTree.SubElement(holder, "transform", name="to_world")
            ElementTree.SubElement(place, "matrix", value=numbers(np.array(light["to_world"].matrix)))
        colour = ElementTree.SubElement(holder, "emitter", type=emitter["type"])
        ElementTree.SubElement(colour, "rgb", name="radiance", value=numbers(emitter["radiance"]["value"]))


def numbers(values: Any) -> str:
    """Numbers as an attribute of Mitsuba's XML."""
    return " ".join(f"{value:.7g}" for value in np.ravel(values))


def bounds(thing: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest corner of a shape or scene; refuses what has no finite extent."""
    box = thing.bbox()
    low, high = np.array(box.min, dtype=float).ravel(), np.array(box.max, dtype=float).ravel()
    if not (np.isfinite(low).all() and np.isfinite(high).all() and (high > low).any() and (high >= low).all()):
        raise BadInput("The scene is empty or has no finite size.")
    return low, high
