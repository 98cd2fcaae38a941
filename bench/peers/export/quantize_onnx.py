"""Dynamic int8 of an ONNX graph: the nodes that onnxruntime.quantization.quantize_dynamic writes.

usage: quantize_onnx.py IN.onnx OUT.onnx [WEIGHTS_SUFFIX]

A product with a constant matrix, MatMul or Gemm, becomes DynamicQuantizeLinear (u8, one scale per tensor),
MatMulInteger (s8 weights, one scale per output column) and the two scales' product; onnxruntime fuses them into one
node. An embedding keeps s8 rows under one scale.
"""
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import onnx_files


def attributes(node):
    return {one.name: helper.get_attribute_value(one) for one in node.attribute}


class Quantizer:
    def __init__(self, graph):
        self.graph = graph
        self.constants = {one.name: one for one in graph.initializer}
        self.transposed = {
            node.output[0]: node.input[0]
            for node in graph.node
            if node.op_type == "Transpose" and node.input[0] in self.constants
        }
        self.added, self.weights, self.quantized = [], {}, set()

    def add(self, name, array):
        self.added.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, name, transpose):
        """Names of the s8 matrix [inner, outer] and its scales [outer]."""
        key = (name, transpose)
        if key not in self.weights:
            matrix = numpy_helper.to_array(self.constants[name])
            matrix = matrix.T if transpose else matrix
            scales = np.maximum(np.abs(matrix).max(0), 1e-12).astype(np.float32) / 127
            integers = np.clip(np.rint(matrix / scales), -127, 127).astype(np.int8)
            self.weights[key] = (
                self.add(name + "_int8", np.ascontiguousarray(integers)),
                self.add(name + "_scales", scales),
            )
        return self.weights[key]

    def product(self, x, name, transpose, y):
        integers, scales = self.weight(name, transpose)
        bytes_of, scale, zero = f"{x}_uint8", f"{x}_scale", f"{x}_zero"
        nodes = []
        if x not in self.quantized:  # once for all that multiply it
            self.quantized.add(x)
            nodes.append(helper.make_node("DynamicQuantizeLinear", [x], [bytes_of, scale, zero]))
        return nodes + [
            helper.make_node("MatMulInteger", [bytes_of, integers, zero], [f"{y}_int32"]),
            helper.make_node("Cast", [f"{y}_int32"], [f"{y}_sums"], to=TensorProto.FLOAT),
            helper.make_node("Mul", [scale, scales], [f"{y}_scale"]),
            helper.make_node("Mul", [f"{y}_sums", f"{y}_scale"], [y]),
        ]

    def rows(self, name, ids, y):
        """Rows of an embedding."""
        if name not in self.weights:
            table = numpy_helper.to_array(self.constants[name])
            scale = np.float32(np.abs(table).max() / 127)
            integers = np.clip(np.rint(table / scale), -127, 127).astype(np.int8)
            self.weights[name] = (
                self.add(name + "_rows", integers),
                self.add(name + "_rows_scale", np.array(scale)),
                self.add(name + "_rows_zero", np.array(0, np.int8)),
            )
        table, scale, zero = self.weights[name]
        return [
            helper.make_node("Gather", [table, ids], [f"{y}_int8"], axis=0),
            helper.make_node("DequantizeLinear", [f"{y}_int8", scale, zero], [y]),
        ]

    def replace(self, node):
        kind, inputs, y = node.op_type, node.input, node.output[0]
        if kind == "MatMul" and inputs[1] in self.constants:
            return self.product(inputs[0], inputs[1], False, y)
        if kind == "MatMul" and inputs[1] in self.transposed:
            return self.product(inputs[0], self.transposed[inputs[1]], True, y)
        if kind == "Gemm" and inputs[1] in self.constants:
            given = attributes(node)
            assert given.get("alpha", 1.0) == given.get("beta", 1.0) == 1.0 and not given.get("transA", 0), node
            nodes = self.product(inputs[0], inputs[1], bool(given.get("transB", 0)), f"{y}_product")
            return nodes + [helper.make_node("Add", [f"{y}_product", inputs[2]], [y])]
        if kind == "Gather" and inputs[0] in self.constants and len(self.constants[inputs[0]].dims) == 2:
            return self.rows(inputs[0], inputs[1], y)
        return [node]

    def run(self):
        nodes = [new for node in self.graph.node for new in self.replace(node)]
        used = {name for node in nodes for name in node.input}
        kept = [one for one in self.graph.initializer if one.name in used]
        del self.graph.node[:], self.graph.initializer[:]
        self.graph.node.extend(nodes)
        self.graph.initializer.extend(kept + self.added)


def main(path, out, *weights_suffix):
    model = onnx_files.load(path)
    Quantizer(model.graph).run()
    onnx_files.save(model, out, *weights_suffix)


if __name__ == "__main__":
    main(*sys.argv[1:])
