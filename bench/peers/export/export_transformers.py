"""A model folder for @huggingface/transformers: the stock XLM-RoBERTa for masked-language modelling, float32.

usage: export_transformers.py SIZE FOLDER

Writes FOLDER/config.json and onnx/model.onnx: input_ids, attention_mask [batch, length] -> logits [batch, length,
vocabulary], as Hugging Face's own exporter makes it. One sequence, no mixed mask.
"""
import os
import sys

import torch

from export_onnx import export
from xlm_roberta import FAR_BELOW, XlmRoberta, write_json


class Stock(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        model = self.model
        x = model.embed(input_ids)
        bias = (1 - attention_mask.to(torch.float32))[:, None, None] * FAR_BELOW
        for layer in model.layers:
            x = layer(x, *layer.keys_values(x), bias)
        return model.head(x.reshape(-1, model.hidden)).view(input_ids.shape[0], input_ids.shape[1], -1)


def main(size, folder):
    model = XlmRoberta(size)
    os.makedirs(os.path.join(folder, "onnx"), exist_ok=True)
    write_json(model.config(), os.path.join(folder, "config.json"))
    ids = torch.randint(4, model.shape[0] - 1, (2, 7))
    axes = {0: "batch", 1: "length"}
    export(
        Stock(model),
        {"input_ids": ids, "attention_mask": torch.ones_like(ids)},
        ["logits"],
        {"input_ids": axes, "attention_mask": axes, "logits": axes},
        os.path.join(folder, "onnx", "model.onnx"),
        "_data",
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
