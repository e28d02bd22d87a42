"""foretap's student as ONNX graphs, from the formulas at the top of `src/network/layout.rs`.

    python int8_graph.py FOLDER        versions of what made them, as JSON, on stdout

The folder holds `setting.json`, `weights.safetensors` and questions, `question0.safetensors` and so on, each with all
inputs of a graph. Into it go

    onnx_f32.onnx             plain numbers, operators of ONNX alone: the runtime fuses what it can
    onnx_int8_dynamic.onnx    matrices in INT8, a scale a column; what they multiply is quantized question by question
    onnx_int8_large.onnx      the same where it gains something: small products stay in plain numbers
    onnx_int8_static.onnx     all matrices again, with ranges that the folder's questions were found to have
    onnx_overhead.onnx        the same inputs, one of them returned: what a call costs

Sizes in comments: T tokens, d = d_model, H heads, G classes of a time gap, C candidates, V = apps + 1,
p = pointer_width.
"""

import json
import logging
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from safetensors.numpy import load_file

MASKED = np.float32(-1e30)  # not -inf: nothing times it is nothing
FACTS = ["kind", "place", "gap", "network", "battery"]  # whose tables are small


class Graph:
    """`graph.MatMul(a, b)` adds a node and returns the name of what it computes. Arrays become constants."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def __getattr__(self, operator):
        def add(*inputs, **attributes):
            name = f"{operator}{len(self.nodes)}"
            inputs = [value if isinstance(value, str) else self.constant(value) for value in inputs]
            self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
            return name

        return add

    def constant(self, values):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def save(self, file, question, shape):
        """With the inputs that `question` has; what the last node computes, of this shape, are the logits."""
        of = lambda name, values: helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(values.dtype), values.shape
        )
        self.nodes[-1].output[:] = ["logits"]
        logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, shape)
        inputs = [of(name, values) for name, values in question.items()]
        graph = helper.make_graph(self.nodes, "student", inputs, [logits], self.constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, file)
        return model


def student(w, config):
    """A question's logits. Of the last layer, keys and values of every token, but all else of the last one only, as in
    ours."""
    g = Graph()
    d, heads, length = config["d_model"], config["heads"], config["window"]
    whole = lambda *numbers: np.array(numbers, np.int64)

    def rms_norm(x, gain):
        mean = g.ReduceMean(g.Pow(x, np.float32(2)), axes=[-1], keepdims=1)
        return g.Mul(g.Div(x, g.Sqrt(g.Add(mean, np.float32(1e-5)))), gain)

    last_of = lambda rows: g.Slice(rows, whole(length - 1), whole(length), whole(0))
    apart = lambda rows, order: g.Transpose(g.Reshape(rows, whole(-1, heads, d // heads)), perm=order)

    tables = np.concatenate([w[f"{fact}_embedding"] for fact in FACTS] + [w["clock_projection"]])
    x = g.Add(g.Gather(w["app_embedding"], "apps"), g.MatMul("facts", tables))        # [T, d]
    classes = "classes"                                                               # [T, T]
    for layer in range(config["layers"]):
        of = lambda name: w[f"layers.{layer}.{name}"]
        a = rms_norm(x, of("attention_norm"))
        k, v = g.MatMul(a, of("key")), g.MatMul(a, of("value"))
        if layer + 1 == config["layers"]:
            x, a, classes = last_of(x), last_of(a), last_of(classes)
        q = g.MatMul(a, of("query") * np.float32((d // heads) ** -0.5))
        # A row a class, of all heads: gathering single numbers took 20 µs more.
        table = np.pad(of("gap_bias"), ((0, 0), (0, 1)), constant_values=MASKED).T    # [G + 1, H]
        bias = g.Transpose(g.Gather(table, classes), perm=[2, 0, 1])                  # [H, T, T]
        s = g.Add(g.MatMul(apart(q, [1, 0, 2]), apart(k, [1, 2, 0])), bias)           # [H, T, T]
        mixed = g.MatMul(g.Softmax(s, axis=-1), apart(v, [1, 0, 2]))                  # [H, T, d / H]
        mixed = g.Reshape(g.Transpose(mixed, perm=[1, 0, 2]), whole(-1, d))
        x = g.Add(x, g.MatMul(mixed, of("output")))
        f = rms_norm(x, of("feed_norm"))
        wide = g.Relu(g.Add(g.MatMul(f, of("feed_in")), of("feed_in_bias")))
        x = g.Add(x, g.Add(g.MatMul(wide, of("feed_out")), of("feed_out_bias")))
    h = rms_norm(x, w["final_norm"])                                                  # [1, d]

    named = w["app_embedding"][:-1]                                                   # [V, d], without "no app"
    classified = g.Add(g.MatMul(h, named.T), w["app_bias"])                           # [1, V]
    classified = g.Reshape(g.Gather(classified, "candidate_apps", axis=1), whole(-1, 1))
    asked = g.Add(g.MatMul("question_columns", w["pointer_question"]), w["pointer_bias"])
    asked = g.Add(asked, g.MatMul(h, w["pointer_hidden"]))                            # [1, p]
    of_app = g.Gather(named @ w["pointer_app"], "candidate_apps")                     # [C, p]
    u = g.Relu(g.Add(g.Add(g.MatMul("candidate_columns", w["pointer_candidate"]), of_app), asked))
    u = g.Relu(g.Add(g.MatMul(u, w["pointer_second"]), w["pointer_second_bias"]))
    g.Add(classified, g.MatMul(u, w["pointer_output"][:, None]))
    return g


class Questions(CalibrationDataReader):
    """Questions, one after the other."""

    def __init__(self, questions):
        self.questions = iter(questions)

    def get_next(self):
        return next(self.questions, None)


def products(g, model, least_rows, least_inputs):
    """Names of the products of at least so many rows with weights of at least so many inputs. Those of attention have no
    weights; ours computes them in plain numbers too."""
    inputs = {constant.name: constant.dims[0] for constant in g.constants if len(constant.dims) == 2}
    shaped = [*model.graph.input, *onnx.shape_inference.infer_shapes(model).graph.value_info]
    rows = {value.name: value.type.tensor_type.shape.dim[0].dim_value for value in shaped}
    with_weights = [node for node in g.nodes if node.op_type == "MatMul" and node.input[1] in inputs]
    is_large = lambda x, weights: rows[x] >= least_rows and inputs[weights] >= least_inputs
    return [node.name for node in with_weights if is_large(*node.input)]


def main(folder):
    logging.disable(logging.WARNING)  # what the quantizer would rather be given
    config = json.loads((folder / "setting.json").read_text())["transformer"]
    questions = [load_file(file) for file in sorted(folder.glob("question*.safetensors"))]
    plain = folder / "onnx_f32.onnx"
    g = student(load_file(folder / "weights.safetensors"), config)
    model = g.save(plain, questions[0], [len(questions[0]["candidate_apps"]), 1])

    shared = {"per_channel": True, "weight_type": QuantType.QInt8}
    # What gains less than its quantization costs: a single row, or few inputs.
    every, large = products(g, model, 1, 1), products(g, model, 2, config["d_model"])
    quantize_dynamic(plain, folder / "onnx_int8_dynamic.onnx", nodes_to_quantize=every, **shared)
    quantize_dynamic(plain, folder / "onnx_int8_large.onnx", nodes_to_quantize=large, **shared)
    quantize_static(
        plain,
        folder / "onnx_int8_static.onnx",
        Questions(questions),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8,
        nodes_to_quantize=every,
        **shared,
    )

    g = Graph()
    g.Identity("question_columns")
    g.save(folder / "onnx_overhead.onnx", questions[0], questions[0]["question_columns"].shape)
    print(json.dumps({"onnx": onnx.__version__, "onnxruntime": onnxruntime.__version__}))


main(Path(sys.argv[1]))
