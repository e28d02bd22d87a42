"""Exported files in the hands of those who define them: ONNX's checker, ONNX Runtime, safetensors.

    python tests/onnx_check.py FOLDER

FOLDER holds what `export --to onnx,onnx-f16,onnx-int8,safetensors` wrote: a folder a model, with `model.onnx` and
`test_data_set_0`. Each model is checked, run on its golden question, and, where questions have a batch, run on a batch of
that question and its padded self, and on as few of each size as docs/runtimes.md allows (those without trees in OpenVINO,
too). Prints a line a model; ends with an error at the first that is wrong.
"""

import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import numpy_helper
from safetensors.numpy import load_file

# By how much answers may differ from ours. Whole numbers are rounded in other places there.
TOLERANCES = {"static": 0.2, "dynamic": 0.2, "f16": 0.05}
PADDED = 3


def tensors(folder, kind):
    """All `kind_0.pb`, `kind_1.pb` of a folder, by the names of their tensors."""
    found = {}
    for file in sorted(folder.glob(f"{kind}_*.pb")):
        tensor = onnx.TensorProto.FromString(file.read_bytes())
        found[tensor.name] = numpy_helper.to_array(tensor)
    return found


def padded(inputs, metadata):
    """A batch of two: the question as it is with places for more, and the same once more."""
    no_app = len(json.loads(metadata["vocabulary"])) + 1
    batch = {}
    for name, values in inputs.items():
        more = [(0, 0)] * values.ndim
        fill = 0
        if name in ("tokens", "clock"):
            more[1] = (PADDED, 0)
        elif name == "gap_classes":
            more[1], more[2], fill = (PADDED, 0), (PADDED, 0), 48
        elif name in ("candidate_columns", "features"):
            more[1] = (0, PADDED)
        elif name == "candidate_apps":
            more[1], fill = (0, PADDED), no_app
        values = np.pad(values, more, constant_values=fill)
        batch[name] = np.concatenate([values, values])
    return batch


def cut(model, inputs, size, count):
    """The first `count` places of every size of this name."""
    least = {}
    for value in model.graph.input:
        names = [dim.dim_param for dim in value.type.tensor_type.shape.dim]
        least[value.name] = inputs[value.name][tuple(slice(count if name == size else None) for name in names)]
    return {name: np.ascontiguousarray(values) for name, values in least.items()}


def check_few(file, model, session, inputs):
    """Of each size the least that docs/runtimes.md allows: nothing, or a single one."""
    sizes = {dim.dim_param for value in model.graph.input for dim in value.type.tensor_type.shape.dim} - {""}
    in_openvino = None
    if not any(node.domain == "ai.onnx.ml" for node in model.graph.node):
        in_openvino = openvino.Core().compile_model(str(file), "CPU")
    for size in sorted(sizes):
        can_be_none = size == "rows" or size == "candidates" and "router" not in file.parent.name
        few = cut(model, inputs, size, 0 if can_be_none else 1)
        answers = [session.run(None, few)]
        if in_openvino is not None:
            answers.append(list(in_openvino(few).values()))
        for answer in answers:
            assert not any(np.isnan(values).any() for values in answer), f"{file}: NaN of few {size}"
            if can_be_none:
                assert all(values.size == 0 for values in answer), f"{file}: an answer of no {size}"


def check(folder):
    file = folder / "model.onnx"
    model = onnx.load(file)
    onnx.checker.check_model(model, full_check=True)
    metadata = {line.key: line.value for line in model.metadata_props}
    missing = {"foretap", "vocabulary", "vocabulary_sha256", "feature_schema", "task"} - metadata.keys()
    assert not missing, f"{file}: no metadata {missing}"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(file, options)
    names = [output.name for output in session.get_outputs()]
    inputs, expected = (tensors(folder / "test_data_set_0", kind) for kind in ("input", "output"))
    assert expected, f"{file}: nothing is expected"
    answers = dict(zip(names, session.run(None, inputs)))
    tolerance = next((most for kind, most in TOLERANCES.items() if kind in folder.name), 1e-4)
    worst = max(float(np.abs(answers[name] - values).max()) for name, values in expected.items())
    assert worst <= tolerance, f"{file}: an answer differs by {worst:.1e}, more than {tolerance:.0e}"
    check_few(file, model, session, inputs)
    first = "probabilities" if "probabilities" in expected else "scores"
    assert answers[first].argmax() == expected[first].argmax(), f"{file}: another app is first"
    if first == "probabilities":
        again = dict(zip(names, session.run(None, padded(inputs, metadata))))
        count = expected[first].shape[1]
        # Whose bytes reach as far as a question's numbers do is disturbed by what pads it.
        tolerance = 0.6 if "dynamic" in folder.name else max(tolerance / 10, 1e-5)
        for row in again[first]:
            padding = float(np.abs(row[:count] - answers[first][0]).max())
            assert padding <= tolerance, f"{file}: padding changes a probability by {padding:.1e}"
            assert row[count:].max() < 1e-6, f"{file}: what is no candidate has a probability"
    print(f"{folder.name}: {len(model.graph.node)} nodes, largest difference {worst:.1e}")


def check_weights(folder):
    """What safetensors hold is what the graph holds, where both have a tensor of one name."""
    weights = load_file(folder / "transformer.safetensors")
    graph = onnx.load(folder / "transformer" / "model.onnx").graph
    shared = 0
    for constant in graph.initializer:
        # The query's matrix has the scale of its products in it.
        if constant.name in weights and not constant.name.endswith(("query", "gap_bias", "pointer_output", "app_bias")):
            shared += 1
            assert np.array_equal(numpy_helper.to_array(constant), weights[constant.name]), constant.name
    assert shared > 10, "hardly a tensor is in both"
    print(f"transformer.safetensors: {len(weights)} tensors, {shared} of them as in the graph")


def main(folder):
    models = sorted(file.parent for file in folder.glob("*/model.onnx"))
    assert models, f"no model in {folder}"
    for model in models:
        check(model)
    if (folder / "transformer.safetensors").exists():
        check_weights(folder)
    versions = f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}, openvino {openvino.__version__.split('-')[0]}"
    print(f"{versions}: {len(models)} models are right")


main(Path(sys.argv[1]))
