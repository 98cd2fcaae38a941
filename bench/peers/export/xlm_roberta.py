"""XLM-RoBERTa with random weights, for the exporters beside this file: post-norm layers, a head tied to the embedding.

The weights are drawn from a fixed seed, so every file that is exported of one size has the same ones.
"""
import json
import math
import os
import struct

import torch
import torch.nn as nn
import torch.nn.functional as functional

from sizes import SIZES

PAD = 1
NORM_EPSILON = 1e-5
POSITIONS = 514
SEED = 1234
FAR_BELOW = -1e9  # added to the score of a key that may not be seen


class Layer(nn.Module):
    def __init__(self, hidden, heads, feed_forward):
        super().__init__()
        self.heads = heads
        self.scale = 1 / math.sqrt(hidden // heads)
        self.query, self.key, self.value, self.output = (nn.Linear(hidden, hidden) for _ in range(4))
        self.attention_norm = nn.LayerNorm(hidden, NORM_EPSILON)
        self.widen, self.narrow = nn.Linear(hidden, feed_forward), nn.Linear(feed_forward, hidden)
        self.output_norm = nn.LayerNorm(hidden, NORM_EPSILON)

    def split(self, x):
        """[batch, rows, hidden] -> [batch, heads, rows, hidden of a head]"""
        return x.view(x.shape[0], x.shape[1], self.heads, x.shape[2] // self.heads).transpose(1, 2)

    def keys_values(self, x):
        return self.split(self.key(x)), self.split(self.value(x))

    def forward(self, x, keys, values, bias):
        """`bias` [batch, 1, rows or 1, keys] is added to the scores."""
        scores = self.split(self.query(x)) @ keys.transpose(-1, -2) * self.scale + bias
        seen = (scores.softmax(-1) @ values).transpose(1, 2).reshape(x.shape[0], x.shape[1], x.shape[2])
        x = self.attention_norm(x + self.output(seen))
        return self.output_norm(x + self.narrow(functional.gelu(self.widen(x))))


class XlmRoberta(nn.Module):
    def __init__(self, size):
        super().__init__()
        torch.manual_seed(SEED)
        self.shape = SIZES[size]
        vocabulary, hidden, layers, heads, feed_forward = self.shape
        self.hidden = hidden
        self.words, self.positions = nn.Embedding(vocabulary, hidden), nn.Embedding(POSITIONS, hidden)
        for table in (self.words, self.positions):
            nn.init.normal_(table.weight, 0, hidden**-0.5)
        self.types = nn.Parameter(torch.zeros(1, hidden))
        self.embedding_norm = nn.LayerNorm(hidden, NORM_EPSILON)
        self.layers = nn.ModuleList(Layer(hidden, heads, feed_forward) for _ in range(layers))
        self.head_dense, self.head_norm = nn.Linear(hidden, hidden), nn.LayerNorm(hidden, NORM_EPSILON)
        self.head_bias = nn.Parameter(torch.zeros(vocabulary))
        self.eval()

    def embed(self, ids):
        """Positions count from the beginning of `ids`: source and target are embedded apart."""
        real = (~ids.eq(PAD)).long()
        positions = torch.cumsum(real, 1) * real + PAD
        return self.embedding_norm(self.words(ids) + self.positions(positions) + self.types[0])

    def padding_bias(self, ids):
        """[batch, 1, 1, keys]"""
        return ids.eq(PAD).to(torch.float32)[:, None, None] * FAR_BELOW

    def head(self, rows):
        """Logits [rows, vocabulary] of [rows, hidden]; two-dimensional, so that it is exported as one Gemm."""
        rows = self.head_norm(functional.gelu(self.head_dense(rows)))
        return functional.linear(rows, self.words.weight, self.head_bias)

    def tensors(self):
        """By their names in Hugging Face's XLMRobertaForMaskedLM."""
        named = {
            "roberta.embeddings.word_embeddings.weight": self.words.weight,
            "roberta.embeddings.position_embeddings.weight": self.positions.weight,
            "roberta.embeddings.token_type_embeddings.weight": self.types,
            "lm_head.bias": self.head_bias,
        }

        def add(name, module):
            named[name + ".weight"], named[name + ".bias"] = module.weight, module.bias

        add("roberta.embeddings.LayerNorm", self.embedding_norm)
        for i, layer in enumerate(self.layers):
            prefix = f"roberta.encoder.layer.{i}."
            for name in ("query", "key", "value"):
                add(prefix + "attention.self." + name, getattr(layer, name))
            add(prefix + "attention.output.dense", layer.output)
            add(prefix + "attention.output.LayerNorm", layer.attention_norm)
            add(prefix + "intermediate.dense", layer.widen)
            add(prefix + "output.dense", layer.narrow)
            add(prefix + "output.LayerNorm", layer.output_norm)
        add("lm_head.dense", self.head_dense)
        add("lm_head.layer_norm", self.head_norm)
        return {name: tensor.detach().contiguous() for name, tensor in named.items()}

    def config(self):
        vocabulary, hidden, layers, heads, feed_forward = self.shape
        return {
            "architectures": ["XLMRobertaForMaskedLM"],
            "model_type": "xlm-roberta",
            "vocab_size": vocabulary,
            "hidden_size": hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "intermediate_size": feed_forward,
            "hidden_act": "gelu",
            "max_position_embeddings": POSITIONS,
            "type_vocab_size": 1,
            "layer_norm_eps": NORM_EPSILON,
            "bos_token_id": 0,
            "pad_token_id": PAD,
            "eos_token_id": 2,
            "mask_token_id": vocabulary - 1,
        }


def write_json(value, path):
    with open(path, "w") as file:
        json.dump(value, file, indent=1)


def write_checkpoint(model, folder, kind="F32"):
    """config.json and model.safetensors, its values as `kind`: F32 or BF16."""
    os.makedirs(folder, exist_ok=True)
    write_json(model.config(), os.path.join(folder, "config.json"))
    tensors = {name: packed(tensor, kind) for name, tensor in model.tensors().items()}
    header, offset = {}, 0
    for name, tensor in tensors.items():
        end = offset + tensor.element_size() * tensor.numel()
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for tensor in tensors.values():
            file.write(tensor.numpy().tobytes())


def packed(tensor, kind):
    """NumPy has no bfloat16: its bits as integers."""
    return tensor.to(torch.bfloat16).view(torch.int16) if kind == "BF16" else tensor
