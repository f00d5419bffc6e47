"""The Computing Power Service Development Index: runs and their files; for operators observations, weights and editions."""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote

from gridfare.sdk.errors import NotFound
from gridfare.sdk.http import Calls

Json = dict[str, Any]
CODE: Final = "cpsdi-2023"
SERIES_S: Final = 300.0  # years are computed while one waits
FILES: Final = {"xlsx": "export.xlsx", "json": "export.json", "bundle": "bundle"}


class IndexCalls(Calls):
    """What everybody reads. Numbers are decimal text; `synthetic` says whether any value of a run was generated."""

    def index_runs(
        self, *, definition: str | None = None, profile: str | None = None, period: str | None = None,
        published: bool | None = None, most: int | None = None,
    ) -> Iterator[Json]:  # fmt: skip
        """Runs, newest first.

        definition   `code@version`, or `code`: all its versions
        published    True: editions only
        """
        told = None if published is None else str(published).lower()
        asked = {"definition": definition, "profile": profile, "period": period, "published": told}
        return self.http.pages("/index/runs", most=most, **asked)

    def index_edition(self, definition: str = CODE, profile: str = "national") -> Json:
        """The edition that was published last, without its documents. NotFound `run_unknown` when there is none."""
        found = list(self.index_runs(definition=definition, profile=profile, published=True))
        if not found:
            raise NotFound("run_unknown", f"no edition of {definition} was published for the {profile} profile", status=404)
        return max(found, key=lambda run: (run["published_at"], run["id"]))

    def index_run(self, run: int) -> Json:
        """A run with its `result` (scores, ranks, contributions, flags) and `analysis` (bands, sensitivity)."""
        answer: Json = self.http.get(f"/index/runs/{run}")
        return answer

    def index_table(self, run: int, table: str) -> list[dict[str, str]]:
        """A table of a run: about, definition, ranks, scores, raw, treated, normalised, contributions, flags, observations."""
        return self._rows(f"/index/runs/{run}/tables/{quote(table, safe='')}")

    def index_province(self, run: int, province: str) -> list[dict[str, str]]:
        """Every node of a province (GB/T 2260, six digits): raw value, score, points of the index."""
        return self._rows(f"/index/runs/{run}/provinces/{quote(province, safe='')}")

    def index_indicator(self, run: int, indicator: str) -> list[dict[str, str]]:
        """One node in every province."""
        return self._rows(f"/index/runs/{run}/indicators/{quote(indicator, safe='')}")

    def _rows(self, path: str) -> list[dict[str, str]]:
        """A CSV as rows; what is not known is an empty text."""
        return list(csv.DictReader(io.StringIO(self.http.send("GET", path).content.decode(), newline="")))

    def index_observation(self, observation: int) -> Json:
        """One value, with the file and the row that it comes from."""
        answer: Json = self.http.get(f"/index/observations/{observation}")
        return answer

    def index_file(self, run: int, target: IO[bytes], form: str = "xlsx", table: str = "ranks") -> int:
        """Write a run into an open file; how many bytes it has. Each says itself whether values were generated.

        form   xlsx, json, bundle (what a replay takes), or csv: one `table` of it
        """
        part = FILES.get(form) or f"tables/{quote(table, safe='')}"
        return self.http.fetch(f"/index/runs/{run}/{part}", target)

    def index_comparison(self, run: int, other: int) -> Json:
        """From one run to another by province; what does not compare says so in `reasons`."""
        answer: Json = self.http.get("/index/compare", run=run, other=other)
        return answer

    def index_history(self, run: int, node: str = "INDEX") -> Json:
        """The periods that compare with a run, then those that do not, with the reasons: `{base, node, periods}`."""
        answer: Json = self.http.get("/index/history", run=run, node=node)
        return answer

    def index_definitions(self, *, most: int | None = None) -> Iterator[Json]:
        """Trees of indicators, newest first; drafts are shown to operators."""
        return self.http.pages("/index/definitions", most=most)

    def index_weights(self, *, most: int | None = None) -> Iterator[Json]:
        """Recorded sets of weights, newest first, with what they were made of."""
        return self.http.pages("/index/weights", most=most)

    def index_panels(self, *, most: int | None = None) -> Iterator[Json]:
        """Panels of experts, newest first."""
        return self.http.pages("/index/panels", most=most)

    def index_panel(self, panel: int) -> Json:
        """A panel: of each expert and of all together, by group, what is missing, weights and consistency."""
        answer: Json = self.http.get(f"/index/panels/{panel}")
        return answer

    def rate_task(self, task_id: str, stars: int, comment: str = "") -> Json:
        """Rate what was delivered to you, with 1 to 5 stars. Said again, the last word stands."""
        answer: Json = self.http.json("PUT", f"/tasks/{task_id}/rating", json={"stars": stars, "comment": comment})
        return answer

    def set_industry(self, section: str) -> Json:
        """Say what the organization does: a section, A to T, of GB/T 4754-2017; empty: not said. Returns the organization."""
        organization: Json = self.http.json("PATCH", "/organization", json={"industry": section})
        return organization


class IndexWork(Calls):
    """What operators do."""

    def import_observations(
        self, file: Path, *, profile: str = "national", title: str = "", publisher: str = "", url: str = "", licence: str = "",
        published: str | None = None,
    ) -> Json:  # fmt: skip
        """Look at a file (CSV or XLSX): its batch with a `report` of what is wrong or strange. Nothing is kept before a commit."""
        cited = {"title": title, "publisher": publisher, "url": url, "licence": licence, "published": published}
        body = {"name": file.name, "content": base64.b64encode(file.read_bytes()).decode(), "base64": True, "profile": profile}
        answer: Json = self.http.post("/index/batches", body | {name: told for name, told in cited.items() if told})
        return answer

    def observation_batches(self, *, most: int | None = None) -> Iterator[Json]:
        """Batches of observations, newest first."""
        return self.http.pages("/index/batches", most=most)

    def commit_observations(self, batch: int) -> Json:
        """Keep all rows of a batch, or none if one is wrong."""
        return self._told(f"/index/batches/{batch}/commit")

    def drop_observations(self, batch: int) -> Json:
        """Forget a file that was looked at."""
        return self._told(f"/index/batches/{batch}/drop")

    def roll_back_observations(self, batch: int, reason: str) -> Json:
        """No later run sees the batch; runs that did stay as they are."""
        return self._told(f"/index/batches/{batch}/roll-back", reason=reason)

    def import_index_weights(self, definition: str, name: str, weights: Mapping[str, str], note: str = "") -> Json:
        """Record weights (node -> decimal text; left out: 0) of a published definition, for ever."""
        told = {"note": note} if note else {}
        return self._told("/index/weights", definition=definition, name=name, weights=dict(weights), **told)

    def make_index_run(
        self, definition: str, period: str, *, weights: str = "equal", profile: str = "national", as_of: str | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Json:  # fmt: skip
        """Make a run; what was made of the same is given again.

        period   `2022` or `2022-03`
        as_of    values that were published later are not seen; default: today
        """
        asked = {"weights": weights, "profile": profile, "as_of": as_of, "parameters": dict(parameters or {})}
        return self._told("/index/runs", definition=definition, period=period, **asked)

    def make_index_series(
        self, definition: str, periods: Sequence[str], base: str, *, weights: str = "equal", profile: str = "national",
    ) -> list[Json]:  # fmt: skip
        """Make a run of every period on the goalposts of the run of `base`, a period, so that they compare."""
        asked = {"definition": definition, "periods": list(periods), "base": base, "weights": weights, "profile": profile}
        answer: list[Json] = self.http.post("/index/series", asked, timeout=SERIES_S)
        return answer

    def count_index(self) -> list[Json]:
        """Count the platform's own month now: the batches that are new. A month of which nothing changed is not there."""
        answer: list[Json] = self.http.post("/index/counts", {})
        return answer

    def publish_index_run(self, run: int, change_note: str) -> Json:
        """Publish a run as the next edition, with what changed."""
        return self._told(f"/index/runs/{run}/publish", change_note=change_note)

    def open_index_panel(self, definition: str, name: str, experts: Mapping[str, str]) -> Json:
        """Open a panel of experts with their voices (name -> decimal text)."""
        named = [{"name": one, "voice": voice} for one, voice in experts.items()]
        return self._told("/index/panels", definition=definition, name=name, experts=named)

    def judge_index(self, panel: int, expert: int, judgements: Sequence[Sequence[str]]) -> Json:
        """Write down (one, other, how much more `one` weighs: "3" or "1/5"; "": taken back). Returns the panel."""
        said = [{"one": one, "other": other, "value": value} for one, other, value in judgements]
        path = f"/index/panels/{panel}/experts/{expert}/judgements"
        answer: Json = self.http.json("PUT", path, json={"judgements": said})
        return answer

    def record_index_panel(self, panel: int, name: str) -> Json:
        """Record the panel's weights under a name, for ever."""
        return self._told(f"/index/panels/{panel}/record", name=name)

    def _told(self, path: str, **body: Any) -> Json:
        answer: Json = self.http.post(path, body)
        return answer
