"""XLM-RoBERTa with dynamic mixed attention as ONNX graphs in float32, and the same weights as a checkpoint.

usage: export_onnx.py SIZE FOLDER

Writes FOLDER/config.json and model.safetensors (this package's; in bfloat16 under FOLDER/bf16), and

  plain.onnx   source [batch, S], target [batch, L] -> logits [batch, L, vocabulary]
               source and target in one sequence under the mixed mask: what the paper's code does
  encode.onnx  source -> key0 value0 key1 ...: [batch, heads, S, hidden of a head]
  expert.onnx  target, source, rows [M], key0 value0 ... -> ids [M], log_probs [M]
               the source is reused, the head is on the named rows alone, argmax and log-probability in the graph;
               of `source` only the padding is used

Batch and lengths are dynamic.
"""
import os
import shutil
import sys
import tempfile

import torch

import onnx_files
from xlm_roberta import FAR_BELOW, XlmRoberta, write_checkpoint


class Plain(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, source, target):
        model = self.model
        x = torch.cat([model.embed(source), model.embed(target)], 1)
        written = torch.cat([torch.zeros_like(source), torch.ones_like(target)], 1).to(torch.float32)
        bias = model.padding_bias(torch.cat([source, target], 1))
        bias = bias + (1 - written)[:, None, :, None] * written[:, None, None, :] * FAR_BELOW
        for layer in model.layers:
            x = layer(x, *layer.keys_values(x), bias)
        rows = x[:, source.shape[1] :].reshape(-1, model.hidden)
        return model.head(rows).view(target.shape[0], target.shape[1], -1)


class Encode(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, source):
        x, bias, cache = self.model.embed(source), self.model.padding_bias(source), []
        for layer in self.model.layers:
            keys, values = layer.keys_values(x)
            cache += [keys, values]
            if layer is not self.model.layers[-1]:  # nobody reads the last layer's source
                x = layer(x, keys, values, bias)
        return tuple(cache)


class Expert(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, target, source, rows, *cache):
        model = self.model
        x, bias = model.embed(target), model.padding_bias(torch.cat([source, target], 1))
        for i, layer in enumerate(model.layers):
            keys, values = layer.keys_values(x)
            keys, values = torch.cat([cache[2 * i], keys], 2), torch.cat([cache[2 * i + 1], values], 2)
            x = layer(x, keys, values, bias)
        logits = model.head(x.reshape(-1, model.hidden).index_select(0, rows))
        largest, ids = logits.max(-1)
        return ids, -torch.log(torch.exp(logits - largest[:, None]).sum(-1))


def export(module, inputs, outputs, dynamic, path, weights_suffix=".data"):
    """`inputs` name -> example."""
    folder = tempfile.mkdtemp(dir=os.path.dirname(path))
    scratch = os.path.join(folder, "graph.onnx")
    with torch.no_grad():
        torch.onnx.export(
            module,
            tuple(inputs.values()),
            scratch,
            input_names=list(inputs),
            output_names=outputs,
            dynamic_axes=dynamic,
            opset_version=16,
        )
    onnx_files.save(onnx_files.load(scratch), path, weights_suffix)
    shutil.rmtree(folder)


def main(size, folder):
    model = XlmRoberta(size)
    write_checkpoint(model, folder)
    write_checkpoint(model, os.path.join(folder, "bf16"), "BF16")
    vocabulary, layers = model.shape[0], len(model.layers)
    source, target = torch.randint(4, vocabulary - 1, (2, 7)), torch.randint(4, vocabulary - 1, (2, 5))
    names = [f"{kind}{i}" for i in range(layers) for kind in ("key", "value")]
    with torch.no_grad():
        cache = dict(zip(names, Encode(model)(source)))
    of_source, of_target = {0: "batch", 1: "source_length"}, {0: "batch", 1: "target_length"}
    of_cache = {name: {0: "batch", 2: "source_length"} for name in names}
    of_rows = {0: "masked"}
    export(
        Plain(model),
        {"source": source, "target": target},
        ["logits"],
        {"source": of_source, "target": of_target, "logits": of_target},
        os.path.join(folder, "plain.onnx"),
    )
    export(
        Encode(model),
        {"source": source},
        names,
        {"source": of_source, **of_cache},
        os.path.join(folder, "encode.onnx"),
    )
    export(
        Expert(model),
        {"target": target, "source": source, "rows": torch.tensor([1, 2, 6]), **cache},
        ["ids", "log_probs"],
        {"target": of_target, "source": of_source, "rows": of_rows, "ids": of_rows, "log_probs": of_rows, **of_cache},
        os.path.join(folder, "expert.onnx"),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
