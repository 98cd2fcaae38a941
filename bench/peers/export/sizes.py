"""The models that are compared, by size."""
SIZES = {  # vocabulary, hidden, layers, heads, feed-forward
    "base": (250002, 768, 12, 12, 3072),
    "large": (250002, 1024, 24, 16, 4096),
    "tiny": (1002, 64, 2, 4, 128),  # for rehearsals
}
MODERN_BERT_SIZES = {  # the same, and the ids before and after one that a local layer sees
    "modern-bert-large": (50368, 1024, 28, 16, 2624, 64),
    "modern-bert-tiny": (1024, 64, 5, 4, 96, 4),  # for rehearsals
}
