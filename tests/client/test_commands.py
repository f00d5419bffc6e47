"""Every command: what it prints for people, its one JSON document for programs, its exit code."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from rich.text import Text

from gridfare import config
from gridfare.cli.inputs import inputs_of
from gridfare.cli.pool import believed_text
from gridfare.cli.views import explanation, prediction_table
from tests.client.conftest import Run
from tests.client.platform import KEY, POOL, Fault, Platform
from tests.client.routes_market import new_pool

RENDER = ("submit", "gridfare/render")


def submitted(run: Run) -> str:
    task: str = run(*RENDER, "--json").json["id"]
    return task


def test_login_with_a_password_remembers_a_key(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRIDFARE_KEY")
    done = run("login", url, "--user", "alice", "--password", "wonderland", "--key-name", "laptop")
    assert done.code == 0
    assert "alice of acme (Acme), owner" in done.out
    assert config.load().profiles["default"] == config.Profile(url, KEY, "alice", "acme")
    assert run("whoami", "--json").json["user"]["username"] == "alice"
    assert run("keys", "list", "--json").json[0]["name"] == "laptop"
    assert run("logout", "--json").json["logged_out"] is True
    assert run("whoami").code == 3


def test_login_asks_for_what_is_missing_and_shows_no_password(
    run: Run, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GRIDFARE_KEY")
    done = run("login", url, given="alice\nwonderland\n")
    assert done.code == 0
    assert "wonderland" not in done.out + done.err


def test_login_with_a_wrong_password_or_key_stores_nothing(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRIDFARE_KEY")
    assert run("login", url, "--user", "alice", "--password", "guess").code == 3
    assert run("login", url, "--key", "gf_wrong_key").code == 3
    assert run("login", "nonsense", "--key", "x").code == 2
    assert not config.place().exists()


def test_logout_may_revoke_the_key(run: Run, url: str, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRIDFARE_KEY")
    run("login", url, "--user", "alice", "--password", "wonderland")
    assert run("logout", "--revoke", "--json").json["revoked"] is True
    assert platform.keys == []


def test_a_quote_shows_both_ways(run: Run) -> None:
    done = run("quote", "gridfare/render", "-i", "frames=2")
    assert "cheapest" in done.out
    assert "0.30 CNY" in done.out
    assert run("quote", "gridfare/render", "--json").json["units"] == 2


def test_inputs_are_json_or_text_or_files(run: Run, platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "scene.obj").write_text("v 0 0 0")
    (tmp_path / "more.json").write_text('{"frames": 1, "samples": 8}')
    words = ["frames=24", "size=[4, 3]", "title=a flight", "mail=@@home", f"scene=@{tmp_path}/scene.obj"]
    words += ["tags=one", "tags=two", "odd=NaN", "flag=true"]
    options = [word for each in words for word in ("-i", each)]
    inputs = run(*RENDER, *options, "--inputs", f"{tmp_path}/more.json", "--json").json["inputs"]
    assert platform.artifacts[inputs.pop("scene")]["name"] == "scene.obj"
    assert inputs == {
        "frames": 24,
        "samples": 8,
        "size": [4, 3],
        "title": "a flight",
        "mail": "@home",
        "tags": ["one", "two"],
        "odd": "NaN",
        "flag": True,
    }


def test_inputs_may_be_results_of_other_tasks(run: Run) -> None:
    task = "01900000-0000-7000-8000-000000000001"
    words = [f"one=task:{task}", f"many=task:{task}:units/**/*.png", f"many=task:{task}:a.txt", "text=task:12"]
    inputs = run(*RENDER, *(word for each in words for word in ("-i", each)), "--json").json["inputs"]
    assert inputs == {
        "one": {"task": task, "path": "**"},
        "many": [{"task": task, "path": "units/**/*.png"}, {"task": task, "path": "a.txt"}],
        "text": "task:12",
    }


LOST = {
    "id": 7, "state": "failed", "pool": POOL, "leased_at": "2030-01-01T00:00:00Z", "started_at": "2030-01-01T00:00:01Z",
    "ended_at": "2030-01-01T00:00:08Z", "reason_class": "reclaimed", "code": "owner_returned", "exit_code": 143,
    "detail": "the machine's owner is back", "saved_at": "2030-01-01T00:00:07Z",
}  # fmt: skip
WON = LOST | {"state": "valid", "reason_class": "", "code": "", "detail": "", "exit_code": None, "saved_at": None}


def test_every_attempt_of_every_unit_is_shown_with_what_became_of_it(run: Run, platform: Platform) -> None:
    task = submitted(run)
    assert run("units", task).out.count("done") == 2, "nobody has taken them yet"
    platform.attempts = [LOST, WON, WON | {"state": "invalid", "reason_class": "invalid_result", "code": "outvoted"}]
    shown = " ".join(run("units", task).out.split())
    assert f"unit 0 {POOL} failed 7.0 s reclaimed, owner_returned: the machine's owner is back; exit code 143; checkpoint" in shown
    assert f"unit 1 {POOL} valid" in shown
    assert "wrong, unpaid, invalid_result, outvoted" in shown
    spare = {"state": "superseded"}
    platform.attempts += [WON | spare, WON | spare | {"reason_class": "superseded", "code": "superseded"}]
    shown = " ".join(run("units", task).out.split())
    assert "superseded 7.0 s agreed with the delivered one" in shown
    assert "superseded 7.0 s was not needed any more" in shown
    troubled = run("units", task, "--troubled").out
    assert (troubled.count("owner_returned"), "valid" in troubled.replace("invalid", "")) == (2, False)
    assert len(run("units", task, "--json").json) == 2
    platform.attempts = [WON]
    assert "nothing came to nothing" in run("units", task, "--troubled").out


def test_an_attempt_that_failed_is_told_in_words_and_with_json_as_it_is(run: Run, platform: Platform) -> None:
    task = submitted(run)
    data = {"stage": "unit", "index": 3, "pool": POOL, "attempt": 7, "unit": "waiting"}
    data |= {name: LOST[name] for name in ("reason_class", "code", "detail")}
    platform.events[task] = [{"seq": 1, "kind": "attempt.failed", "data": data, "at": "2030-01-01T00:00:01Z"}]
    told = f"attempt.failed  unit 3 on {POOL}: reclaimed, owner_returned: the machine's owner is back; the unit is waiting"
    assert told in run("events", task).out
    assert run("events", task, "--json").json["data"] == data


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        ({"compare": "exact", "need": 2, "adaptive": True}, "2 of different owners must agree, trusted pools are spot-checked"),
        ({"compare": "tolerance", "need": 3, "commit_reveal": True}, "3 of different owners must agree within a tolerance, bound"),
        ({"compare": "validator", "need": 1}, "judged by the publisher's program"),
    ],
)
def test_how_results_are_proved_is_shown_with_the_task(run: Run, platform: Platform, policy: dict[str, object], words: str) -> None:
    task = submitted(run)
    assert "results" not in run("show", task).out
    platform.tasks[task]["verify"] = policy
    assert words in " ".join(run("show", task).out.split())


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"unproven": False, "believed_up_to": None}, "yes"),
        ({"unproven": False, "believed_up_to": 1000.0}, "where a unit is worth 1,000 or less"),
        ({"unproven": True, "believed_up_to": None}, "no: it gets what is compared"),
        ({"unproven": False, "believed_up_to": 0.0}, "no: it gets what is compared"),
    ],
)
def test_an_owner_reads_how_far_a_single_result_is_believed(found: Any, words: str) -> None:
    assert believed_text(found).startswith(words)


def test_showing_a_task_puts_what_was_predicted_beside_what_came(run: Run, platform: Platform) -> None:
    task = run(*RENDER, "-i", "frames=1", "--json").json["id"]
    times = {"start_p50_s": 2, "start_p90_s": 5, "finish_p50_s": 60, "finish_p90_s": 90}
    record = {"tasks": 40, "within_p50": 0.6, "within_p90": 0.85, "factor": 1.25}
    platform.explain["prediction"] = {
        "predicted": {**times, "price": "0.30", "currency": "CNY"},
        "actual": {"start_s": 1.5, "finish_s": None},
        "calibration": {"start": record, "finish": record},
    }
    told = run("show", task).out
    assert all(word in told for word in ("1 min 30 s", "1.5 s", "not yet", "0.30 CNY", "85% of the last 40 results", "x 1.25"))


def test_inputs_may_come_from_stdin(run: Run) -> None:
    assert run(*RENDER, "--inputs", "-", "--json", given='{"frames": 3}').json["inputs"] == {"frames": 3}


def test_a_list_is_a_name_given_twice_or_with_brackets_behind_it(tmp_path: Path) -> None:
    one = tmp_path / "one.txt"
    one.write_text("1")
    assert inputs_of([f"files[]=@{one}", "n=1"]) == {"files": [one], "n": 1}
    assert inputs_of(["a=1", "a=2", "b[]=1", "b[]=x", "c[]=[1]"]) == {"a": [1, 2], "b": [1, "x"], "c": [[1]]}
    with pytest.raises(typer.BadParameter):
        inputs_of(["[]=1"])


def test_show_says_where_by_what_and_what_it_cost_in_the_end() -> None:
    decision = {"stage": "unit", "decided_by": "optimum", "placed": [{"pool": "a", "units": 3}, {"pool": "b", "units": 1}]}
    waiting = {"units": 1, "reason": "x", "detail": "y", "excluded": {}}
    why = {"decisions": [decision | {"candidates": [], "excluded": {}}], "waiting": waiting}
    console = Console(width=200, record=True, file=StringIO())
    console.print(*explanation(why))
    told = console.export_text()
    assert "why there: unit: 3 to a, 1 to b by optimum; candidates, best first" in told
    assert "1 unit waits: x, y" in told
    seconds: dict[str, Any] = dict.fromkeys(("start_p50_s", "start_p90_s", "finish_p50_s", "finish_p90_s"), 1.0)
    prediction = {"predicted": seconds | {"price": "2", "currency": "CNY"}, "actual": {"start_s": 1.0, "finish_s": None}}
    task: Any = {"cost": {"amount": "1.25", "currency": "CNY", "final": True}}
    assert list(prediction_table(prediction, task).columns[3].cells)[-1] == Text("1.25 CNY")


@pytest.mark.parametrize(
    "words",
    [
        ("-i", "frames"),
        ("-i", "scene=@/no/such/file"),
        ("--inputs", "/no/such/file"),
        ("--label", "film"),
        ("--deadline", "soon"),
        ("--wait", "--timeout", "never"),
        ("--no-such-option",),
    ],
)
def test_wrong_use_exits_2_before_anything_is_sent(run: Run, platform: Platform, words: tuple[str, ...]) -> None:
    assert run(*RENDER, *words).code == 2
    assert platform.calls == []


def test_what_the_platform_refuses_names_code_and_field(run: Run) -> None:
    done = run(*RENDER, "-i", "frames=many")
    assert done.code == 2
    assert done.out == ""
    assert "is not an integer (inputs.frames)  [invalid_input]" in done.err
    assert "inputs.x: is unknown" in done.err
    error = run(*RENDER, "-i", "frames=many", "--json").json["error"]
    assert (error["code"], error["field"], error["status"]) == ("invalid_input", "inputs.frames", 422)


def test_submit_prints_the_id_alone(run: Run, platform: Platform) -> None:
    done = run(*RENDER, "--label", "film=one", "--region", "ningxia", "--max-price", "2", "--name", "flight")
    assert done.out.strip() in platform.tasks
    task = platform.tasks[done.out.strip()]
    assert (task["labels"], task["constraints"]) == ({"film": "one"}, {"regions": ["ningxia"], "max_price": "2"})


def test_how_far_pools_are_to_be_believed_is_said_with_the_task(run: Run, platform: Platform) -> None:
    done = run(*RENDER, "--min-trust", "0.9", "--min-level", "1", "--network", "ningxia:2", "--accept-unproven")
    network = {"from": "ningxia", "jitter_class": "2"}
    believed = {"min_trust": "0.9", "min_level": 1, "network": network, "accept_unproven": True}
    assert platform.tasks[done.out.strip()]["constraints"] == believed


@pytest.mark.parametrize(("end", "code"), [("delivered", 0), ("failed", 1), ("expired", 1), ("cancelled", 7)])
def test_waiting_exits_with_the_end_of_the_task(run: Run, platform: Platform, end: str, code: int) -> None:
    platform.states = ["queued", "running", end]
    done = run(*RENDER, "--wait")
    assert done.code == code
    assert end in done.out
    assert "running: 1/2 units" in done.err
    done = run(*RENDER, "--wait", "--json")
    assert (done.code, done.json["state"], done.err) == (code, end, "")


def test_waiting_too_long_exits_6(run: Run) -> None:
    assert run(*RENDER, "--wait", "--timeout", "0.05s").code == 6
    done = run("wait", submitted(run), "--timeout", "0.05", "--json")
    assert (done.code, done.json["error"]["code"]) == (6, "wait_timeout")


def test_download_brings_the_files(run: Run, platform: Platform, tmp_path: Path) -> None:
    platform.states = ["running", "delivered"]
    done = run(*RENDER, "--download", str(tmp_path / "out"), "--json")
    assert done.code == 0
    assert done.json["downloaded"] == [f"{tmp_path}/out/frames/0001.png", f"{tmp_path}/out/video.mp4"]
    assert (tmp_path / "out" / "video.mp4").read_bytes() == b"film"


def test_ctrl_c_leaves_the_task_alone(run: Run, platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    task = submitted(run)

    def interrupt(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gridfare.sdk.tasks.time.sleep", interrupt)
    done = run("wait", task)
    assert done.code == 130
    assert "the task goes on" in done.err
    assert platform.tasks[task]["cancel_requested"] is False
    assert run("wait", task, "--json").json["error"] == {"task": task} | run("wait", task, "--json").json["error"]


def test_run_is_the_short_form_of_a_command(run: Run, platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("1")
    options = ["-f", f"{tmp_path}/data.csv", "-o", "out.txt", "-n", "3", "-e", "A=b", "--cores", "2", "--limit", "5m"]
    task = run("run", "--no-wait", *options, "--json", "--", "sh", "-c", "wc in/files/*", "--json").json
    assert task["capability"] == "gridfare/command"
    files = task["inputs"].pop("files")
    assert [platform.artifacts[artifact]["name"] for artifact in files] == ["data.csv"]
    assert task["inputs"] == {
        "argv": ["sh", "-c", "wc in/files/*", "--json"],
        "outputs": ["out.txt"],
        "count": 3,
        "env": {"A": "b"},
        "cores": 2,
        "run_s": 300,
    }


def test_tasks_are_listed_and_filtered(run: Run, platform: Platform) -> None:
    assert "no tasks" in run("tasks").out
    one = submitted(run)
    run(*RENDER, "--label", "film=one")
    assert one in run("tasks").out
    assert len(run("tasks", "--json").json) == 2
    assert len(run("tasks", "-n", "1", "--json").json) == 1
    assert [task["labels"] for task in run("tasks", "--label", "film=one", "--json").json] == [{"film": "one"}]
    assert run("tasks", "--state", "failed", "--json").json == []


def test_show_tells_where_and_why(run: Run, platform: Platform) -> None:
    task = submitted(run)
    terms = {"price": 0.01, "wait_s": 0.0, "transfer_s": 1.5, "run_s": 20.25, "cost": 0.0125}
    candidate = {"pool": POOL, "region": "ningxia"} | terms
    decision = {"at": "2030-01-01T00:00:00Z", "stage": "unit", "decided_by": "greedy"}
    where = [
        {"pool": POOL, "region": "ningxia", "stage": 0, "state": state, "units": 1} for state in ("done", "leased")
    ]
    waiting = {"units": 3, "reason": "no_pool_fits", "detail": "most lack memory", "excluded": {"memory": 4}}
    platform.explain = {
        "where": where,
        "decisions": [decision | {"candidates": [candidate], "excluded": {"price": 2}}],
        "waiting": waiting | {"candidates": []},
    }
    out = run("show", task).out
    for part in (task, "1 done, 1 leased", "0.0125", "2 by price", "3 units wait: no_pool_fits", "4 by memory"):
        assert part in out
    assert run("show", task, "--json").json["explain"]["decisions"][0]["candidates"] == [candidate]


def test_logs_are_whole_lines_with_their_unit_and_without_control_characters(run: Run, platform: Platform) -> None:
    task = submitted(run)
    assert run("logs", task).out.splitlines() == [
        "   unit 1 | frame 1 done",
        "   unit 0 | frame 0 done",
        "   unit 0 | slow disk\ufffd[2J",
    ]
    assert run("logs", task, "--unit", "1").out == "frame 1 done\n"
    chunks = [json.loads(line) for line in run("logs", task, "--json").out.splitlines()]
    assert [chunk["text"] for chunk in chunks][-1] == "slow disk\x1b[2J\n"
    platform.deliver(task, {})
    assert len(run("logs", "-f", task, "--stream", "stdout").out.splitlines()) == 2


def test_events_are_lines(run: Run, platform: Platform) -> None:
    task = submitted(run)
    platform.deliver(task, {})
    assert f"placed  pool={POOL}  units=2" in run("events", task).out
    lines = run("events", "-f", task, "--json").out.splitlines()
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4]


def test_results_are_listed_and_fetched(run: Run, platform: Platform, tmp_path: Path) -> None:
    task = submitted(run)
    assert run("results", task).code == 2
    platform.deliver(task, {"video.mp4": b"film"})
    assert "video.mp4" in run("results", task).out
    assert run("results", task, "-o", str(tmp_path / "out")).out.strip() == f"{tmp_path}/out/video.mp4"
    assert run("results", task, "--json").json["files"][0]["bytes"] == 4


def test_a_file_in_the_place_of_the_folder_is_said(run: Run, platform: Platform, tmp_path: Path) -> None:
    task = submitted(run)
    platform.deliver(task, {"video.mp4": b"film"})
    (tmp_path / "out").write_text("in the way")
    assert run("results", task, "-o", str(tmp_path / "out")).code == 2


def test_cancel_asks(run: Run, platform: Platform) -> None:
    task = submitted(run)
    assert run("cancel", task).code == 0
    assert platform.tasks[task]["cancel_requested"] is True


def test_the_market_is_shown(run: Run) -> None:
    assert "0.0001/core second, 0.80/gb moved CNY" in run("market").out
    assert "0.00007/core second CNY" in run("market").out
    assert run("market", "--region", "beijing", "--json").json == []
    assert "gridfare/render" in run("capabilities").out
    assert "宁夏" in run("regions").out


def test_stronger_checks_are_asked_for_with_a_word_or_as_json(run: Run, platform: Platform) -> None:
    run("submit", "gridfare/render", "--verify", "exact")
    run("submit", "gridfare/render", "--verify", '{"quorum": {"of": 3, "need": 2}}')
    assert [body.get("verify") for body, _ in platform.by_request.values()] == ["exact", {"quorum": {"of": 3, "need": 2}}]
    assert run("submit", "gridfare/render", "--verify", "{").code == 2


def test_keys_are_made_rotated_and_revoked(run: Run, url: str, platform: Platform) -> None:
    done = run("keys", "create", "robot", "--scope", "tasks:read", "--days", "30")
    assert "gf_new02_secret" in done.out
    assert platform.keys[0]["scopes"] == ["tasks:read"]
    config.save(config.Config(profiles={"default": config.Profile(url, KEY)}))
    assert run("keys", "rotate", "alice01", "--json").json["key"] == "gf_next03_secret"
    assert config.load().profiles["default"].key == "gf_next03_secret"
    assert run("keys", "revoke", "new02", "--json").json["revoked"] is True
    assert platform.keys == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [(Fault("GET", 503, 99), 5), (Fault("GET", "drop", 99), 5), (Fault("GET", 403), 3), (Fault("GET", 500), 5)],
)
def test_faults_have_exit_codes(run: Run, platform: Platform, fault: Fault, code: int) -> None:
    platform.faults.append(fault)
    done = run("whoami", "--json")
    assert (done.code, "error" in done.json) == (code, True)


def test_what_is_not_there_exits_4(run: Run) -> None:
    for words in (
        ("show", "nope"),
        ("logs", "nope"),
        ("results", "nope"),
        ("pool", "show", "nope"),
        ("cancel", "nope"),
    ):
        assert run(*words).code == 4
    assert run("submit", "gridfare/unknown").code == 4


def test_every_command_takes_json_but_the_agent_that_runs(run: Run) -> None:
    for words in COMMANDS:
        assert ("--json" in run(*words, "--help").out) == (words != ("agent", "run")), words


COMMANDS = [
    *[(name,) for name in ("quote", "submit", "run", "wait", "tasks", "show", "logs", "events", "results", "cancel")],
    *[
        (name,)
        for name in ("capabilities", "market", "regions", "pools", "login", "logout", "whoami", "bill", "version")
    ],
    *[("keys", name) for name in ("list", "create", "rotate", "revoke")],
    *[("capability", name) for name in ("show", "publish", "deprecate", "withdraw", "trust")],
    *[
        ("pool", name)
        for name in ("create", "show", "offer", "offers", "token", "activate", "drain", "resume", "retire", "maintain", "windows",
                     "unmaintain", "reclaim", "give-back")
    ],
    *[("ledger", name) for name in ("proof", "entries", "export")],
    ("verify-ledger",),
    *[("usage", name) for name in ("send", "quarantine", "accept", "refuse", "days")],
    ("usage",),
    *[("agent", name) for name in ("join", "run", "drain", "selftest", "idle", "reclaim", "give-back")],
]


def test_json_is_one_document_even_when_use_is_wrong(run: Run, platform: Platform) -> None:
    platform.pools[POOL] = new_pool("west", "ningxia")
    submitted(run)
    for words in (("tasks",), ("pools",), ("market",), ("regions",), ("capabilities",), ("keys", "list"), ("bill",)):
        done = run(*words, "--json")
        json.loads(done.out)
        assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("tasks", "--nonsense"), "--nonsense"),
        (("--nonsense", "tasks"), "--nonsense"),
        (("tasks", "--limit", "many"), "--limit"),
        (("show",), "ID"),
        (("show", "a", "b"), "b"),
        (("nonsense",), "nonsense"),
        (("keys", "nonsense"), "nonsense"),
    ],
)
def test_a_wrong_use_is_one_json_document_for_programs_and_a_hint_for_people(
    run: Run, words: tuple[str, ...], said: str
) -> None:
    done = run(*words, "--json")
    assert (done.code, done.json["error"]["code"], done.err) == (2, "usage", "")
    assert said in done.json["error"]["detail"]
    done = run(*words)
    assert (done.code, done.out) == (2, "")
    assert "Usage" in done.err


def test_a_question_that_nobody_answers_is_a_wrong_use(run: Run, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GRIDFARE_KEY")
    assert run("login", url, given="").code == 2
    done = run("login", url, "--json", given="")
    assert (done.code, done.json["error"]["code"]) == (2, "usage")


def test_the_version_is_said(run: Run) -> None:
    assert run("version", "--json").json["gridfare"] in run("version").out
