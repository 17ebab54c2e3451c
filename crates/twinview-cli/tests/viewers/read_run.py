"""Reads what `--track tensorboard,wandb,mlflow` wrote with the packages that it is meant for.

    cd crates/twinview-cli/tests/viewers && python3 -m venv venv && venv/bin/pip install -r requirements.txt
    twinview pretrain --dataset shapes --epochs 3 --run RUN --track tensorboard,wandb,mlflow
    venv/bin/python read_run.py RUN

Each viewer must show the values of RUN/metrics.jsonl, once for each epoch, and its own way of the settings. W&B's part sends
the run with the real `wandb sync` to a stand-in on this machine that answers as W&B's server does; nothing leaves it.
"""

import glob
import json
import os
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlparse


def metrics(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line.pop("step"): line for line in lines}


def check(name, found, expected, tolerance):
    assert set(found) == set(expected), f"{name}: steps {sorted(found)}, expected {sorted(expected)}"
    for step, value in expected.items():
        assert abs(found[step] - value) <= tolerance * max(1, abs(value)), f"{name} at {step}: {found[step]}, not {value}"


def curves(expected):
    names = {name for line in expected.values() for name in line}
    return {name: {step: line[name] for step, line in expected.items() if name in line} for name in names}


def tensorboard(run, expected):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.plugins.projector import projector_config_pb2
    from google.protobuf import text_format

    accumulator = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0, "images": 0, "histograms": 0, "tensors": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    for name, curve in curves(expected).items():
        events = accumulator.Scalars(f"epoch/{name}")
        assert len(events) == len(curve), f"epoch/{name}: {[event.step for event in events]}"
        check(f"TensorBoard epoch/{name}", {event.step: event.value for event in events}, curve, 1e-6)
    updates = [event.step for event in accumulator.Scalars("update/loss")]
    assert updates == sorted(set(updates)), "updates were logged twice"
    for name in ["run", "settings", "environment"]:
        text = accumulator.Tensors(name)[0].tensor_proto.string_val[0].decode()
        assert text.startswith("|" if name != "settings" else "```toml"), text
    for tag in tags["images"]:
        image = accumulator.Images(tag)[0]
        assert image.encoded_image_string.startswith(b"\x89PNG") and image.width > 0, tag
    for tag in tags["histograms"]:
        histogram = accumulator.Histograms(tag)[-1].histogram_value
        assert histogram.num == sum(histogram.bucket) and histogram.min <= histogram.max, tag
    text = (run / "tensorboard/projector_config.pbtxt").read_text()
    embedding = text_format.Parse(text, projector_config_pb2.ProjectorConfig()).embeddings[0]
    rows = (run / "tensorboard" / embedding.tensor_path).read_text().splitlines()
    classes = (run / "tensorboard" / embedding.metadata_path).read_text().splitlines()
    assert [len(rows), len(rows[0].split("\t"))] == list(embedding.tensor_shape) and len(classes) == len(rows)
    return {key: len(tags[key]) for key in ["scalars", "images", "histograms", "tensors"]} | {"embedding": list(embedding.tensor_shape)}


def tensorboard_server(run, expected):
    """TensorBoard as people start it, with its own loader; asked over HTTP."""
    import re
    import time
    import urllib.request

    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(run / "tensorboard"), "--host", "127.0.0.1", "--port", "0"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        address = None
        for line in server.stdout:
            if found := re.search(r"http://[\w.:]+", line):
                address = found[0].rstrip("/")
                break
        get = lambda path: urllib.request.urlopen(f"{address}/data/plugin/{path}", timeout=30).read()
        for _ in range(60):
            tags = json.loads(get("scalars/tags"))
            if tags.get("."):
                break
            time.sleep(0.5)
        loss = json.loads(get("scalars/scalars?run=.&tag=epoch/loss"))
        check("TensorBoard's server", {step: value for _, step, value in loss}, curves(expected)["loss"], 1e-6)
        images = json.loads(get("images/tags"))["."]
        histograms = json.loads(get("histograms/tags"))["."]
        configuration = json.loads(get("projector/info?run=."))
        tensor = get("projector/tensor?run=.&name=backbone")
        sprite = get("projector/sprite_image?run=.&name=backbone")
        shape = configuration["embeddings"][0]["tensorShape"]
        assert len(tensor) == 4 * shape[0] * shape[1] and sprite.startswith(b"\x89PNG")
        return {"images": len(images), "histograms": len(histograms), "projector": shape}
    finally:
        server.terminate()
        server.wait()


class Server(BaseHTTPRequestHandler):
    """As much of W&B's server as `wandb sync` needs."""

    seen = None

    def log_message(self, *_):
        pass

    def answer(self, body, status=200):
        body = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def body(self):
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def do_PUT(self):
        self.seen["files"][urlparse(self.path).path] = self.body()
        self.answer({})

    def do_GET(self):
        self.answer({})

    def do_POST(self):
        body = self.body()
        if "file_stream" not in self.path and "graphql" not in self.path:
            return self.answer({})
        body = json.loads(body or b"{}")
        if "file_stream" in self.path:
            for name, part in (body.get("files") or {}).items():
                lines = self.seen["stream"].setdefault(name, {})
                for number, line in enumerate(part["content"]):
                    lines[part["offset"] + number] = line
            self.seen["exit"] = body.get("exitcode", self.seen["exit"])
            return self.answer({"exitcode": None, "limits": {}})
        query, variables = body.get("query", ""), body.get("variables") or {}
        self.seen["queries"].append(query)
        address = f"http://127.0.0.1:{self.server.server_port}"
        if "upsertBucket" in query:
            if variables.get("config"):
                self.seen["config"] = json.loads(variables["config"])
            self.seen["run"].update({key: value for key, value in variables.items() if value is not None})
            bucket = {"id": "run", "name": variables.get("name"), "displayName": variables.get("displayName"), "description": "",
                      "config": variables.get("config"), "sweepName": None, "historyLineCount": 0,
                      "project": {"id": "project", "name": "twinview", "entity": {"id": "entity", "name": "somebody"}}}
            return self.answer({"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}})
        if "createRunFiles" in query:
            files = [{"name": name, "uploadUrl": f"{address}/upload/{name}"} for name in variables.get("files") or []]
            made = {"runID": "run", "uploadHeaders": [], "files": files}
            return self.answer({"data": {"createRunFiles": made}})
        viewer = {"id": "me", "entity": "somebody", "username": "somebody", "email": "", "flags": "{}", "teams": {"edges": []}}
        info = {"cliVersionInfo": {"max_cli_version": "0.31.0"}, "latestLocalVersionInfo": None, "features": []}
        model = {"bucket": None, "run": None}
        self.answer({"data": {"viewer": viewer, "serverInfo": info, "model": model, "project": None, "entity": None}})


def wandb(run, expected):
    Server.seen = {"files": {}, "stream": {}, "queries": [], "config": {}, "run": {}, "exit": None}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    [folder] = glob.glob(str(run / "wandb/offline-run-*"))
    with tempfile.TemporaryDirectory() as home:
        environment = {**os.environ, "WANDB_BASE_URL": f"http://127.0.0.1:{server.server_port}", "WANDB_API_KEY": "0" * 40, "HOME": home}
        program = str(Path(sys.executable).parent / "wandb")
        command = [program, "sync", "--include-synced", folder]
        # It keeps logs in the folder where it is started.
        result = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, timeout=120)
    server.shutdown()
    said = result.stdout + result.stderr
    assert result.returncode == 0, said
    seen = Server.seen
    history = [json.loads(line) for _, line in sorted(seen["stream"].get("wandb-history.jsonl", {}).items())]
    assert history, f"no history arrived: {said}\n{seen}"
    steps = [row["_step"] for row in history]
    assert steps == sorted(set(steps)), f"rows were sent twice: {steps}"
    for name, curve in curves(expected).items():
        found = {row["_step"]: row[f"epoch/{name}"] for row in history if f"epoch/{name}" in row}
        check(f"W&B epoch/{name}", found, curve, 1e-12)
    pictures = [row["views"] for row in history if "views" in row]
    assert pictures and any(path.endswith(pictures[0]["path"]) for path in seen["files"]), list(seen["files"])
    histograms = {key for row in history for key, value in row.items() if isinstance(value, dict) and value.get("_type") == "histogram"}
    assert seen["config"]["environment"]["value"]["os"], seen["config"]
    assert seen["exit"] == 0, seen["exit"]
    return {"rows": len(history), "histograms": len(histograms), "files": sorted(Path(path).name for path in seen["files"])}


def mlflow(run, expected):
    os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=(run / "mlruns").resolve().as_uri())
    [experiment] = [found for found in client.search_experiments() if found.name == "twinview"]
    [found] = client.search_runs([experiment.experiment_id])
    for name, curve in curves(expected).items():
        history = client.get_metric_history(found.info.run_id, f"epoch/{name}")
        assert len(history) == len(curve)
        check(f"MLflow epoch/{name}", {point.step: point.value for point in history}, curve, 1e-12)
    assert found.info.status == "FINISHED" and found.data.params and found.data.tags["os"], found
    artifacts = [artifact.path for artifact in client.list_artifacts(found.info.run_id)]
    with tempfile.TemporaryDirectory() as folder:
        assert Path(client.download_artifacts(found.info.run_id, "settings.toml", folder)).read_text()
    return {"metrics": len(found.data.metrics), "params": len(found.data.params), "tags": len(found.data.tags), "artifacts": artifacts}


if __name__ == "__main__":
    run = Path(sys.argv[1]).resolve()
    expected = metrics(run)
    for reader in [tensorboard, tensorboard_server, wandb, mlflow]:
        print(f"{reader.__name__}: {reader(run, expected)}")
