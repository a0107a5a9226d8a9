"""The loopback Messages API as a process of its own, and the folder in which somebody answers."""

import json
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import anthropic
import httpx2
import pytest
from loopback_clients import ASKED, City, always, client_of

from mendel.testing.messages_scripts import readable
from mendel.testing.messages_server import Answer, Fault, Folder, serve

COMMAND = [sys.executable, "-m", "mendel.testing.messages_server"]


@contextmanager
def running(*arguments):
    """Its URL, once it serves."""
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, text=True)
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def refused(*arguments):
    ran = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, "")
    assert ran.stderr.count("\n") == 1, ran.stderr
    return ran.stderr


def written(folder, name, text):
    (folder / f"{name}.part").write_text(text)
    (folder / f"{name}.part").replace(folder / name)


def appears(path):
    deadline = time.monotonic() + 30
    while not path.exists():
        assert time.monotonic() < deadline, f"{path.name} did not appear"
        time.sleep(0.02)
    return path.read_text()


@contextmanager
def asking(url, **more):
    """Asks in the background; the list gets the answer."""
    said = []
    client = anthropic.Anthropic(base_url=url, api_key="any")
    thread = threading.Thread(target=lambda: said.append(client.messages.create(**{**ASKED, **more})))
    thread.start()
    try:
        yield said
    finally:
        thread.join(30)
        client.close()


# --- a folder --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_somebody_answers_in_a_folder_and_a_signal_ends_the_server(tmp_path, number):
    folder, log = tmp_path / "asked", tmp_path / "log.jsonl"
    with running("--folder", folder, "--log", log) as (process, url):
        assert url.startswith("http://127.0.0.1:")
        assert httpx2.get(url + "/health").json() == {"status": "ok", "requests": 0}
        with asking(url, system="You name cities.") as first:
            asked = appears(folder / "0001.request.md")
            assert "You name cities." in asked and "Which city?" in asked and "0001.answer.md" in asked
            assert json.loads((folder / "0001.request.json").read_text())["messages"] == ASKED["messages"]
            written(folder, "0001.answer.md", "Brno\n")
        with asking(url) as second:
            appears(folder / "0002.request.md")
            answer = {"content": [{"type": "tool_use", "name": "look", "input": {"at": "Brno"}}]}
            written(folder, "0002.answer.json", json.dumps(answer))
        assert first[0].content[0].text == "Brno"
        assert (second[0].stop_reason, second[0].content[0].input) == ("tool_use", {"at": "Brno"})
        process.send_signal(number)
        assert process.wait(10) == 0
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(row["number"], row["status"], row["paid"]) for row in rows] == [(1, 200, True), (2, 200, True)]
    assert rows[0]["usage"]["input_tokens"] > 0


def test_an_answer_that_cannot_be_read_is_told_and_may_be_corrected(tmp_path):
    with serve(Folder(tmp_path, limit=30)) as server, asking(server.url) as said:
        appears(tmp_path / "0001.request.md")
        written(tmp_path, "0001.answer.json", '{"contents": []}')
        problem = appears(tmp_path / "0001.problem.txt")
        assert problem.startswith("0001.answer.json: contents: unknown key") and "content" in problem
        written(tmp_path, "0001.answer.json", '{"output": {"name": "Brno", "people": 4}}')
    assert City.model_validate_json(said[0].content[0].text).name == "Brno"


def test_a_request_that_nobody_answers_ends_with_a_clear_error_and_is_not_sent_again(tmp_path):
    with serve(Folder(tmp_path, limit=0.3)) as server, client_of(server) as client:
        with pytest.raises(
            anthropic.InternalServerError, match="0001.request.md within 0.3 seconds"
        ) as raised:
            client.messages.create(**ASKED)
        assert raised.value.body["error"]["type"] == "timeout_error"
        assert [(entry.status, entry.paid) for entry in server.log] == [(504, False)]


@pytest.mark.parametrize("after", [0.7, 1.3])
def test_somebody_whose_answer_was_not_waited_for_is_not_asked_twice(tmp_path, after):
    with serve(Folder(tmp_path, limit=30)) as server, client_of(server, timeout=0.5) as client:
        # the client gives up after half a second and tries again about half a second later: the answer comes
        # in between, or while it waits again
        answer = threading.Timer(after, written, (tmp_path, "0001.answer.md", "Brno"))
        answer.start()
        assert client.messages.create(**ASKED).content[0].text == "Brno"
        answer.join()
        assert [path.name for path in tmp_path.glob("*.request.json")] == ["0001.request.json"]
        assert [entry.paid for entry in server.log].count(True) == 1


@pytest.mark.parametrize("kind", ["cut", "malformed"])
def test_somebody_whose_answer_broke_on_its_way_is_not_asked_twice(tmp_path, kind):
    with serve(Folder(tmp_path, limit=30), [Fault(kind=kind, at=1)]) as server, client_of(server) as client:
        answer = threading.Timer(0.3, written, (tmp_path, "0001.answer.md", "Brno"))
        answer.start()
        if kind == "malformed":
            with pytest.raises(ValueError, match="char"):
                client.messages.create(**ASKED)
        assert client.messages.create(**ASKED).content[0].text == "Brno"
        answer.join()
        assert not (tmp_path / "0002.request.json").exists()


def test_a_folder_that_holds_requests_is_continued(tmp_path):
    (tmp_path / "0041.request.json").write_text("{}")
    with serve(Folder(tmp_path, limit=30)) as server, asking(server.url):
        appears(tmp_path / "0042.request.md")
        written(tmp_path, "0042.answer.md", "Brno")
    assert not (tmp_path / "0001.request.json").exists()


def test_a_request_reads_well():
    tool = {"name": "look_up", "description": "Looks a city up.", "input_schema": {"type": "object"}}
    schema = City.model_json_schema()
    result = {
        "type": "tool_result",
        "tool_use_id": "toolu_1",
        "content": [{"type": "text", "text": "4 trams"}],
    }
    call = {"type": "tool_use", "id": "toolu_1", "name": "look_up", "input": {"city": "Brno"}}
    request = {
        **ASKED,
        "tools": [tool],
        "output_config": {"format": {"type": "json_schema", "schema": schema}},
        "messages": [
            *ASKED["messages"],
            {"role": "assistant", "content": [call]},
            {"role": "user", "content": [result]},
        ],
    }
    text = readable(request, 7)
    for part in (
        "Request 0007: turn 1",
        "0007.answer.json",
        "Looks a city up.",
        '"people"',
        "4 trams",
        '"Brno"',
    ):
        assert part in text


# --- the command -----------------------------------------------------------------------------------------


def test_rules_and_faults_come_from_files(tmp_path):
    rules, faults = tmp_path / "rules.json", tmp_path / "faults.json"
    rules.write_text(
        '[{"match": {"system": "^You", "turn": 0}, "answer": {"output": {"p": 0.5}}}, {"answer": "no"}]'
    )
    faults.write_text('[{"at": 2, "kind": "rate_limit", "seconds": 0.01}]')
    with running("--script", rules, "--faults", faults, "--port", 0) as (_, url):
        with anthropic.Anthropic(base_url=url, api_key="any", max_retries=0) as client:
            assert client.messages.create(**ASKED, system="You.").content[0].text == '{"p": 0.5}'
            with pytest.raises(anthropic.RateLimitError):
                client.messages.create(**ASKED)
            assert client.messages.create(**ASKED).content[0].text == "no"
        assert httpx2.get(url + "/health").json()["requests"] == 3


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "not JSON"),
        ("{}", "must be a list of at least one rule"),
        (
            '[{"match": {"sytem": "a"}, "answer": "b"}]',
            "0: match.sytem: unknown key (found 'a'); did you mean system?",
        ),
        ('[{"match": {"user": "("}, "answer": "b"}]', "0: match.user: must be a regular expression"),
        ('[{"answer": "a"}, {"match": {}}]', "1: answer: missing"),
        ('[{"answer": {"content": [{"type": "txt"}]}}]', "'text'"),
        (
            '[{"answer": {"content": "a", "stop_reason": "tired"}}]',
            "answer.stop_reason: allowed are 'end_turn'",
        ),
    ],
)
def test_a_rule_that_cannot_be_used_is_told_in_one_line(tmp_path, text, said):
    rules = tmp_path / "rules.json"
    rules.write_text(text)
    told = refused("--script", rules)
    assert f"{rules}: " in told and said in told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[{"at": 0, "kind": "drop"}]', "0: at: must be at least 1 (found 0)"),
        ('[{"at": 1, "kind": "flood"}]', "0: kind: allowed are 'rate_limit', 'overloaded'"),
        ('{"seed": 1, "rate": 2}', "rate: must be at most 1 (found 2)"),
        ("3", "must be a list such as"),
    ],
)
def test_a_fault_that_cannot_be_used_is_told_in_one_line(tmp_path, text, said):
    faults = tmp_path / "faults.json"
    faults.write_text(text)
    told = refused("--folder", tmp_path / "asked", "--faults", faults)
    assert f"{faults}: " in told and said in told


def test_options_that_cannot_be_used_are_told_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    assert "one of the arguments --folder --script is required" in refused()
    assert "not allowed with argument" in refused("--folder", tmp_path, "--script", "a")
    assert "missing.json: No such file" in refused("--script", tmp_path / "missing.json")
    assert "--folder" in refused("--folder", tmp_path / "file")
    assert "--limit: must be a whole number of at least 1 (found '0')" in refused(
        "--folder", tmp_path, "--limit", 0
    )
    with serve(always(Answer.text("a"))) as server:
        port = server.url.rpartition(":")[2]
        assert f"--port {port}: Address already in use" in refused("--folder", tmp_path, "--port", port)


def test_its_help_reads_well():
    ran = subprocess.run([*COMMAND, "--help"], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0
    assert all(
        word in ran.stdout
        for word in ("write requests there", "--script", "--faults", "Messages API", '"turn": 0')
    )
