"""XLM-RoBERTa as one sequence sees itself, as ONNX graphs in float32: what embeds texts and fills masks.

usage: export_readings.py SIZE FOLDER

Writes FOLDER/embed.onnx  input_ids, attention_mask [batch, length] -> embeddings [batch, hidden], the mean in the graph
       FOLDER/fill.onnx   the same and rows [M] of batch * length -> ids, log_probs [M, 5], the head on these rows alone
       FOLDER/features/   a model folder for @huggingface/transformers: -> last_hidden_state [batch, length, hidden]
"""
import os
import sys

import torch

from export_onnx import export
from xlm_roberta import FAR_BELOW, XlmRoberta, write_json

BEST = 5


class States(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask):
        model = self.model
        x = model.embed(input_ids)
        bias = (1 - attention_mask.to(torch.float32))[:, None, None] * FAR_BELOW
        for layer in model.layers:
            x = layer(x, *layer.keys_values(x), bias)
        return x


class Embed(States):
    def forward(self, input_ids, attention_mask):
        states = super().forward(input_ids, attention_mask)
        mask = attention_mask.to(torch.float32)[:, :, None]
        return (states * mask).sum(1) / mask.sum(1)


class Fill(States):
    def forward(self, input_ids, attention_mask, rows):
        states = super().forward(input_ids, attention_mask)
        logits = self.model.head(states.reshape(-1, self.model.hidden).index_select(0, rows))
        best, ids = logits.topk(BEST, -1)
        largest = best[:, :1]
        return ids, best - largest - torch.log(torch.exp(logits - largest).sum(-1, keepdim=True))


def main(size, folder):
    model = XlmRoberta(size)
    ids = torch.randint(4, model.shape[0] - 1, (2, 7))
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    of_inputs = {name: {0: "batch", 1: "length"} for name in inputs}
    features = os.path.join(folder, "features")
    os.makedirs(os.path.join(features, "onnx"), exist_ok=True)
    write_json({**model.config(), "architectures": ["XLMRobertaModel"]}, os.path.join(features, "config.json"))
    export(
        States(model),
        inputs,
        ["last_hidden_state"],
        {**of_inputs, "last_hidden_state": {0: "batch", 1: "length"}},
        os.path.join(features, "onnx", "model.onnx"),
        "_data",
    )
    export(
        Embed(model),
        inputs,
        ["embeddings"],
        {**of_inputs, "embeddings": {0: "batch"}},
        os.path.join(folder, "embed.onnx"),
    )
    of_rows = {0: "masked"}
    export(
        Fill(model),
        {**inputs, "rows": torch.tensor([1, 2, 9])},
        ["ids", "log_probs"],
        {**of_inputs, "rows": of_rows, "ids": of_rows, "log_probs": of_rows},
        os.path.join(folder, "fill.onnx"),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
