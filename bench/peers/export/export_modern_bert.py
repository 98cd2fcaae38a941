"""ModernBERT as ONNX graphs in float32, and the same weights as a checkpoint.

usage: export_modern_bert.py SIZE FOLDER

Writes FOLDER/config.json, model.safetensors, tokenizer.json and tokenizer_config.json, and

  embed-{masked,banded}.onnx      input_ids [batch, length] -> embeddings [batch, hidden], the mean in the graph
  fill-{masked,banded}.onnx       the same and rows [M] of batch * length -> ids, log_probs [M, 5]; behind the last layer's
                                  attention these rows alone
  features/onnx/model.onnx        input_ids, attention_mask -> last_hidden_state, for @huggingface/transformers
  transformers/onnx/model.onnx    the same -> logits [batch, length, vocabulary]

The first four are written in onnxruntime's own operations, which its optimizer does not make of every graph:
MultiHeadAttention (global layers without a mask take its flash attention), RotaryEmbedding, SkipLayerNormalization and
Gelu; they read sequences without padding. They differ in local layers: `masked` adds a mask of the window to the scores
of all keys, which costs the square of the length; `banded` cuts queries into blocks of two windows, and each block
reads its own keys and those a window before and after it. The other two are what Hugging Face's exporter makes of
the model: standard operations, every layer masked.
"""
import math
import os
import sys

import numpy as np
from onnx import TensorProto, helper, numpy_helper

import onnx_files
from modern_bert import NORM_EPSILON, POSITIONS, THETAS, ModernBert
from xlm_roberta import FAR_BELOW, write_checkpoint, write_json

BEST = 5
OPSET = 17
OF_ONNXRUNTIME = {"MultiHeadAttention", "RotaryEmbedding", "SkipLayerNormalization", "Gelu"}


class Graph:
    """Nodes in the order they are added; a weight is stored once, however often it is named."""

    def __init__(self, model):
        self.model = model
        self.nodes, self.initializers = [], {}

    def add(self, kind, *inputs, outputs=None, **attributes):
        """The name of the output, or of the `outputs` if there are several."""
        count = len(self.nodes)
        names = outputs or [f"{kind}_{count}"]
        domain = "com.microsoft" if kind in OF_ONNXRUNTIME else ""
        self.nodes.append(helper.make_node(kind, inputs, names, f"{kind}_{count}", domain=domain, **attributes))
        return names[0] if outputs is None else names

    def constant(self, name, array):
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(array), name)
        return name

    def integers(self, *values):
        return self.constant("integers_" + "_".join(map(str, values)), np.array(values, np.int64))

    def integer(self, value):
        return self.constant(f"integer_{value}", np.array(value, np.int64))

    def real(self, value):
        return self.constant(f"real_{value}", np.array(value, np.float32))

    def weight(self, name):
        return self.constant(name, self.model.weights[name].numpy())

    def product(self, x, name):
        """x · Wᵀ, the matrix stored as onnxruntime multiplies it."""
        return self.add("MatMul", x, self.constant(name + ".transposed", self.model.weights[name].numpy().T))

    def norm(self, x, name):
        return self.add("LayerNormalization", x, self.weight(name), axis=-1, epsilon=NORM_EPSILON)

    def pieces(self, x, count, axis=-1):
        """`x` cut into `count` equal pieces."""
        return self.add("Split", x, outputs=[f"{x}_piece{i}" for i in range(count)], axis=axis)

    def size(self, x, axis):
        return self.add("Shape", x, start=axis, end=axis + 1)

    def shape(self, *extents):
        """Of names and numbers."""
        return self.add("Concat", *(one if isinstance(one, str) else self.integers(one) for one in extents), axis=0)

    def count_to(self, length):
        """0 ... length - 1, from a shape [1]."""
        end = self.add("Squeeze", length, self.integers(0))
        return self.add("Range", self.integer(0), end, self.integer(1))

    def far_below_unless(self, seen):
        return self.add("Where", seen, self.real(0.0), self.real(FAR_BELOW))

    def near(self, queries, keys):
        """[queries, keys], true within the window."""
        column = self.add("Unsqueeze", queries, self.integers(1))
        distance = self.add("Abs", self.add("Sub", column, keys))
        return self.add("LessOrEqual", distance, self.integer(self.model.window))

    def save(self, path, inputs, outputs, suffix=".data"):
        """`inputs` and `outputs` name -> (type, shape)."""
        values = lambda given: [helper.make_tensor_value_info(name, *one) for name, one in given.items()]
        graph = helper.make_graph(
            self.nodes, "modernbert", values(inputs), values(outputs), list(self.initializers.values())
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        onnx_files.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path, suffix)


def angles(model, kind):
    """cos and sin [positions, half of a head]."""
    half = model.hidden // model.heads // 2
    frequencies = THETAS[kind] ** (-np.arange(half) / half)
    turned = np.arange(POSITIONS)[:, None] * frequencies
    return np.cos(turned).astype(np.float32), np.sin(turned).astype(np.float32)


class Fused:
    """Attention in onnxruntime's operations, and the norms that take the residual sum with them."""

    def __init__(self, graph, ids, banded):
        self.graph, self.banded = graph, banded
        self.length = graph.size(ids, 1)
        self.prepare_blocks(ids) if banded else self.prepare_mask()

    def prepare_mask(self):
        g = self.graph
        place = g.count_to(self.length)
        bias = g.far_below_unless(g.near(place, place))
        self.bias = g.add("Unsqueeze", bias, g.integers(0, 1))

    def prepare_blocks(self, ids):
        """The bias of all blocks of all sequences [sequences * blocks, 1, block, 2 * block]."""
        g, window = self.graph, self.graph.model.window
        self.block = block = 2 * window
        sequences = g.size(ids, 0)
        blocks = g.add("Div", g.add("Add", self.length, g.integers(block - 1)), g.integers(block))
        padded = g.add("Mul", blocks, g.integers(block))
        missing = g.add("Sub", padded, self.length)
        self.query_pads = g.shape(0, 0, 0, 0, missing, 0)
        self.key_pads = g.shape(0, window, 0, 0, g.add("Add", missing, g.integers(window)), 0)
        self.padded = padded
        # key j of block b is at b * block - window + j
        distance = np.arange(2 * block) - window - np.arange(block)[:, None]
        near = g.constant("near", np.abs(distance) <= window)
        first = g.add("Mul", g.count_to(blocks), g.integer(block))
        keys = g.constant("keys", np.arange(-window, 2 * block - window))
        place = g.add("Add", g.add("Unsqueeze", first, g.integers(1)), keys)
        begun = g.add("GreaterOrEqual", place, g.integer(0))
        real = g.add("And", begun, g.add("Less", place, self.length))
        bias = g.far_below_unless(g.add("And", g.add("Unsqueeze", real, g.integers(1)), near))
        bias = g.add("Expand", bias, g.shape(sequences, blocks, block, 2 * block))
        self.bias = g.add("Reshape", bias, g.integers(-1, 1, block, 2 * block))

    def turned(self, x, kind):
        g = self.graph
        cos, sin = (g.constant(f"{name}_{kind}", one) for name, one in zip(("cos", "sin"), angles(g.model, kind)))
        return g.add("RotaryEmbedding", x, g.integers(0), cos, sin)

    def in_blocks(self, x, pads):
        """[batch * blocks, block or 2 * block, hidden]"""
        g, hidden = self.graph, self.graph.model.hidden
        x = g.add("Pad", x, pads)
        cut = lambda one: g.add("Reshape", one, g.integers(-1, self.block, hidden))
        if pads == self.query_pads:
            return cut(x)
        end = g.add("Add", self.padded, g.integers(self.block))
        slice_of = lambda first, last: cut(g.add("Slice", x, first, last, g.integers(1)))
        return g.add("Concat", slice_of(g.integers(0), self.padded), slice_of(g.integers(self.block), end), axis=1)

    def attend(self, x, kind):
        """`x` [batch, length, 3 * hidden]"""
        g = self.graph
        query, key, value = g.pieces(x, 3)
        query, key = self.turned(query, kind), self.turned(key, kind)
        heads = {"num_heads": g.model.heads, "mask_filter_value": FAR_BELOW}
        if kind == "global":
            return g.add("MultiHeadAttention", query, key, value, **heads)
        if not self.banded:
            return g.add("MultiHeadAttention", query, key, value, "", "", self.bias, **heads)
        query = self.in_blocks(query, self.query_pads)
        key, value = (self.in_blocks(one, self.key_pads) for one in (key, value))
        seen = g.add("MultiHeadAttention", query, key, value, "", "", self.bias, **heads)
        seen = g.add("Reshape", seen, g.shape(-1, self.padded, g.model.hidden))
        return g.add("Slice", seen, g.integers(0), self.length, g.integers(1))

    def gelu(self, x):
        return self.graph.add("Gelu", x)

    def add_norm(self, x, y, name):
        """`x + y`, and the norm of it."""
        g = self.graph
        count = len(g.nodes)
        names = [f"norm_{count}", "", "", f"sum_{count}"]
        g.add("SkipLayerNormalization", x, y, g.weight(name), outputs=names, epsilon=NORM_EPSILON)
        return names[3], names[0]


class Stock:
    """The same in standard operations."""

    def __init__(self, graph, ids, mask):
        g = self.graph = graph
        self.length = g.size(ids, 1)
        real = g.add("Cast", g.add("Unsqueeze", mask, g.integers(1, 2)), to=TensorProto.BOOL)
        place = g.count_to(self.length)
        seen = {"global": real, "local": g.add("And", real, g.near(place, place))}
        self.bias = {kind: g.far_below_unless(one) for kind, one in seen.items()}

    def turned(self, x, kind):
        """`x` [batch, heads, length, hidden of a head]"""
        g = self.graph
        tables = []
        for name, table in zip(("cos", "sin"), angles(g.model, kind)):
            whole = g.constant(f"{name}_{kind}", np.concatenate([table, table], 1))
            tables.append(g.add("Slice", whole, g.integers(0), self.length, g.integers(0)))
        first, second = g.pieces(x, 2)
        half_turned = g.add("Concat", g.add("Neg", second), first, axis=-1)
        return g.add("Add", g.add("Mul", x, tables[0]), g.add("Mul", half_turned, tables[1]))

    def attend(self, x, kind):
        g = self.graph
        width = g.model.hidden // g.model.heads
        split = lambda one: g.add("Reshape", one, g.integers(0, 0, g.model.heads, width))
        query, key, value = (g.add("Transpose", split(one), perm=[0, 2, 1, 3]) for one in g.pieces(x, 3))
        query, key = self.turned(query, kind), self.turned(key, kind)
        scores = g.add("MatMul", query, g.add("Transpose", key, perm=[0, 1, 3, 2]))
        scores = g.add("Add", g.add("Mul", scores, g.real(width**-0.5)), self.bias[kind])
        seen = g.add("MatMul", g.add("Softmax", scores, axis=-1), value)
        return g.add("Reshape", g.add("Transpose", seen, perm=[0, 2, 1, 3]), g.integers(0, 0, g.model.hidden))

    def gelu(self, x):
        g = self.graph
        error = g.add("Erf", g.add("Div", x, g.real(math.sqrt(2))))
        return g.add("Mul", g.add("Mul", x, g.add("Add", error, g.real(1.0))), g.real(0.5))

    def add_norm(self, x, y, name):
        g = self.graph
        x = g.add("Add", x, y)
        return x, g.norm(x, name)


def states(g, ids, way, rows=None):
    """The final states, of the named `rows` alone if they are given."""
    model = g.model
    words = g.add("Gather", g.weight("model.embeddings.tok_embeddings.weight"), ids)
    x = a = g.norm(words, "model.embeddings.norm.weight")
    for i in range(model.layers):
        layer, last = f"model.layers.{i}.", i == model.layers - 1
        seen = way.attend(g.product(a, layer + "attn.Wqkv.weight"), model.kind(i))
        if last and rows:
            flat = lambda one: g.add("Reshape", one, g.integers(-1, model.hidden))
            seen, x = (g.add("Gather", flat(one), rows) for one in (seen, x))
        x, a = way.add_norm(x, g.product(seen, layer + "attn.Wo.weight"), layer + "mlp_norm.weight")
        activated, gate = g.pieces(g.product(a, layer + "mlp.Wi.weight"), 2)
        y = g.product(g.add("Mul", way.gelu(activated), gate), layer + "mlp.Wo.weight")
        next_norm = "model.final_norm.weight" if last else f"model.layers.{i + 1}.attn_norm.weight"
        x, a = way.add_norm(x, y, next_norm)
    return a


def logits(g, rows, way):
    """[rows, vocabulary] of [rows, hidden]; two-dimensional, so that it is one Gemm."""
    rows = g.norm(way.gelu(g.product(rows, "head.dense.weight")), "head.norm.weight")
    return g.add("Gemm", rows, g.weight("model.embeddings.tok_embeddings.weight"), g.weight("decoder.bias"), transB=1)


IDS = {"input_ids": (TensorProto.INT64, ["batch", "length"])}
MASK = {"attention_mask": (TensorProto.INT64, ["batch", "length"])}
ROWS = {"rows": (TensorProto.INT64, ["masked"])}


def name_output(g, x, name):
    g.add("Identity", x, outputs=[name])
    return name


def write_embed(model, banded, path):
    g = Graph(model)
    x = states(g, "input_ids", Fused(g, "input_ids", banded))
    name_output(g, g.add("ReduceMean", x, axes=[1], keepdims=0), "embeddings")
    g.save(path, IDS, {"embeddings": (TensorProto.FLOAT, ["batch", model.hidden])})


def write_fill(model, banded, path):
    g = Graph(model)
    way = Fused(g, "input_ids", banded)
    scores = logits(g, states(g, "input_ids", way, "rows"), way)
    best, ids = g.add("TopK", scores, g.integers(BEST), outputs=["best", "ids"], axis=-1)
    largest = g.add("ReduceMax", scores, axes=[-1], keepdims=1)
    summed = g.add("ReduceSum", g.add("Exp", g.add("Sub", scores, largest)), g.integers(-1), keepdims=1)
    name_output(g, g.add("Sub", g.add("Sub", best, largest), g.add("Log", summed)), "log_probs")
    outputs = {"ids": (TensorProto.INT64, ["masked", BEST]), "log_probs": (TensorProto.FLOAT, ["masked", BEST])}
    g.save(path, {**IDS, **ROWS}, outputs)


def write_stock(model, head, folder):
    g = Graph(model)
    way = Stock(g, "input_ids", "attention_mask")
    x = states(g, "input_ids", way)
    name, width = ("logits", model.vocabulary) if head else ("last_hidden_state", model.hidden)
    if head:
        shape = g.shape(g.add("Shape", "input_ids"), -1)
        x = logits(g, g.add("Reshape", x, g.integers(-1, model.hidden)), way)
        x = g.add("Reshape", x, shape)
    name_output(g, x, name)
    os.makedirs(os.path.join(folder, "onnx"), exist_ok=True)
    kind = "ModernBertForMaskedLM" if head else "ModernBertModel"
    write_json({**model.config(), "architectures": [kind]}, os.path.join(folder, "config.json"))
    outputs = {name: (TensorProto.FLOAT, ["batch", "length", width])}
    g.save(os.path.join(folder, "onnx", "model.onnx"), {**IDS, **MASK}, outputs, "_data")


def main(size, folder):
    model = ModernBert(size)
    write_checkpoint(model, folder)
    model.write_tokenizer(folder)
    for banded in (False, True):
        name = "banded" if banded else "masked"
        write_embed(model, banded, os.path.join(folder, f"embed-{name}.onnx"))
        write_fill(model, banded, os.path.join(folder, f"fill-{name}.onnx"))
    write_stock(model, False, os.path.join(folder, "features"))
    write_stock(model, True, os.path.join(folder, "transformers"))


if __name__ == "__main__":
    main(*sys.argv[1:])
