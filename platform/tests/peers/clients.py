"""Asks a running foretap as the clients of other model servers do, and prints what they understood as JSON.

clients.py URL, with {"users": [..], "at": "..", "apps": 5} on standard input. Each client's rows are printed alike:
[{"apps": [["org.example.mail", 0.5], ..], "confidence": 0.9, "abstains": false}, ..].
"""

import asyncio
import json
import sys
import urllib.parse

import kserve
import numpy as np
import requests
import tritonclient.http as triton
from torchserve_client import TorchServeClientREST

MODEL = "foretap"
OUTPUTS = ["app", "probability", "confidence", "abstains"]


def main():
    url = sys.argv[1]
    asked = json.load(sys.stdin)
    rows = {"triton, binary": with_triton(url, asked, True), "triton, JSON": with_triton(url, asked, False)}
    rows["triton, all outputs"] = with_triton(url, asked, True, all_outputs=True)
    rows["kserve 2, JSON"], rows["kserve 2, binary"], kserve_said = asyncio.run(with_kserve(url, asked))
    rows["kserve 1"], kserve_1_said = asyncio.run(with_kserve_1(url, asked))
    rows["TensorFlow Serving, columns"] = by_tensorflow_columns(url, asked)
    rows["TorchServe"], torchserve_said = with_torchserve(url, asked)
    rows["SageMaker, CSV"], rows["SageMaker, lines"] = as_sagemaker(url, asked)
    said = {**about_triton(url), **kserve_said, **kserve_1_said, **torchserve_said}
    print(json.dumps({"rows": rows, "said": said}))


def questions(asked):
    return [{"user": user, "at": asked["at"], "apps": asked["apps"]} for user in asked["users"]]


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def of_columns(columns):
    """Rows of columns; what fills up shorter answers is left out."""
    rows = []
    for apps, probabilities, confidence, abstains in zip(*(columns[name] for name in OUTPUTS), strict=True):
        pairs = [[text(app), probability] for app, probability in zip(apps, probabilities, strict=True)]
        rows.append(row([pair for pair in pairs if pair[0]], confidence, abstains))
    return rows


def row(apps, confidence, abstains):
    return {"apps": apps, "confidence": confidence, "abstains": bool(abstains)}


def of_answers(answers):
    """Rows of what `POST /v1/predict` answers."""
    apps = [[[app["app"], app["probability"]] for app in answer["apps"]] for answer in answers]
    return [row(apps, answer["confidence"], answer["abstains"]) for apps, answer in zip(apps, answers)]


def with_triton(url, asked, is_binary, all_outputs=False):
    users = np.array(asked["users"], dtype=object)
    client = triton.InferenceServerClient(url.removeprefix("http://"))
    columns = [
        ("user", "BYTES", users.reshape(-1, 1)),
        ("at", "BYTES", np.array([asked["at"]] * len(users), dtype=object)),
        ("apps", "INT32", np.array([asked["apps"]], dtype=np.int32)),
    ]
    inputs = []
    for name, datatype, values in columns:
        column = triton.InferInput(name, list(values.shape), datatype)
        column.set_data_from_numpy(values, binary_data=is_binary)
        inputs.append(column)
    outputs = [triton.InferRequestedOutput(name, binary_data=is_binary) for name in OUTPUTS]
    found = client.infer(
        MODEL,
        inputs,
        model_version="1" if is_binary else "",
        outputs=None if all_outputs else outputs,
        request_id="the seventh",
        request_compression_algorithm="gzip" if is_binary else None,
        response_compression_algorithm="gzip",
    )
    assert found.get_response()["id"] == "the seventh"
    assert len(found.get_response()["outputs"]) == (7 if all_outputs else 4)
    return of_columns({name: found.as_numpy(name).tolist() for name in OUTPUTS})


def about_triton(url):
    client = triton.InferenceServerClient(url.removeprefix("http://"))
    column = triton.InferInput("user", [1], "BYTES")
    column.set_data_from_numpy(np.array(["nobody"], dtype=object))
    wrong = triton.InferInput("user", [1], "INT32")
    wrong.set_data_from_numpy(np.array([7], dtype=np.int32))
    errors = []
    for model, version, sent in [("other", "", column), (MODEL, "9", column), (MODEL, "", column), (MODEL, "", wrong)]:
        try:
            client.infer(model, [sent], model_version=version)
        except triton.InferenceServerException as error:
            errors.append([error.status(), error.message()])
    return {
        "triton live": client.is_server_live(),
        "triton ready": client.is_server_ready(),
        "triton model ready": client.is_model_ready(MODEL),
        "triton version ready": client.is_model_ready(MODEL, "1"),
        "triton other version ready": client.is_model_ready(MODEL, "9"),
        "triton other model ready": client.is_model_ready("other"),
        "triton server": client.get_server_metadata()["extensions"],
        "triton versions": client.get_model_metadata(MODEL)["versions"],
        "triton outputs": [output["name"] for output in client.get_model_metadata(MODEL, "1")["outputs"]],
        "triton errors": errors,
    }


async def with_kserve(url, asked):
    users, rows = asked["users"], len(asked["users"])
    times = [asked["at"]] * rows
    async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v2")) as client:
        said = {
            "kserve live": await client.is_server_live(url),
            "kserve ready": await client.is_server_ready(url),
            "kserve model ready": await client.is_model_ready(url, MODEL),
            "kserve other model ready": await client.is_model_ready(url, "other"),
        }
        found = []
        for is_binary in (False, True):
            inputs = [
                kserve.InferInput("user", [rows], "BYTES", data=users),
                kserve.InferInput("at", [rows], "BYTES", data=times),
                kserve.InferInput("apps", [1], "INT32", data=[asked["apps"]]),
            ]
            if is_binary:
                for column, values in zip(inputs, (users, times), strict=False):
                    column.set_data_from_numpy(np.array(values, dtype=object))
            parameters = {"binary_data_output": is_binary}
            request = kserve.InferRequest(model_name=MODEL, infer_inputs=inputs, parameters=parameters)
            answer = await client.infer(url, request, model_name=MODEL)
            columns = {output.name: output.as_numpy().tolist() for output in answer.outputs}
            found.append(of_columns(columns))
        return *found, said


async def with_kserve_1(url, asked):
    async with kserve.InferenceRESTClient(kserve.RESTConfig(protocol="v1")) as client:
        found = await client.infer(url, {"instances": questions(asked)}, model_name=MODEL)
        said = {"kserve 1 model ready": await client.is_model_ready(url, MODEL)}
    rows = found["predictions"]
    columns = {name: [answer[name] for answer in rows] for name in OUTPUTS}
    return of_columns(columns), said


def by_tensorflow_columns(url, asked):
    rows = len(asked["users"])
    inputs = {"user": asked["users"], "at": [asked["at"]] * rows, "apps": [asked["apps"]] * rows}
    found = requests.post(f"{url}/v1/models/{MODEL}/versions/1:predict", json={"inputs": inputs}, timeout=20)
    return of_columns(found.json()["outputs"])


def with_torchserve(url, asked):
    port = urllib.parse.urlparse(url).port
    client = TorchServeClientREST("http://127.0.0.1", management_port=port, inference_port=port)
    answers = client.inference.prediction(MODEL, {"data": json.dumps(questions(asked))})
    one = client.inference.prediction(MODEL, {"data": json.dumps(questions(asked)[0])}, version="1")
    assert of_answers([one]) == of_answers(answers[:1])
    said = {
        "torchserve health": client.inference.health_check(),
        "torchserve models": client.management.list_models(),
        "torchserve model": client.management.describe_model(MODEL)[0]["modelVersion"],
        "torchserve version": client.management.describe_model(MODEL, "1")[0]["workers"][0]["status"],
    }
    return of_answers(answers), said


def as_sagemaker(url, asked):
    """As the platform asks a container: it has no client."""
    lines = "".join(f"{user},{asked['at']},{asked['apps']}\n" for user in asked["users"])
    headers = {"Content-Type": "text/csv", "X-Amzn-SageMaker-Custom-Attributes": "trace=7"}
    found = requests.post(f"{url}/invocations", data=lines, headers=headers, timeout=20)
    rows = []
    for line in found.text.splitlines():
        abstains, confidence, *apps = line.split(",")
        pairs = [[name, float(probability)] for name, probability in zip(apps[::2], apps[1::2], strict=True)]
        rows.append(row(pairs, float(confidence), abstains == "true"))
    lines = "\n".join(json.dumps(question) for question in questions(asked))
    headers = {"Content-Type": "application/jsonlines", "Accept": "application/jsonlines"}
    found = requests.post(f"{url}/invocations", data=lines, headers=headers, timeout=20)
    return rows, of_answers([json.loads(line) for line in found.text.splitlines()])


main()
