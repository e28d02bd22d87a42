"""Asks a running foretap over gRPC, with the code that gRPC's own tools write from the .proto files.

grpc_client.py URL TOKEN: reads requests as JSON lines, {"call": .., "messages": [..], "deadline": seconds}, and writes what came
of each as one: {"code": .., "details": .., "answers": [..]}.
"""

import importlib
import json
import pathlib
import sys
import tempfile

import grpc
from google.protobuf.json_format import MessageToDict, ParseDict
from grpc_tools import protoc

HERE = pathlib.Path(__file__).resolve().parent
PROTO = HERE.parent.parent / "proto"


def stubs():
    """The modules of both files."""
    out = tempfile.mkdtemp()
    files = [str(path) for path in sorted((PROTO / "foretap" / "v1").glob("*.proto"))]
    arguments = ["protoc", f"-I{PROTO}", f"--python_out={out}", f"--grpc_python_out={out}", *files]
    if protoc.main(arguments) != 0:
        sys.exit("the .proto files cannot be compiled")
    sys.path.insert(0, out)
    names = ["foretap.v1.predict_pb2", "foretap.v1.predict_pb2_grpc"]
    return [importlib.import_module(name) for name in names]


def main():
    url, token = sys.argv[1:3]
    messages, services = stubs()
    channel = grpc.insecure_channel(url.removeprefix("http://"))
    stub = services.PredictionsStub(channel)
    metadata = [("authorization", f"Bearer {token}")] if token else []
    for line in sys.stdin:
        asked = json.loads(line)
        kind = messages.FeedbackRequest if asked["call"] == "Feedback" else messages.PredictRequest
        sent = [ParseDict(message, kind()) for message in asked["messages"]]
        call = getattr(stub, asked["call"])
        options = {"metadata": metadata + asked.get("metadata", []), "timeout": asked.get("deadline", 20)}
        found = {"code": "OK", "details": "", "answers": []}
        try:
            if asked["call"] == "PredictEach":
                for answer in call(iter(sent), **options):
                    found["answers"].append(as_dict(answer))
            else:
                found["answers"].append(as_dict(call(sent[0], **options)))
        except grpc.RpcError as error:
            found["code"], found["details"] = error.code().name, error.details()
        print(json.dumps(found), flush=True)


def as_dict(message):
    return MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)


main()
