"""Checks a Core ML package of foretap's on any machine: Apple's own reader, type rules and reference values, no Mac.

    python coreml_check.py PACKAGE [QUESTIONS]

QUESTIONS is a safetensors file, or a folder of them: in each all inputs of the program, and what its outputs must be.
On stdout, JSON:

    coremltools          the version that checked
    version              of the package's specification
    operators            how often each is used, constants aside
    questions            files that were asked
    largest_difference   of any output from what it must be; null without questions

What is wrong goes to stderr, with exit status 1. How a package is compiled and rounds, only Apple's devices can tell.
"""

import json
import logging
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

# Off a Mac, coremltools says that it cannot run models; it need not.
logging.disable(logging.ERROR)

import coremltools
from coremltools.converters.mil.frontend.milproto import load as milproto
from coremltools.models.utils import _ModelPackage
from coremltools.proto import FeatureTypes_pb2, MIL_pb2

TOLERANCE = 1e-4  # between sums of 32-bit floats in another order
Array = FeatureTypes_pb2.ArrayFeatureType
TYPES = {MIL_pb2.FLOAT32: (Array.FLOAT32, np.float32), MIL_pb2.INT32: (Array.INT32, np.int32)}


def expect(holds, message):
    if not holds:
        sys.exit(f"error: {message}")


def check_description(spec, function):
    """What an app sees, against what the program reads and returns."""
    length = spec.ByteSize()
    spec.DiscardUnknownFields()
    expect(spec.ByteSize() == length, "a field that Core ML does not know")
    expect(function.opset == coremltools._OPSET[spec.specificationVersion], "operations of another version")
    seen, read = spec.description.input, function.inputs
    expect([one.name for one in seen] == [one.name for one in read], "inputs differ from those described")
    for one, value in zip(seen, read):
        array, tensor = one.type.multiArrayType, value.type.tensorType
        ranges = [(size.lowerBound, size.upperBound) for size in array.shapeRange.sizeRanges]
        # What is left to each call is unknown to the program.
        known = [low if low == high else None for low, high in ranges]
        sizes = [size.constant.size if size.HasField("constant") else None for size in tensor.dimensions]
        expect(TYPES[tensor.dataType][0] == array.dataType, f"{one.name}: its type is described as another")
        expect(sizes == known, f"{one.name}: sizes {sizes}, described as {ranges}")
        fits = [low <= size <= high for size, (low, high) in zip(array.shape, ranges, strict=True)]
        expect(all(fits), f"{one.name}: its usual size is not allowed")
    returned = list(function.block_specializations[function.opset].outputs)
    expect([one.name for one in spec.description.output] == returned, "outputs differ from those described")


def load(function, spec, weights):
    """The program as coremltools builds it, operation by operation: it refuses what it would not make itself, infers
    every type and compares it with the declared one, and computes what depends on constants alone."""
    operations = function.block_specializations[function.opset].operations
    computed = [value for one in operations for value in one.outputs]
    names = Counter(one.name for one in [*function.inputs, *computed])
    expect(max(names.values()) == 1, f"two values of one name: {names.most_common(1)}")
    return milproto._load_function(milproto.TranscriptionContext(weights), function, spec.specificationVersion)


def constant(name, array, kind):
    """An operation that is nothing but an array."""
    operation = MIL_pb2.Operation(type="const")
    label, content = operation.attributes["name"], operation.attributes["val"]
    label.immediateValue.tensor.strings.values.append(name)
    label.type.tensorType.dataType = MIL_pb2.STRING
    content.type.tensorType.dataType, content.type.tensorType.rank = kind, array.ndim
    for size in array.shape:
        content.type.tensorType.dimensions.add().constant.size = size
    elements = content.immediateValue.tensor
    (elements.ints if kind == MIL_pb2.INT32 else elements.floats).values.extend(array.ravel().tolist())
    operation.outputs.add(name=name, type=content.type)
    return operation


def answer(function, spec, weights, question):
    """The outputs for a question: its inputs become constants, and everything follows from constants."""
    asked, given = MIL_pb2.Function.FromString(function.SerializeToString()), []
    for value, described in zip(function.inputs, spec.description.input):
        name, kind, array = value.name, value.type.tensorType.dataType, question[value.name]
        expect(array.dtype == TYPES[kind][1], f"{name}: {array.dtype} in the question")
        ranges = described.type.multiArrayType.shapeRange.sizeRanges
        fits = [size.lowerBound <= n <= size.upperBound for n, size in zip(array.shape, ranges)]
        expect(array.ndim == len(ranges) and all(fits), f"{name}: {array.shape} is not allowed")
        given.append(constant(name, array, kind))
    operations = asked.block_specializations[asked.opset].operations
    given.extend(MIL_pb2.Operation.FromString(one.SerializeToString()) for one in operations)
    del asked.inputs[:], operations[:]
    operations.extend(given)
    return {output.name: output.val for output in load(asked, spec, weights).outputs}


def compare(answers, question):
    """The largest difference of any output that the question knows."""
    pairs = [(array.astype(np.float64), question[name]) for name, array in answers.items() if name in question]
    expect(pairs, "the question does not say what the answer must be")
    expect(all(found.shape == known.shape for found, known in pairs), "an output is of other sizes")
    # NumPy's `max` keeps a NaN, and `<=` is false of it.
    largest = float(np.max([np.abs(found - known).max() for found, known in pairs]))
    expect(largest <= TOLERANCE, f"an output differs by {largest}")
    return largest


def main(package, questions=None):
    files = [Path(questions)] if questions else []
    files = [file for one in files for file in (sorted(one.glob("*.safetensors")) if one.is_dir() else [one])]
    expect(files or not questions, f"no question in {questions}")
    with tempfile.TemporaryDirectory() as folder:
        # A copy: coremltools writes a package's manifest anew.
        copy = str(shutil.copytree(package, Path(folder) / "copy.mlpackage"))
        expect(_ModelPackage.isValid(copy), "no package: its manifest does not lead to a model")
        model = coremltools.models.MLModel(copy, skip_model_load=True)
        spec, weights = model.get_spec(), model.weights_dir
        expect(list(spec.mlProgram.functions) == ["main"], "no program of one function, main")
        function = spec.mlProgram.functions["main"]
        check_description(spec, function)
        load(function, spec, weights)
        operators = Counter(one.type for one in function.block_specializations[function.opset].operations)
        asked = map(load_file, files)
        differences = [compare(answer(function, spec, weights, question), question) for question in asked]
    return {
        "coremltools": coremltools.__version__,
        "version": spec.specificationVersion,
        "operators": {name: operators[name] for name in sorted(operators) if name != "const"},
        "questions": len(files),
        "largest_difference": max(differences, default=None),
    }


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    print(json.dumps(main(*sys.argv[1:])))
